"""Error against the true counterfactual, which only rendered patients have: same visit, same noise, other findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import cv2
import numpy as np
import pandas
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from biomedjourney_monai.errors import ImageError, TableError
from biomedjourney_monai.evaluation.judges.judged import Batch, Judged
from biomedjourney_monai.evaluation.judges.loading import JudgeScores
from biomedjourney_monai.evaluation.metrics.dice import compute_structure_dice
from biomedjourney_monai.evaluation.metrics.image_error import compute_region_psnr, compute_region_ssim
from biomedjourney_monai.evaluation.systems.scoring import score_one_by_one_if_need_be
from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.schema import FINDINGS, STRUCTURES

TABLE = "truth.csv"
COLUMNS = ("prior_dicom_id", "new_study_id", "file")

CHANGED = 0.08
"""Grey levels, of a range of 1, by which prior and truth must differ for a pixel to be in the changed region."""

REGIONS = ("inside", "outside")


@dataclass(frozen=True)
class TrueCounterfactuals:
    """The folder truth/ that `biomedjourney phantom --truth` writes, as a system of its own: the goal.

    Attributes:
        folder: holds truth.csv, and a PNG and the exact masks for each prior image and later study.
        size: side of the pictures in pixels, as in the working folder.
    """

    folder: Path
    size: int = 128
    name: str = "true counterfactual"
    meaning: str = "The prior visit rendered again with the new findings and nothing else changed: what was asked for."

    @cached_property
    def files(self) -> dict[tuple[str, str], str]:
        """(prior_dicom_id, new_study_id) -> file name.

        Raises:
            TableError: if truth.csv is missing or lacks a column.
        """
        try:
            table = pandas.read_csv(self.folder / TABLE, dtype=str)
            return {(prior, new): Path(file).name for prior, new, file in table[list(COLUMNS)].itertuples(index=False)}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TableError(
                f"{self.folder / TABLE} must have the columns {', '.join(COLUMNS)}",
                found=type(error).__name__,
                action="Write it with `biomedjourney phantom --truth`",
            ) from error

    def path(self, journey: Mapping[str, Any]) -> Path:
        """The picture's file.

        Raises:
            ImageError: if the table names none.
        """
        file = self.files.get((str(journey["prior_dicom_id"]), str(journey["new_study_id"])))
        if file is None:
            raise ImageError("a journey must have a true counterfactual", found="none in truth.csv")
        return self.folder / file

    def has(self, journey: Mapping[str, Any]) -> bool:
        """Whether the table names a picture of this journey, and the picture and its masks are there."""
        try:
            path = self.path(journey)
        except ImageError:
            return False
        return path.is_file() and path.with_suffix(".npz").is_file()

    def image(self, journey: Mapping[str, Any]) -> np.ndarray:
        return load_radiograph(self.path(journey), size=self.size)

    def masks(self, journey: Mapping[str, Any]) -> np.ndarray:
        """The exact masks of `schema.STRUCTURES`, bool, shape (6, size, size).

        Raises:
            ImageError: if there are none, or the file cannot be used.
        """
        try:
            with np.load(self.path(journey).with_suffix(".npz"), allow_pickle=False) as content:
                masks = content["masks"].astype(np.float32)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise ImageError("a true counterfactual must have its masks", found=type(error).__name__) from error
        if masks.ndim != 3 or len(masks) != len(STRUCTURES):
            raise ImageError("masks must be of shape (6, S, S)", found=f"shape {masks.shape}")
        return np.stack([cv2.resize(m, (self.size, self.size), interpolation=cv2.INTER_AREA) > 0.5 for m in masks])


def changed_region(prior: Tensor, truth: Tensor, *, threshold: float = CHANGED) -> Tensor:
    """Find where the truth differs from the prior, after averaging over 3 x 3 pixels.

    Args:
        prior: shape (B, 1, H, W), in [0, 1].
        truth: same shape.
        threshold: in grey levels of a range of 1.

    Returns:
        bool, same shape.
    """
    smooth = avg_pool2d((truth - prior).float(), 3, stride=1, padding=1, count_include_pad=False)
    return smooth.abs() > threshold


class TruthError:
    """PSNR, SSIM, the judges' agreement and Dice of each image against the true counterfactual.

    Args:
        truth: where the true counterfactuals are.
    """

    columns = (
        *(f"{metric} {part}" for metric in ("truth_psnr", "truth_ssim") for part in ("overall", *REGIONS)),
        *(f"truth_agreement {finding}" for finding in FINDINGS),
        *(f"truth_dice {structure}" for structure in STRUCTURES),
        "truth_changed_share overall",
    )

    def __init__(self, truth: TrueCounterfactuals) -> None:
        self.truth = truth

    def begin(self, batch: Batch) -> None:
        """Read and judge the batch's true counterfactuals."""
        size = self.truth.size
        images, masks, known = [], [], []
        for row in batch.rows:
            try:
                images.append(self.truth.image(row))
                masks.append(self.truth.masks(row))
                known.append(True)
            except ImageError:
                images[len(known) :] = [np.zeros((size, size), np.float32)]
                masks.append(np.zeros((len(STRUCTURES), size, size), bool))
                known.append(False)
        self._images = torch.from_numpy(np.stack(images))[:, None]
        self._masks = torch.from_numpy(np.stack(masks))
        scores, faults = score_one_by_one_if_need_be(batch.judges, self._images)
        self._scores: JudgeScores = scores
        self._known = np.array([good and place not in faults for place, good in enumerate(known)])
        self._region = changed_region(batch.prior.images_on((size, size)), self._images)

    def measure(self, judged: Judged, batch: Batch) -> np.ndarray:
        """Compare a system's images with them."""
        shape = (self.truth.size, self.truth.size)
        images, regions = judged.images_on(shape), (None, self._region, ~self._region)
        errors = [
            compute(images, self._images, region=region).double()
            for compute in (compute_region_psnr, compute_region_ssim)
            for region in regions
        ]
        same = (judged.scores.pathology > 0.5) == (self._scores.pathology > 0.5)
        dice = compute_structure_dice(judged.structures_on(shape), self._masks)
        share = self._region.double().mean(dim=(1, 2, 3))
        values = torch.cat([torch.stack(errors, dim=1), same.double(), dice.double(), share[:, None]], dim=1).numpy()
        values[:, [1, 2, 4, 5, -1]] = np.where(batch.prior.good[:, None], values[:, [1, 2, 4, 5, -1]], np.nan)
        values[~self._known] = np.nan
        return values
