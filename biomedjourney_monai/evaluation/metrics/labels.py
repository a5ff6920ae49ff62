"""From the tables' labels to what a metric can use: 1, 0 or NaN for left out."""

from __future__ import annotations

import numpy as np

RACE_GROUPS = ("White", "Black", "Asian")
"""The groups that the race judge tells apart, in the order of its outputs. On rendered images a group is an invented
appearance that stands in for race; it has nothing to do with people."""

_RACE_PREFIXES = {"WHITE": 0, "BLACK": 1, "ASIAN": 2}
_CHOICES = {"mask": np.nan, "positive": 1.0, "negative": 0.0}


def race_group(race: str) -> int | None:
    """Find the index in RACE_GROUPS of a MIMIC-IV race such as "WHITE - RUSSIAN" or "BLACK/AFRICAN AMERICAN".

    Returns:
        0, 1 or 2; None for every other or unknown race, which the race metrics leave out.
    """
    words = str(race).upper().replace("/", " ").replace("-", " ").split()
    return _RACE_PREFIXES.get(words[0]) if words else None


def apply_label_policy(labels: np.ndarray, *, uncertain: str = "mask", unmentioned: str = "negative") -> np.ndarray:
    """Turn CheXpert labels into 1, 0 or NaN for left out.

    Args:
        labels: 1 present, 0 absent, -1 uncertain, NaN unmentioned; any shape.
        uncertain: "mask", "positive" or "negative".
        unmentioned: likewise. "negative" by default: reports seldom name what they do not see.

    Returns:
        float64, same shape.
    """
    for name, choice in (("uncertain", uncertain), ("unmentioned", unmentioned)):
        if choice not in _CHOICES:
            raise ValueError(f"{name} must be one of {', '.join(_CHOICES)}; found {choice!r}.")
    labels = np.asarray(labels, np.float64)
    return np.select([labels == -1, np.isnan(labels)], [_CHOICES[uncertain], _CHOICES[unmentioned]], labels)


def changed_only(prior_labels: np.ndarray, new_labels: np.ndarray) -> np.ndarray:
    """Keep the new labels where they differ from the prior's, NaN elsewhere.

    On these rows a copy of the prior is wrong by construction, whereas over all rows it profits from findings that
    persist. Both are 1, 0 or NaN, of one shape; a NaN on either side gives NaN.
    """
    prior_labels, new_labels = np.asarray(prior_labels, np.float64), np.asarray(new_labels, np.float64)
    return np.where(np.isfinite(prior_labels) & (prior_labels != new_labels), new_labels, np.nan)
