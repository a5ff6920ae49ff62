"""Every number once more by sex, age band and race: a mean can hide that a model serves some patients worse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas

from biomedjourney_monai.evaluation.further import summarise_further
from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS, race_group
from biomedjourney_monai.evaluation.summary import OVERALL, Truth, summarise

AGE_BANDS = (("under 40", 0, 40), ("40 to 59", 40, 60), ("60 to 74", 60, 75), ("75 and over", 75, np.inf))
"""Name, from (inclusive), to (exclusive), in years of anchor age."""

UNKNOWN = "unknown"


def subgroups_of(journeys: pandas.DataFrame) -> dict[str, dict[str, np.ndarray]]:
    """Divide journeys by who the patient is.

    Args:
        journeys: rows of pairs.parquet, N of them.

    Returns:
        Attribute (sex, age, race) -> group -> which rows, bool (N,). Groups without a journey are absent; those whose
        attribute the tables do not tell, or a race beside RACE_GROUPS, are "unknown".
    """
    age = journeys["anchor_age"].to_numpy(np.float64)
    sex = journeys["sex"].astype(str).str.upper().to_numpy()
    race = np.array([race_group(name) for name in journeys["race"]], dtype=object)
    divisions = {
        "sex": {name: sex == name for name in ("F", "M")},
        "age": {name: (age >= low) & (age < high) for name, low, high in AGE_BANDS},
        "race": {name: race == index for index, name in enumerate(RACE_GROUPS)},
    }
    for groups in divisions.values():
        groups[UNKNOWN] = ~np.any(list(groups.values()), axis=0)
    return {
        attribute: {name: np.asarray(rows, bool) for name, rows in groups.items() if np.any(rows)}
        for attribute, groups in divisions.items()
    }


def summarise_subgroups(
    scores: pandas.DataFrame, truth: Truth, journeys: pandas.DataFrame, *, weights: np.ndarray
) -> dict[str, dict[str, dict[str, Any]]]:
    """Compute the overall number of every metric in every subgroup, on the same bootstrap replicates.

    Args:
        scores: columns `scoring.SCORE_COLUMNS`.
        truth: in the same order.
        journeys: rows of pairs.parquet, in the same order.
        weights: of `draw_patient_weights`, shape (1 + R, N).

    Returns:
        Attribute -> group -> journeys, patients, and under `metrics` and `further` metric -> value, low, high, count,
        note.
    """
    return {
        attribute: dict(_summaries(groups, scores, truth, journeys, weights))
        for attribute, groups in subgroups_of(journeys).items()
    }


def _summaries(
    groups: dict[str, np.ndarray],
    scores: pandas.DataFrame,
    truth: Truth,
    journeys: pandas.DataFrame,
    weights: np.ndarray,
) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, rows in groups.items():
        chosen, own = scores[rows], weights[:, rows]
        summary = summarise(chosen, truth.rows(rows), weights=own)
        further = summarise_further(chosen, weights=own)
        yield (
            name,
            {
                "journeys": int(rows.sum()),
                "patients": int(journeys.loc[rows, "subject_id"].nunique()),
                "metrics": {metric: parts[OVERALL].as_number() for metric, parts in summary.items()},
                "further": {metric: parts[OVERALL].as_number() for metric, parts in further.items()},
            },
        )
