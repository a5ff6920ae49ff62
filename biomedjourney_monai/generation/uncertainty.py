"""What several samples of one request say together: the mean picture, and how far they lie apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """The samples' mean and spread.

    Attributes:
        mean: float32, shape (H, W), in [0, 1].
        deviation: the per-pixel standard deviation, float32, shape (H, W), in units of the image's range.
    """

    mean: np.ndarray
    deviation: np.ndarray


def spread_of(samples: np.ndarray) -> Spread:
    """Compute mean and standard deviation (with N - 1) over samples of shape (K, H, W), K >= 2.

    Raises:
        ValueError: if there are fewer than two samples.
    """
    if samples.ndim != 3 or len(samples) < 2:
        raise ValueError(f"samples must be of shape (K, H, W) with K >= 2, found {samples.shape}")
    samples = np.asarray(samples, np.float64)
    return Spread(samples.mean(axis=0).astype(np.float32), samples.std(axis=0, ddof=1).astype(np.float32))
