"""The quality gate of an autoencoder: PSNR and SSIM of its reconstructions, and the judges' AUROC on them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.metrics import SSIMMetric
from torch import Tensor
from tqdm import tqdm

from biomedjourney_monai.errors import BiomedJourneyError, ImageError, refuse_unknown_keywords
from biomedjourney_monai.evaluation.journeys import choose_journeys
from biomedjourney_monai.evaluation.judges.judged import Row
from biomedjourney_monai.evaluation.judges.loading import choose_judges
from biomedjourney_monai.evaluation.judges.scores import Judges
from biomedjourney_monai.evaluation.metrics.auroc import compute_finding_aurocs, compute_group_aurocs
from biomedjourney_monai.evaluation.metrics.correlation import compute_pearson_r
from biomedjourney_monai.evaluation.metrics.labels import Truth, read_truth
from biomedjourney_monai.evaluation.metrics.row_metric import known_mean
from biomedjourney_monai.evaluation.systems.scoring import records
from biomedjourney_monai.evaluation.systems.sources import RealReference
from biomedjourney_monai.files import only_finite, write_json
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.autoencoder import reconstruct
from biomedjourney_monai.networks.weights.autoencoder_file import load_autoencoder
from biomedjourney_monai.networks.weights.model_file import weights_hash
from biomedjourney_monai.output_check import refuse_unwritable
from biomedjourney_monai.schema import FINDINGS

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReconstructionMarks:
    """The marks that the gate measured.

    Attributes:
        images: how many were scored.
        unreadable: how many could not be read.
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
        """Loss of pathology AUROC on the reconstructions."""
        return self.originals["pathology AUROC"] - self.reconstructions["pathology AUROC"]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; undefined numbers are None."""
        content: dict[str, Any] = only_finite({**asdict(self), "auroc_drop": self.auroc_drop})
        return content


def compare_reconstructions(originals: Tensor, reconstructions: Tensor) -> tuple[Tensor, Tensor]:
    """PSNR in dB and SSIM of each image, shape (B,) each.

    Args:
        originals, reconstructions: shape (B, 1, H, W), values in [0, 1]; H and W at least 11.
    """
    error = (originals - reconstructions).square().mean(dim=(1, 2, 3)).clamp_min(1e-12)
    ssim = SSIMMetric(spatial_dims=2, data_range=1.0, reduction="none")(reconstructions, originals)
    return -10 * error.log10(), torch.as_tensor(ssim).flatten()


@dataclass(frozen=True)
class QualityGate:
    """Measures an autoencoder on the real new images of a split's journeys, whose findings are known.

    Args:
        work: the working folder, with pairs.parquet and its images.
        judges: score originals and reconstructions alike.
        split: which journeys.
        limit: at most so many images, 0 for all.
        min_psnr: dB.
        min_ssim: least structural similarity.
        max_auroc_drop: highest pathology AUROC that the reconstructions may lose.
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
        """Reconstruct the images and score both sets.

        Args:
            reconstruct: images (B, 1, H, W) in [0, 1] to the same.

        Raises:
            TableError: if there is no kept journey in the split.
            ImageError: if none of the images can be read.
        """
        journeys, _ = choose_journeys(Path(self.work), None, split=self.split, limit=self.limit)
        truth, rows = read_truth(journeys), records(journeys)
        read: list[int] = []
        batches: list[tuple[Tensor, ...]] = []  # PSNR, SSIM, judges' columns of originals and of reconstructions
        for start in tqdm(range(0, len(rows), self.batch_size), desc="quality gate", unit="batch"):
            images = self._read(rows[start : start + self.batch_size])
            if not images:
                continue
            originals = torch.stack(list(images.values()))
            made = reconstruct(originals)
            columns = (self.judges.score(batch).as_columns() for batch in (originals, made))
            batches.append((*compare_reconstructions(originals, made), *columns))
            read += [start + place for place in images]
        if not read:
            raise ImageError(
                f"the journeys of split {self.split} must have readable images",
                found=f"none of {len(rows)}",
                action="Run `biomedjourney register` again",
            )
        psnr, ssim, seen, remade = (torch.cat(parts) for parts in zip(*batches))
        return ReconstructionMarks(
            images=len(read),
            unreadable=len(rows) - len(read),
            psnr=float(psnr.mean()),
            ssim=float(ssim.mean()),
            originals=_marks(seen.numpy(), truth, read),
            reconstructions=_marks(remade.numpy(), truth, read),
        )

    def _read(self, rows: Sequence[Row]) -> dict[int, Tensor]:
        """The readable images, (1, H, W) each, by index."""
        reference, images = RealReference(Path(self.work)), {}
        for place, row in enumerate(rows):
            try:
                images[place] = torch.from_numpy(np.asarray(reference.image(row), np.float32))[None].clamp(0, 1)
            except ImageError:
                continue
        return images

    def verdict(self, marks: ReconstructionMarks) -> dict[str, bool]:
        """Each bar, and whether it is met. An unknown drop does not meet its bar."""
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
        """Measure and print at the end of a training; without journeys, log why there are no marks."""
        try:
            marks = self.measure(reconstruct)
        except BiomedJourneyError as error:
            logger.warning(f"The quality gate was not run: {error}")
            return
        print(self.table(marks))


