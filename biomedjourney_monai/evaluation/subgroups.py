"""Every number by sex, age band and race: a mean can hide that a model serves some patients worse."""

from typing import Any

import numpy as np
import pandas

from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS, race_group
from biomedjourney_monai.evaluation.metrics.measure import Scored
from biomedjourney_monai.evaluation.metrics.registry import FURTHER_MEASURES, PAPER_MEASURES
from biomedjourney_monai.evaluation.metrics.statistic import OVERALL

AGE_BANDS = (("under 40", 0, 40), ("40 to 59", 40, 60), ("60 to 74", 60, 75), ("75 and over", 75, np.inf))
"""Name, from (inclusive), to (exclusive), in years of anchor age."""

UNKNOWN = "unknown"


def subgroups_of(journeys: pandas.DataFrame) -> dict[str, dict[str, np.ndarray]]:
    """Divide N journeys by sex, age and race of the patient.

    Returns:
        Attribute -> group -> bool (N,). Groups without a journey are absent; "unknown" holds the journeys without the
        attribute, or of a race outside RACE_GROUPS.
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


def summarise_subgroups(scored: Scored, journeys: pandas.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """The overall number of every measure in every subgroup, on the same bootstrap replicates.

    Returns:
        Attribute -> group -> journeys, patients, and the numbers under `metrics` and `further`. Measures of whole sets
        are left out.
    """
    return {
        attribute: {name: _summarise(scored, journeys, rows) for name, rows in groups.items()}
        for attribute, groups in subgroups_of(journeys).items()
    }


def _summarise(scored: Scored, journeys: pandas.DataFrame, rows: np.ndarray) -> dict[str, Any]:
    own = Scored(scored.scores[rows], scored.labels().rows(rows), scored.weights[:, rows])
    numbers: dict[str, Any] = {measure.section: {} for measure in (*PAPER_MEASURES, *FURTHER_MEASURES)}
    for measure in (*PAPER_MEASURES, *FURTHER_MEASURES):
        if not measure.of_sets:
            numbers[measure.section][measure.key] = own.statistics(measure)[OVERALL].as_number()
    return {
        "journeys": int(rows.sum()),
        "patients": int(journeys.loc[rows, "subject_id"].nunique()),
        **numbers,
    }
