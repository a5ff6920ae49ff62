"""Bootstrap replicates that redraw patients, not images: the images of one patient are not independent."""

from __future__ import annotations

import numpy as np


def draw_patient_weights(patients: np.ndarray, *, replicates: int, generator: np.random.Generator) -> np.ndarray:
    """Draw how often each replicate holds each row.

    Every statistic here takes row weights, so one matrix serves all of them and all systems, which makes the
    replicates of two systems a pair.

    Args:
        patients: who each row belongs to, shape (N,).
        replicates: R >= 0.

    Returns:
        Shape (1 + R, N). The first row is all ones: the estimate itself.
    """
    people, row_of = np.unique(np.asarray(patients), return_inverse=True)
    draws = generator.multinomial(len(people), np.full(len(people), 1 / len(people)), size=replicates)  # (R, people)
    return np.concatenate([np.ones((1, len(row_of))), draws[:, row_of]]).astype(np.float64)


def percentile_interval(replicates: np.ndarray, *, confidence: float = 0.95) -> tuple[float, float]:
    """Find the percentile interval of the replicates; those that are NaN are left out.

    Returns:
        (low, high); both NaN where fewer than half of the replicates could be computed.
    """
    finite = replicates[np.isfinite(replicates)]
    if finite.size == 0 or finite.size < replicates.size / 2:
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


def weighted_mean(values: np.ndarray, *, weights: np.ndarray) -> np.ndarray:
    """Compute the mean over known rows in each replicate: (N,), (R, N) -> (R,); NaN where no row is known."""
    known = np.isfinite(values)
    total = weights[:, known].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, weights[:, known] @ values[known] / total, np.nan)
