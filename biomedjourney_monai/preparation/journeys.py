"""Journeys: every two consecutive studies of one patient, in the order of date and time, never of identifiers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from biomedjourney_monai.errors import SettingError, TableError
from biomedjourney_monai.files import write_json, write_table
from biomedjourney_monai.preparation.cohort.study_table import read_studies
from biomedjourney_monai.schema import CHEXPERT_LABELS, JOURNEY_COLUMNS, JOURNEYS_FILE

COUNTS_FILE = "journeys_drops.json"

_CARRIED = {name: name for name in ("study_id", "dicom_id", "image_path", "report_path", *CHEXPERT_LABELS)}
_PER_STUDY = {**_CARRIED, "age_at_study": "age"}


@dataclass(frozen=True)
class FoundJourneys:
    """The result of `find_journeys`.

    Args:
        journeys: columns `schema.JOURNEY_COLUMNS`.
        kept_by_split: split → number of journeys.
        drops: reason → number of pairs of studies left out.
        path: of journeys.parquet.
    """

    journeys: pd.DataFrame
    kept_by_split: dict[str, int]
    drops: dict[str, int]
    path: Path


def find_journeys(work: str | Path = "work", *, min_days: float = 0.0, max_days: float = float("inf")) -> FoundJourneys:
    """Pair the consecutive studies in studies.parquet, and write journeys.parquet and journeys_drops.json.

    Args:
        work: the working folder.
        min_days: shortest interval to keep, in days.
        max_days: longest interval to keep, in days.

    Raises:
        SettingError: if min_days is negative or above max_days.
        TableError: if studies.parquet is missing or malformed, or no journey is kept.
    """
    work = Path(work)
    _check_days(min_days, max_days)
    studies = read_studies(work)
    journeys, drops = build_journeys(studies, min_days=min_days, max_days=max_days)
    if journeys.empty:
        raise TableError(
            "a cohort must have patients with two studies",
            found=f"no journey among {len(studies):,} studies; dropped: {drops or 'none'}",
            action="Widen --min-days and --max-days",
        )
    by_split = {str(split): int(count) for split, count in journeys["split"].value_counts().sort_index().items()}
    write_table(work / JOURNEYS_FILE, journeys)
    write_json(work / COUNTS_FILE, {"kept": len(journeys), "kept_by_split": by_split, "dropped": drops})
    return FoundJourneys(journeys, by_split, drops, work / JOURNEYS_FILE)


def build_journeys(
    studies: pd.DataFrame, *, min_days: float = 0.0, max_days: float = float("inf")
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Pair consecutive studies, given in columns `schema.STUDY_COLUMNS`; limits as for `find_journeys`.

    Two studies at the same instant have no order and are never paired.

    Returns:
        Journeys with columns `schema.JOURNEY_COLUMNS`, in order of patient and time, and the drops by reason.
    """
    _check_days(min_days, max_days)
    ordered = studies.sort_values(["subject_id", "study_datetime", "study_id"], ignore_index=True)
    same_patient = ordered["subject_id"] == ordered["subject_id"].shift(-1)
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


def _check_days(min_days: float, max_days: float) -> None:
    if not 0 <= min_days <= max_days:
        rule = f"must be >= 0 and <= max_days, which is {max_days:g}"
        raise SettingError("min_days", rule, found=f"{min_days:g}")


def _drop_rules(
    journeys: pd.DataFrame, new_split: pd.Series, min_days: float, max_days: float
) -> Iterator[tuple[str, pd.Series]]:
    days = journeys["days_between"]
    yield "studies in two splits", journeys["split"] != new_split
    yield "studies at the same instant", days <= 0
    yield "interval too short", days < min_days
    yield "interval too long", days > max_days
