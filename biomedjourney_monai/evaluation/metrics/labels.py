"""From the tables' labels to what a metric can use: 1, 0 or NaN for left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from biomedjourney_monai.schema import FINDINGS

if TYPE_CHECKING:
    import pandas

RACE_GROUPS = ("White", "Black", "Asian")
"""The groups that the race judge tells apart, in the order of its outputs. On rendered images a group is an invented
appearance that stands in for race; it has nothing to do with people."""

_RACE_PREFIXES = {"WHITE": 0, "BLACK": 1, "ASIAN": 2}
_CHOICES = {"mask": np.nan, "positive": 1.0, "negative": 0.0}


@dataclass(frozen=True)
class Truth:
    """The tables' labels of N journeys.

    Attributes:
        new_labels: shape (N, 5), 1, 0 or NaN for left out.
        changed_labels: the same where the finding changed since the prior, else NaN.
        group: shape (N,), index in RACE_GROUPS or NaN.
        age: anchor age in years, shape (N,), or NaN.
        sex: 1 male, 0 female, NaN unknown, shape (N,).
    """

    new_labels: np.ndarray
    changed_labels: np.ndarray
    group: np.ndarray
    age: np.ndarray
    sex: np.ndarray

    def rows(self, chosen: np.ndarray) -> Truth:
        """The rows where `chosen`, bool (N,), is true."""
        return Truth(*(values[chosen] for values in vars(self).values()))


def read_truth(journeys: pandas.DataFrame, *, uncertain: str = "mask", unmentioned: str = "negative") -> Truth:
    """Take the truth from rows of pairs.parquet; for the policy see `apply_label_policy`."""
    prior, new = finding_labels(journeys, uncertain=uncertain, unmentioned=unmentioned)
    groups = [race_group(race) for race in journeys["race"]]
    return Truth(
        new_labels=new,
        changed_labels=changed_only(prior, new),
        group=np.array([np.nan if group is None else group for group in groups], np.float64),
        age=journeys["anchor_age"].to_numpy(np.float64),
        sex=male_sex(journeys["sex"]),
    )


def male_sex(sex: pandas.Series) -> np.ndarray:
    """Turn "M" and "F" into 1 and 0, and anything else into NaN; float64, shape (N,)."""
    return sex.map({"M": 1.0, "F": 0.0}).to_numpy(np.float64)


def finding_labels(
    journeys: pandas.DataFrame, *, uncertain: str = "mask", unmentioned: str = "negative"
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the prior and of the new study after `apply_label_policy`, shape (N, 5) each."""
    prior, new = (
        apply_label_policy(
            journeys[[f"{side}_{finding}" for finding in FINDINGS]].to_numpy(np.float64),
            uncertain=uncertain,
            unmentioned=unmentioned,
        )
        for side in ("prior", "new")
    )
    return prior, new


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
        unmentioned: the same choices. "negative" by default: reports seldom name findings that are absent.

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
