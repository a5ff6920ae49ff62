"""The quality gate of an autoencoder: how close its reconstructions are, to the eye's measures and to the judges."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.metrics import SSIMMetric
from torch import Tensor
from tqdm import tqdm

from biomedjourney_monai.errors import BiomedJourneyError, ImageError
from biomedjourney_monai.evaluation.evaluate import EvaluationSettings, choose_journeys
from biomedjourney_monai.evaluation.judges.loading import Judges
from biomedjourney_monai.evaluation.metrics.auroc import compute_finding_aurocs, compute_group_aurocs
from biomedjourney_monai.evaluation.metrics.correlation import compute_pearson_r
from biomedjourney_monai.evaluation.summary import Truth, read_truth
from biomedjourney_monai.evaluation.systems.baselines import RealReference
from biomedjourney_monai.schema import FINDINGS

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReconstructionMarks:
    """What the gate measured.

    Attributes:
        images: how many were looked at, and how many could not be read.
        psnr: dB, mean over images, values in [0, 1].
        ssim: structural similarity, mean over images.
        originals, reconstructions: the judges' marks on each: AUROC by finding, their mean over the findings that have
            both classes, the mean AUROC of the groups, and Pearson's r of the age; NaN where undefined.
    """

    images: int
    unreadable: int
    psnr: float
    ssim: float
    originals: dict[str, float]
    reconstructions: dict[str, float]

    @property
    def auroc_drop(self) -> float:
        """How much pathology AUROC the reconstructions lose."""
        return self.originals["pathology AUROC"] - self.reconstructions["pathology AUROC"]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; what is undefined is None."""
        content = {**asdict(self), "auroc_drop": self.auroc_drop}
        return {name: _without_nan(value) for name, value in content.items()}


def compare_reconstructions(originals: Tensor, reconstructions: Tensor) -> tuple[Tensor, Tensor]:
    """PSNR in dB and SSIM of each image, shape (B,) both.

    Args:
        originals, reconstructions: shape (B, 1, H, W), values in [0, 1]; H and W at least 11.
    """
    error = (originals - reconstructions).square().mean(dim=(1, 2, 3)).clamp_min(1e-12)
    ssim = SSIMMetric(spatial_dims=2, data_range=1.0, reduction="none")(reconstructions, originals)
    return -10 * error.log10(), ssim.flatten()


@dataclass(frozen=True)
class QualityGate:
    """Measures an autoencoder on the real new images of a split's journeys, whose findings are known.

    Args:
        work: the working folder, with pairs.parquet and its images.
        judges: score originals and reconstructions alike.
        split: which journeys.
        limit: at most so many, 0 for all.
        min_psnr: dB.
        min_ssim: least structural similarity.
        max_auroc_drop: most pathology AUROC that the reconstructions may lose.
        batch_size: images at once.
    """

    work: str | Path
    judges: Judges
    split: str = "validate"
    limit: int = 0
    min_psnr: float = 30.0
    min_ssim: float = 0.9
    max_auroc_drop: float = 0.02
    batch_size: int = 16

    def measure(self, reconstruct: Callable[[Tensor], Tensor]) -> ReconstructionMarks:
        """Reconstruct and judge.

        Args:
            reconstruct: images (B, 1, H, W) in [0, 1] to the same.

        Raises:
            TableError: if there is no kept journey in the split.
            ImageError: if none of the images can be read.
        """
        work = Path(self.work)
        journeys, _ = choose_journeys(work, None, settings=EvaluationSettings(split=self.split, limit=self.limit))
        truth, reference = read_truth(journeys), RealReference(work)
        rows, psnr, ssim, seen, made = [], [], [], [], []
        records = journeys.to_dict("records")
        for start in tqdm(range(0, len(records), self.batch_size), desc="quality gate", unit="batch"):
            read = {}
            for place, record in enumerate(records[start : start + self.batch_size], start):
                try:
                    read[place] = torch.from_numpy(np.asarray(reference.image(record), np.float32))[None].clamp(0, 1)
                except ImageError:
                    continue
            if not read:
                continue
            originals = torch.stack(list(read.values()))
            reconstructions = reconstruct(originals)
            for values, batch in zip((psnr, ssim), compare_reconstructions(originals, reconstructions)):
                values.append(batch)
            seen.append(self.judges.score(originals).as_columns())
            made.append(self.judges.score(reconstructions).as_columns())
            rows += read
        if not rows:
            raise ImageError(
                f"the journeys of split {self.split} must have readable images",
                found=f"none of {len(records)}",
                action="Run `biomedjourney register` again",
            )
        return ReconstructionMarks(
            images=len(rows),
            unreadable=len(records) - len(rows),
            psnr=float(torch.cat(psnr).mean()),
            ssim=float(torch.cat(ssim).mean()),
            originals=_marks(torch.cat(seen).numpy(), truth, rows),
            reconstructions=_marks(torch.cat(made).numpy(), truth, rows),
        )

    def verdict(self, marks: ReconstructionMarks) -> dict[str, bool]:
        """Each bar, and whether it is met. A drop that cannot be measured does not meet its bar."""
        return {
            f"PSNR at least {self.min_psnr:g} dB": marks.psnr >= self.min_psnr,
            f"SSIM at least {self.min_ssim:g}": marks.ssim >= self.min_ssim,
            f"pathology AUROC lost at most {self.max_auroc_drop:g}": bool(marks.auroc_drop <= self.max_auroc_drop),
        }

    def table(self, marks: ReconstructionMarks) -> str:
        """The marks and the verdict as lines of text."""
        lines = [f"reconstructions of {marks.images} images ({marks.unreadable} more could not be read)"]
        lines += [f"  PSNR {marks.psnr:.2f} dB, SSIM {marks.ssim:.4f}", f"  {'judges':28} originals  reconstructions"]
        lines += [
            f"  {name:28} {value:9.3f}  {marks.reconstructions[name]:15.3f}" for name, value in marks.originals.items()
        ]
        lines += [f"  {'met ' if met else 'MISSED'}  {bar}" for bar, met in self.verdict(marks).items()]
        return "\n".join(lines)

    def report(self, reconstruct: Callable[[Tensor], Tensor]) -> None:
        """Measure and print at the end of a training; without journeys to look at, say why there are no marks."""
        try:
            marks = self.measure(reconstruct)
        except BiomedJourneyError as error:
            logger.warning(f"The quality gate was not run: {error}")
            return
        print(self.table(marks))


def _marks(columns: np.ndarray, truth: Truth, rows: list[int]) -> dict[str, float]:
    """The judges' marks from their columns (N, 9): findings, groups, age."""
    findings = len(FINDINGS)
    aurocs = compute_finding_aurocs(columns[:, :findings], truth.new_labels[rows])
    groups = compute_group_aurocs(columns[:, findings:-1], truth.group[rows])
    return {
        **{finding: float(value) for finding, value in zip(FINDINGS, aurocs)},
        "pathology AUROC": _mean(aurocs),
        "group AUROC": _mean(groups),
        "age r": float(compute_pearson_r(columns[:, -1], truth.age[rows])),
    }


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
