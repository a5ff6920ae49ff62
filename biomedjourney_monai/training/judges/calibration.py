"""Calibrate logits on validation patients, at even odds: 0.5 is where a finding is as likely as not."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

BINS = 10


def even_weights(labels: np.ndarray) -> np.ndarray:
    """Weights of labels 1, 0 or NaN, shape (N,), by which both classes weigh one half and NaN nothing."""
    weights = np.zeros(len(labels))
    for kind in (0, 1):
        weights[labels == kind] = 0.5 / max(1, (labels == kind).sum())
    return weights


def fit_platt(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Fit slope and offset of logits, shape (N,), to labels 1, 0 or NaN, both classes at equal weight.

    Returns:
        Slope > 0 and offset; (1, 0) where there is one class only, or the logits rank no better than chance.

    Source: Platt 1999, Probabilistic outputs for support vector machines.
    """
    known = np.isfinite(labels) & np.isfinite(logits)
    if len(np.unique(labels[known])) < 2:
        return 1.0, 0.0
    x, y, weights = (torch.as_tensor(v[known]).double() for v in (logits, labels, even_weights(labels)))
    parameters = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        fitted = parameters[0] * x + parameters[1]
        loss = (weights * binary_cross_entropy_with_logits(fitted, y, reduction="none")).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    slope, offset = parameters.detach().tolist()
    return (slope, offset) if slope > 0 and np.isfinite(offset) else (1.0, 0.0)


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean distance of probability from frequency over ten equal bins, at even odds; NaN with one class only."""
    known = np.isfinite(labels) & np.isfinite(probabilities)
    if len(np.unique(labels[known])) < 2:
        return float("nan")
    weights = even_weights(np.where(known, labels, np.nan))[known]
    bins = np.clip((probabilities[known] * BINS).astype(int), 0, BINS - 1)
    gaps = np.bincount(bins, weights * (probabilities[known] - labels[known]), minlength=BINS)
    return float(np.abs(gaps).sum())
