"""Areas under the ROC curve, with masks for unknown labels and row weights for bootstrap replicates."""

from __future__ import annotations

import numpy as np

from biomedjourney_monai.evaluation.metrics.bootstrap import replicate_by_block


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
        Shape (G,), or (R, G) with weights; NaN for a group that nobody or everybody is in.
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
