"""The overlap of anatomical structures between two images."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from biomedjourney_monai.evaluation.judges.judged import Batch, Judged, Scorer
from biomedjourney_monai.evaluation.metrics.measure import PAPER, Measure, Scored
from biomedjourney_monai.evaluation.metrics.row_metric import RowMetric, RowMetricHandler
from biomedjourney_monai.evaluation.metrics.statistic import Statistics, count_known, weighted_mean, with_mean
from biomedjourney_monai.schema import STRUCTURES

DICE_REFERENCE_COLUMNS = [f"dice_reference {structure}" for structure in STRUCTURES]
DICE_PRIOR_COLUMNS = [f"dice_prior {structure}" for structure in STRUCTURES]


def compute_structure_dice(predicted: Tensor, reference: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Compute 2 |A and B| / (|A| + |B|) per image and structure.

    Args:
        predicted: boolean masks, shape (B, C, H, W). Structures may overlap.
        reference: boolean masks, same shape.
        valid: boolean, shape (B, 1, H, W): only these pixels count, e.g. where a registered image has content.

    Returns:
        Shape (B, C), float32 in [0, 1]; NaN where a structure is in neither image.

    Raises:
        ValueError: if the shapes differ.
    """
    if predicted.shape != reference.shape or predicted.ndim != 4:
        raise ValueError(
            f"the masks must be of one shape (B, C, H, W); found {tuple(predicted.shape)} and {tuple(reference.shape)}."
        )
    predicted, reference = predicted.bool(), reference.bool()
    if valid is not None:
        predicted, reference = predicted & valid.bool(), reference & valid.bool()
    both = (predicted & reference).sum(dim=(2, 3)).float()
    total = (predicted.sum(dim=(2, 3)) + reference.sum(dim=(2, 3))).float()
    return torch.where(total > 0, 2 * both / total, torch.nan)


class StructureDiceMetric(RowMetric):
    """The mean Dice over images and structures; `y_pred` and `y` are masks of shape (B, C, H, W)."""

    def rows_of(self, y_pred: Tensor, y: Tensor) -> Tensor:
        return compute_structure_dice(torch.gt(y_pred, 0.5), torch.gt(y, 0.5))  # (B, C)

    def aggregate(self) -> Tensor:
        return torch.nanmean(torch.from_numpy(np.nanmean(self.rows(), axis=0)))


class StructureDice(RowMetricHandler):
    """Ignite handler of `StructureDiceMetric`."""

    metric = StructureDiceMetric


class AnatomyOverlap(Scorer):
    """Dice against the reference, only on pixels that the registered image covers, and against the prior."""

    columns = (*DICE_REFERENCE_COLUMNS, *DICE_PRIOR_COLUMNS)

    def measure(self, judged: Judged, batch: Batch) -> np.ndarray:
        """Compare the structures on the grids of the reference and of the prior."""
        sides = []
        for other, valid in ((batch.reference, batch.valid), (batch.prior, None)):
            mine, theirs = judged.scores.structures, other.scores.structures
            if mine.shape != theirs.shape:
                mine = interpolate(mine.float(), size=theirs.shape[-2:]) > 0.5
            dice = compute_structure_dice(mine, theirs, valid=valid).numpy()
            sides.append(np.where(other.good[:, None], dice, np.nan))
        return np.column_stack(sides)


def _means(scored: Scored, columns: list[str]) -> Statistics:
    values = scored.columns(columns)
    means = [weighted_mean(values[:, n], weights=scored.weights) for n in range(len(columns))]
    return with_mean(STRUCTURES, np.stack(means, axis=1), [count_known(values[:, n]) for n in range(len(columns))])


DICE_REFERENCE = Measure(
    key="dice_reference",
    title="Anatomy vs next",
    meaning="Overlap of six structures (lungs, heart, diaphragm, mediastinum, spine) with those of the patient's real"
    " next image (Dice, 1 is identical).",
    compute=lambda scored: _means(scored, DICE_REFERENCE_COLUMNS),
    section=PAPER,
    headline=True,
    in_differences=True,
    terminal="Dice",
    ablation="Dice",
)
DICE_PRIOR = Measure(
    key="dice_prior",
    title="Anatomy vs prior",
    meaning="The same overlap with the prior image. The prior itself has 1; a real next image has less, since patients"
    " breathe and turn.",
    compute=lambda scored: _means(scored, DICE_PRIOR_COLUMNS),
    section=PAPER,
    terminal="Dice prior",
)
