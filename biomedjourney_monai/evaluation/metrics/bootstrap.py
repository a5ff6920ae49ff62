"""Bootstrap replicates that redraw patients, not images: the images of one patient are not independent."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

BLOCK_VALUES = 2**18
"""Weights that a statistic is computed from at once, 2 MB: memory grows with neither the journeys nor the rounds."""


def draw_patient_weights(patients: ArrayLike, *, replicates: int, seed: int) -> np.ndarray:
    """Draw how often each replicate holds each row.

    Every statistic here takes row weights, so one matrix serves all of them and all systems, which makes the
    replicates of two systems a pair.

    Args:
        patients: who each row belongs to, shape (N,).
        replicates: R >= 0.

    Returns:
        uint16, shape (1 + R, N): 2 bytes for each journey and replicate. The first row is all ones: the estimate
        itself.
    """
    people, row_of = np.unique(np.asarray(patients), return_inverse=True)
    shares = np.full(len(people), 1 / len(people))
    draws = np.random.default_rng(seed).multinomial(len(people), shares, size=replicates)  # (R, people)
    return np.concatenate([np.ones((1, len(people)), np.uint16), draws.astype(np.uint16)])[:, row_of]


def replicate_by_block(
    statistic: Callable[[np.ndarray], np.ndarray], weights: np.ndarray, chosen: np.ndarray
) -> np.ndarray:
    """Compute a statistic of the K chosen rows, some replicates at a time.

    `statistic` takes weights, float64, shape (r, K), and gives values, shape (r,). `weights` are of shape (R, N),
    `chosen` is bool, shape (N,). Returns shape (R,).
    """
    blocks = np.array_split(weights, -(-weights.size // BLOCK_VALUES) or 1)
    return np.concatenate([statistic(block[:, chosen].astype(np.float64)) for block in blocks])


def percentile_interval(replicates: np.ndarray) -> tuple[float, float]:
    """Find the 95 % percentile interval of the replicates; those that are NaN are left out.

    Returns:
        (low, high); both NaN where fewer than half of the replicates could be computed.
    """
    finite = replicates[np.isfinite(replicates)]
    if finite.size == 0 or finite.size < replicates.size / 2:
        return float("nan"), float("nan")
    tail = (1 - 0.95) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


def weighted_mean(values: np.ndarray, *, weights: np.ndarray) -> np.ndarray:
    """Compute the mean over known rows in each replicate: (N,), (R, N) -> (R,); NaN where no row is known."""
    known = np.isfinite(values)
    return replicate_by_block(lambda rows: _mean(values[known], rows), weights, known)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, weights @ values / total, np.nan)
