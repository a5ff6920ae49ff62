"""The Counterfactual Medical Image Generation (CMIG) score: accuracy and retention in one number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Terms = Mapping[str, float] | Sequence[float]
"""Measurements by name, or in a row. Each may be an array of replicates; all must then have one shape."""


def compute_cmig(accuracy: Terms, retention: Terms) -> float | np.ndarray:
    """Compute sqrt(gm(accuracy) * gm(retention)), with gm the geometric mean.

    The score has the unit of its terms: percent in, percent out; fractions in, a fraction out. Do not mix the two.
    A negative term, which only a correlation can be, counts as 0 and makes the score 0; `clamped_terms` names it.

    Args:
        accuracy: how well the image shows what was asked for, e.g. the mean pathology AUROC. At least one term.
        retention: how much of the patient is kept, e.g. race AUROC and the Pearson r of age. At least one term.

    Returns:
        The score, or an array of scores where the terms are arrays; NaN where a term is NaN.

    Raises:
        ValueError: if either side has no term.

    Source: Gu et al. 2023, BiomedJourney, section 4. The scores that the paper prints do not follow from this
    definition and its printed terms, so compare only scores that this function computed.

    Example:
        >>> round(compute_cmig([80.54], [97.22, 79.38]), 2)
        84.11
    """
    score = np.sqrt(_geometric_mean(accuracy, "accuracy") * _geometric_mean(retention, "retention"))
    return float(score) if score.ndim == 0 else score


def compute_cmig_with_dice(accuracy: Terms, retention: Terms, dice: float | np.ndarray) -> float | np.ndarray:
    """Compute the three-term variant: CMIG with the anatomy Dice as one more retention term.

    An extension, not the paper's definition. `dice` has the unit of the other terms.
    """
    return compute_cmig(accuracy, [*_values(retention), dice])


def clamped_terms(terms: Mapping[str, float]) -> list[str]:
    """Name the terms below 0, which `compute_cmig` counts as 0."""
    return [name for name, value in terms.items() if value < 0]


def _geometric_mean(terms: Terms, side: str) -> np.ndarray:
    values = _values(terms)
    if not values:
        raise ValueError(f"{side} must have at least one term; found none.")
    stacked = np.clip(np.stack([np.asarray(value, dtype=np.float64) for value in values]), 0, None)
    with np.errstate(divide="ignore"):
        return np.exp(np.log(stacked).mean(axis=0))


def _values(terms: Terms) -> list:
    return list(terms.values()) if isinstance(terms, Mapping) else list(terms)
