"""Warn where a counterfactual hardly differs from its prior."""

from __future__ import annotations

import numpy as np

NOTHING_CHANGED = "nothing_changed"
MIN_CHANGE = 0.003
"""Mean absolute difference from the prior, grey scale 0 to 1. Descriptions without change make less in 30 % of cases
and small findings that the judge sees in none of 55 (`python scripts/benchmarks/requests.py --calibrate`)."""


def size_of_change(prior: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """The mean absolute difference of each sample from the prior, shape (K,).

    Args:
        prior: float32 in [0, 1], shape (S, S).
        squares: the samples, shape (K, S, S).
    """
    return np.abs(squares - prior).mean(axis=(1, 2))


def warn_of_no_change(prior: np.ndarray, squares: np.ndarray) -> tuple[str, ...]:
    """A warning for the user if no sample differs from the prior by more than `MIN_CHANGE`; else nothing."""
    if size_of_change(prior, squares).max() > MIN_CHANGE:
        return ()
    return (f"the counterfactual hardly differs from the prior ({NOTHING_CHANGED}): try another wording or seed",)