@dataclass(frozen=True)
class AutoencoderCheck:
    """The result of `check_autoencoder`: marks, each bar with whether it is met, and both as text."""

    marks: ReconstructionMarks
    verdict: dict[str, bool]
    table: str

    @property
    def passed(self) -> bool:
        """Whether every bar is met."""
        return all(self.verdict.values())


@refuse_unknown_keywords
def check_autoencoder(
    work: str | Path = "work",
    *,
    autoencoder: str | Path | None = None,
    split: str = "validate",
    limit: int = 0,
    min_psnr: float = 30.0,
    min_ssim: float = 0.9,
    max_auroc_drop: float = 0.02,
    judge_weights: str | Path | None = None,
    out: str | Path | None = None,
    model: ModelConfig | None = None,
    device: str | None = None,
) -> AutoencoderCheck:
    """Measure an autoencoder on the real new images of a split's journeys.

    Args:
        work: working folder with pairs.parquet and images/.
        autoencoder: its weights, alone or in a model file; None for `runs/autoencoder.pt` of the working folder or, if
            there is none, the model's.
        split: whose images.
        limit: at most so many images, 0 for all.
        min_psnr: bar in dB.
        min_ssim: bar.
        max_auroc_drop: bar.
        judge_weights: folder of the judges, of which those that fit the images score; None for the bundle's `models/`.
        out: write the marks to this file as JSON.
        model: gives the autoencoder's configuration; None for the shipped one.
        device: "cpu" or "cuda"; None takes the GPU if there is one.

    Raises:
        TableError: if there is no kept journey in the split.
        ImageError: if none of the images can be read.
        WeightsError: if weights are missing or do not fit.
    """
    config = model or ModelConfig.find()
    trained = Path(work) / "runs" / "autoencoder.pt"
    file = Path(autoencoder) if autoencoder else trained if trained.is_file() else config.weights
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if out is not None:
        refuse_unwritable(out)
    network = load_autoencoder(config.compose().get_parsed_content("autoencoder").eval().to(device), file)
    judges, _ = choose_judges(work, judge_weights or config.models, device=device)
    gate = QualityGate(
        work=work,
        judges=judges,
        split=split,
        limit=limit,
        min_psnr=min_psnr,
        min_ssim=min_ssim,
        max_auroc_drop=max_auroc_drop,
    )
    marks = gate.measure(lambda images: reconstruct(network, images))
    verdict = gate.verdict(marks)
    if out is not None:
        provenance = {"autoencoder": weights_hash(file), "judges": judges.provenance()}
        write_json(out, {**marks.as_dict(), "bars": verdict, **provenance})
    return AutoencoderCheck(marks, verdict, gate.table(marks))


def _marks(columns: np.ndarray, truth: Truth, rows: list[int]) -> dict[str, float]:
    """The judges' marks from their columns (N, 9): findings, groups, age."""
    findings = len(FINDINGS)
    aurocs = compute_finding_aurocs(columns[:, :findings], truth.new_labels[rows])
    groups = compute_group_aurocs(columns[:, findings:-1], truth.group[rows])
    return {
        **{finding: float(value) for finding, value in zip(FINDINGS, aurocs)},
        "pathology AUROC": known_mean(aurocs),
        "group AUROC": known_mean(groups),
        "age r": float(compute_pearson_r(columns[:, -1], truth.age[rows])),
    }
