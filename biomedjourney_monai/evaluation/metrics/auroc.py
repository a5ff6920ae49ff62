"""AUROC of findings and of groups, with masks for unknown labels and row weights for bootstrap replicates."""

import numpy as np
import torch
from torch import Tensor

from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS
from biomedjourney_monai.evaluation.metrics.measure import KEPT, PAPER, Measure, Scored
from biomedjourney_monai.evaluation.metrics.row_metric import RowMetric, RowMetricHandler, known_mean
from biomedjourney_monai.evaluation.metrics.statistic import (
    OVERALL,
    Statistics,
    count_known,
    noted,
    replicate_by_block,
    unknown,
    with_mean,
)
from biomedjourney_monai.schema import FINDINGS

PATHOLOGY_COLUMNS = [f"pathology {finding}" for finding in FINDINGS]
RACE_COLUMNS = [f"race {group}" for group in RACE_GROUPS]
SEX_COLUMN = "sex male"


def compute_auroc(scores: np.ndarray, labels: np.ndarray, *, weights: np.ndarray | None = None) -> float | np.ndarray:
    """Compute the chance that a positive scores above a negative; ties count half.

    Args:
        scores: shape (N,), higher means more likely positive. Rows with NaN are left out.
        labels: shape (N,), 1 positive, 0 negative. Rows with NaN are left out.
        weights: shape (R, N), >= 0: how often each replicate holds each row. Without weights: once.

    Returns:
        A float, or shape (R,) with weights; NaN where only one class is present.

    Raises:
        ValueError: if the shapes differ or a label is neither 0, 1 nor NaN.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    if scores.shape != labels.shape or scores.ndim != 1:
        raise ValueError(f"scores and labels must be of one shape (N,); found {scores.shape} and {labels.shape}.")
    known = np.isfinite(scores) & np.isfinite(labels)
    if not np.isin(labels[known], (0, 1)).all():
        raise ValueError("labels must be 0, 1 or NaN; found other values. Use apply_label_policy first.")
    rows = np.ones((1, len(scores))) if weights is None else np.asarray(weights)
    areas = replicate_by_block(lambda block: _weighted_area(scores[known], labels[known], block), rows, known)
    return float(areas[0]) if weights is None else areas


def compute_finding_aurocs(scores: np.ndarray, labels: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """Compute one AUROC per finding.

    Args:
        scores: shape (N, F).
        labels: shape (N, F), 1, 0 or NaN for left out.
        weights: as in `compute_auroc`.

    Returns:
        Shape (F,), or (R, F) with weights; NaN for a finding with one class only.
    """
    columns = [compute_auroc(scores[:, f], labels[:, f], weights=weights) for f in range(labels.shape[1])]
    return np.stack(columns, axis=-1)


def compute_group_aurocs(
    probabilities: np.ndarray, group: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Compute one AUROC per group, that group against the rest; their mean is the macro one-vs-rest AUROC.

    Args:
        probabilities: shape (N, G).
        group: shape (N,), 0 .. G-1, or NaN for left out.
        weights: as in `compute_auroc`.

    Returns:
        Shape (G,), or (R, G) with weights; NaN for a group with nobody or everybody in it.
    """
    group = np.asarray(group, np.float64)
    classes = np.arange(probabilities.shape[1])
    labels = np.where(np.isfinite(group)[:, None], group[:, None] == classes, np.nan)  # (N, G)
    return compute_finding_aurocs(probabilities, labels, weights=weights)


