"""MONAI metrics over the functions of this folder: they gather batches and compute at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from biomedjourney_monai.evaluation.metrics.auroc import compute_finding_aurocs, compute_group_aurocs
from biomedjourney_monai.evaluation.metrics.cmig import compute_cmig, compute_cmig_with_dice
from biomedjourney_monai.evaluation.metrics.correlation import compute_pearson_r
from biomedjourney_monai.evaluation.metrics.dice import compute_structure_dice
from biomedjourney_monai.evaluation.metrics.divergence import compute_kl


class PathologyAUROCMetric(CumulativeIterationMetric):
    """The mean AUROC over findings.

    `y_pred` holds the judge's probabilities, shape (B, F); `y` the labels, shape (B, F), 1, 0 or NaN for left out.
    `aggregate` leaves a finding with one class out of the mean, and returns NaN where none is left.
    """

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        return torch.stack([y_pred.float(), y.float()], dim=-1)  # (B, F, 2)

    def aggregate(self) -> Tensor:
        rows = _rows(self)
        return torch.tensor(_mean(compute_finding_aurocs(rows[..., 0], rows[..., 1])))


class GroupAUROCMetric(CumulativeIterationMetric):
    """The mean AUROC of each group against the rest.

    `y_pred` holds the judge's probabilities, shape (B, G); `y` the group, shape (B,), 0 .. G-1 or NaN for left out.
    `aggregate` leaves out a group that nobody or everybody is in.
    """

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        return torch.cat([y.float()[:, None], y_pred.float()], dim=1)  # (B, 1 + G)

    def aggregate(self) -> Tensor:
        rows = _rows(self)
        return torch.tensor(_mean(compute_group_aurocs(rows[:, 1:], rows[:, 0])))


class PearsonRMetric(CumulativeIterationMetric):
    """Pearson's r; `y_pred` and `y` are of shape (B,), NaN for left out."""

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        return torch.stack([y_pred.float(), y.float()], dim=1)  # (B, 2)

    def aggregate(self) -> Tensor:
        rows = _rows(self)
        return torch.tensor(compute_pearson_r(rows[:, 0], rows[:, 1]))


class KLMetric(CumulativeIterationMetric):
    """The mean divergence of the judge's findings from those in the reference.

    `y_pred` holds the probabilities on the scored image, shape (B, F), `y` those on the reference, same shape; rows
    with NaN are left out of the mean.

    Args:
        form: as in `compute_kl`.
    """

    def __init__(self, form: str = "categorical") -> None:
        super().__init__()
        self.form = form

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        return torch.from_numpy(compute_kl(y.cpu().numpy(), y_pred.cpu().numpy(), form=self.form))[:, None]  # (B, 1)

    def aggregate(self) -> Tensor:
        return torch.tensor(_mean(_rows(self)))


class CMIGMetric(CumulativeIterationMetric):
    """The CMIG of mean pathology AUROC, macro race AUROC and the Pearson r of age.

    `y_pred` holds the judges' outputs in a row, shape (B, F + G + 1): F finding probabilities, G race probabilities,
    one age. `y` holds the truth, shape (B, F + 2): F labels, the race group, the age; NaN for unknown.

    Args:
        num_findings: F.
    """

    def __init__(self, num_findings: int = 5) -> None:
        super().__init__()
        self.num_findings = num_findings

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        if y is None or y.shape[1] != self.num_findings + 2 or y_pred.shape[1] < self.num_findings + 3:
            raise ValueError(
                f"y must be (B, {self.num_findings + 2}) and y_pred (B, {self.num_findings} + groups + 1); "
                f"found {None if y is None else tuple(y.shape)} and {tuple(y_pred.shape)}."
            )
        return torch.cat([y.float(), y_pred.float()], dim=1)

    def aggregate(self) -> Tensor:
        pathology, retention, _ = self._terms(num_structures=0)
        return torch.tensor(compute_cmig([pathology], retention))

    def _terms(self, *, num_structures: int) -> tuple[float, list[float], np.ndarray]:
        """Mean pathology AUROC, the retention terms, and the columns after the age, (N, num_structures)."""
        f = self.num_findings
        truth, scores = np.split(_rows(self), [f + 2], axis=1)
        scores, dice = np.split(scores, [scores.shape[1] - num_structures], axis=1)
        pathology = _mean(compute_finding_aurocs(scores[:, :f], truth[:, :f]))
        race = _mean(compute_group_aurocs(scores[:, f:-1], truth[:, f]))
        return pathology, [race, compute_pearson_r(scores[:, -1], truth[:, f + 1])], dice


class CMIGWithDiceMetric(CMIGMetric):
    """The three-term variant of CMIG, with the mean Dice over structures as one more retention term.

    `y_pred` is that of `CMIGMetric` and after it Dice against the reference, shape (B, F + G + 1 + S).

    Args:
        num_findings: F.
        num_structures: S.
    """

    def __init__(self, num_findings: int = 5, num_structures: int = 6) -> None:
        super().__init__(num_findings)
        self.num_structures = num_structures

    def aggregate(self) -> Tensor:
        pathology, retention, dice = self._terms(num_structures=self.num_structures)
        known = np.isfinite(dice).any(axis=0)
        return torch.tensor(compute_cmig_with_dice([pathology], retention, _mean(np.nanmean(dice[:, known], axis=0))))


class StructureDiceMetric(CumulativeIterationMetric):
    """The mean Dice over images and structures; `y_pred` and `y` are masks of shape (B, C, H, W)."""

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **_: Any) -> Tensor:
        return compute_structure_dice(y_pred > 0.5, y > 0.5)  # (B, C)

    def aggregate(self) -> Tensor:
        return torch.nanmean(torch.from_numpy(np.nanmean(_rows(self), axis=0)))


def _rows(metric: CumulativeIterationMetric) -> np.ndarray:
    buffer = metric.get_buffer()
    if not isinstance(buffer, Tensor):
        raise ValueError("a metric must see at least one batch before it is computed; found none.")
    return buffer.detach().cpu().double().numpy()


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
