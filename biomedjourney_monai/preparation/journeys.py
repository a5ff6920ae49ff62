"""Journeys: every two consecutive studies of one patient, in the order of date and time, never of identifiers."""

from __future__ import annotations

import pandas as pd

from biomedjourney_monai.schema import CHEXPERT_LABELS, JOURNEY_COLUMNS

_CARRIED = {"study_id": "study_id", "dicom_id": "dicom_id", "image_path": "image_path", "report_path": "report_path"}
_PER_STUDY = {**_CARRIED, "age_at_study": "age", **{label: label for label in CHEXPERT_LABELS}}


def build_journeys(
    studies: pd.DataFrame, *, min_days: float = 0.0, max_days: float = float("inf")
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Pair consecutive studies.

    Args:
        studies: columns `schema.STUDY_COLUMNS`.
        min_days: shortest interval to keep; two studies at the very same instant have no order and are never paired.
        max_days: longest interval to keep.

    Returns:
        Journeys with columns `schema.JOURNEY_COLUMNS`, in order of patient and time, and the drops by reason.

    Raises:
        ValueError: if min_days is negative or above max_days.
    """
    if not 0 <= min_days <= max_days:
        raise ValueError(f"min_days ({min_days}) must be >= 0 and <= max_days ({max_days})")
    ordered = studies.sort_values(["subject_id", "study_datetime", "study_id"], ignore_index=True)
    following = ordered.shift(-1)
    same_patient = ordered["subject_id"] == following["subject_id"]
    prior, new = ordered[same_patient], ordered.loc[ordered.index[same_patient] + 1]
    new.index = prior.index

    journeys = prior[["subject_id", "split", "sex", "anchor_age", "race"]].copy()
    journeys["days_between"] = (new["study_datetime"] - prior["study_datetime"]).dt.total_seconds() / 86400
    columns = {f"prior_{name}": prior[column] for column, name in _PER_STUDY.items()}
    columns |= {f"new_{name}": new[column] for column, name in _PER_STUDY.items()}
    journeys = pd.concat([journeys, pd.DataFrame(columns, index=prior.index)], axis=1)

    drops = {}
    for reason, dropped in _drop_rules(journeys, new["split"], min_days, max_days):
        still = dropped.reindex(journeys.index)
        drops[reason] = int(still.sum())
        journeys = journeys[~still]
    journeys = journeys.reset_index(drop=True)
    journeys["journey_id"] = [f"j{number:06d}" for number in range(len(journeys))]
    return journeys[list(JOURNEY_COLUMNS)], {reason: count for reason, count in drops.items() if count}


def _drop_rules(journeys: pd.DataFrame, new_split: pd.Series, min_days: float, max_days: float):
    days = journeys["days_between"]
    yield "studies in two splits", journeys["split"] != new_split
    yield "studies at the same instant", days <= 0
    yield "interval too short", days < min_days
    yield "interval too long", days > max_days