def _weighted_area(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the area for each row of weights, (R, N) -> (R,)."""
    if not len(scores):
        return np.full(len(weights), np.nan)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # first row of each distinct score
    weights, labels = weights[:, order], labels[order]
    positive = np.add.reduceat(weights * labels, starts, axis=1)  # (R, distinct scores)
    negative = np.add.reduceat(weights * (1 - labels), starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, (positive * below).sum(axis=1) / pairs, np.nan)


class PathologyAUROCMetric(RowMetric):
    """The mean AUROC over findings.

    `y_pred` holds the judge's probabilities, shape (B, F); `y` the labels, shape (B, F), 1, 0 or NaN for left out.
    `aggregate` leaves a finding with one class out of the mean, and returns NaN where none is left.
    """

    def rows_of(self, y_pred: Tensor, y: Tensor) -> Tensor:
        return torch.stack([y_pred.float(), y.float()], dim=-1)  # (B, F, 2)

    def aggregate(self) -> Tensor:
        rows = self.rows()
        return torch.tensor(known_mean(compute_finding_aurocs(rows[..., 0], rows[..., 1])))


class GroupAUROCMetric(RowMetric):
    """The mean AUROC of each group against the rest.

    `y_pred` holds the judge's probabilities, shape (B, G); `y` the group, shape (B,), 0 .. G-1 or NaN for left out.
    `aggregate` leaves out a group with nobody or everybody in it.
    """

    def rows_of(self, y_pred: Tensor, y: Tensor) -> Tensor:
        return torch.cat([y.float()[:, None], y_pred.float()], dim=1)  # (B, 1 + G)

    def aggregate(self) -> Tensor:
        rows = self.rows()
        return torch.tensor(known_mean(compute_group_aurocs(rows[:, 1:], rows[:, 0])))


class PathologyAUROC(RowMetricHandler):
    """Ignite handler of `PathologyAUROCMetric`."""

    metric = PathologyAUROCMetric


class GroupAUROC(RowMetricHandler):
    """Ignite handler of `GroupAUROCMetric`."""

    metric = GroupAUROCMetric


def _of_findings(scored: Scored, labels: np.ndarray) -> Statistics:
    probabilities = scored.columns(PATHOLOGY_COLUMNS)
    counts = [count_known(probabilities[:, f], labels[:, f]) for f in range(len(FINDINGS))]
    return with_mean(FINDINGS, compute_finding_aurocs(probabilities, labels, weights=scored.weights), counts)


def _of_groups(scored: Scored) -> Statistics:
    probabilities, group = scored.columns(RACE_COLUMNS), scored.labels().group
    counts = [count_known(probabilities[:, 0], group)] * len(RACE_GROUPS)
    return with_mean(RACE_GROUPS, compute_group_aurocs(probabilities, group, weights=scored.weights), counts)


def _of_sex(scored: Scored) -> Statistics:
    if SEX_COLUMN not in scored.scores or not np.isfinite(scored.scores[SEX_COLUMN]).any():
        return {OVERALL: unknown(len(scored.weights), "these judges do not tell the sex")}
    male, sex = scored.scores[SEX_COLUMN].to_numpy(), scored.labels().sex
    return {OVERALL: noted(compute_auroc(male, sex, weights=scored.weights), count_known(male, sex), "only one sex")}


PATHOLOGY_AUROC = Measure(
    key="pathology_auroc",
    title="Findings",
    meaning="Does the picture show the findings that the next report names? A classifier looks at each picture; the"
    " number is how often it ranks one with the finding above one without (AUROC, mean of five findings). 0.5 is"
    " chance, 1 is perfect. Where findings persist a mere copy of the prior does well too: compare with it.",
    compute=lambda scored: _of_findings(scored, scored.labels().new_labels),
    section=PAPER,
    chance=0.5,
    headline=True,
    in_differences=True,
    terminal="pathology",
    ablation="findings",
    paper="pathology AUROC",
    tuning={"overall": "pathology"},
)
CHANGED_AUROC = Measure(
    key="changed_auroc",
    title="Changed findings",
    meaning="The same, only on findings that appeared or resolved between the two examinations. A copy of the prior is"
    " wrong here by construction, so this is where following the description shows.",
    compute=lambda scored: _of_findings(scored, scored.labels().changed_labels),
    section=PAPER,
    chance=0.5,
    headline=True,
    in_differences=True,
    terminal="changed",
    ablation="changed findings",
    tuning={"overall": "changed"},
)
RACE_AUROC = Measure(
    key="race_auroc",
    title="Group retained",
    meaning="Is it still the same kind of person? A classifier tells demographic groups apart (AUROC, one group against"
    " the rest, mean). On rendered patients a group is an invented appearance that stands in for race.",
    compute=_of_groups,
    section=PAPER,
    chance=0.5,
    headline=True,
    in_differences=True,
    terminal="race",
    ablation="group",
    paper="race AUROC",
    tuning={"overall": "group"},
)
SEX_AUROC = Measure(
    key="sex_auroc",
    title="Sex retained",
    meaning="A network tells men from women by the picture (AUROC). 0.5 is chance, 1 is perfect. Where no patient's"
    " group is known, CMIG takes this number instead.",
    compute=_of_sex,
    topic=KEPT,
    chance=0.5,
    terminal="sex",
)
