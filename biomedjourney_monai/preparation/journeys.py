"""Journeys: two studies of one patient in the order of date and time, never of identifiers; by default consecutive.

studies.parquet is checked column by column, since a site may have written it without `cohort`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype

from biomedjourney_monai.errors import SettingError, TableError
from biomedjourney_monai.files import read_table, write_json, write_table
from biomedjourney_monai.schema import (
    CHEXPERT_LABELS,
    DATED,
    JOURNEY_COLUMNS,
    JOURNEYS_FILE,
    ORDER_FROM,
    SPLITS,
    STUDIES_FILE,
    STUDY_COLUMNS,
)

_TEXT = ("subject_id", "study_id", "dicom_id", "image_path")
_FILE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"


def read_studies(work: str | Path) -> pd.DataFrame:
    """Read studies.parquet of a working folder.

    Returns:
        Columns `schema.STUDY_COLUMNS`, and `schema.ORDER_FROM` where the source lacks dates; one row per study.

    Raises:
        TableError: if the table is missing or unreadable, or a column is missing, has the wrong type, gaps or repeated
            values; it names the column.
    """
    studies = read_table(Path(work) / STUDIES_FILE, columns=STUDY_COLUMNS, made_by="cohort")
    for column in _TEXT:
        kinds = sorted({type(value).__name__ for value in studies[column] if not (isinstance(value, str) and value)})
        if kinds:
            _refuse(column, "hold text in every row", f"empty cells or {', '.join(kinds)}")
    if not is_datetime64_any_dtype(studies["study_datetime"]):
        _refuse("study_datetime", "hold dates with times", str(studies["study_datetime"].dtype))
    if studies["study_datetime"].isna().any():
        _refuse("study_datetime", "not have gaps", "an empty cell")
    for column in ("study_id", "dicom_id"):
        if studies[column].duplicated().any():
            _refuse(column, "not repeat", "the same value twice")
    if not studies["dicom_id"].str.fullmatch(_FILE_NAME).all():  # it becomes the name of the picture
        _refuse("dicom_id", "hold letters, digits, '.', '_' and '-' only", "other characters")
    unknown = set(studies["split"]) - set(SPLITS)
    if unknown:
        _refuse("split", f"be one of {', '.join(SPLITS)}", ", ".join(sorted(map(repr, unknown)))[:60])
    return studies


def _refuse(column: str, rule: str, found: str) -> NoReturn:
    raise TableError(f"column {column!r} of {STUDIES_FILE} must {rule}", found=found, action="See `cohort --help`")


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


def find_journeys(
    work: str | Path = "work",
    *,
    min_days: float = 0.0,
    max_days: float = float("inf"),
    visits_apart: int | None = 1,
) -> FoundJourneys:
    """Pair the studies in studies.parquet, and write journeys.parquet and journeys_drops.json.

    Args:
        work: the working folder.
        min_days: shortest interval to keep, in days.
        max_days: longest interval to keep, in days.
        visits_apart: pair each study with the next 1, 2, … of its patient; None with all later ones.

    Raises:
        SettingError: if min_days is negative or above max_days, or visits_apart is below 1.
        TableError: if studies.parquet is missing or malformed, or no journey is kept.
    """
    work = Path(work)
    _check_days(min_days, max_days)
    studies = read_studies(work)
    journeys, drops = build_journeys(studies, min_days=min_days, max_days=max_days, visits_apart=visits_apart)
    if journeys.empty:
        raise TableError(
            "a cohort must have patients with two studies",
            found=f"no journey among {len(studies):,} studies; dropped: {drops or 'none'}",
            action="Widen --min-days and --max-days",
        )
    by_split = {str(split): int(count) for split, count in journeys["split"].value_counts().sort_index().items()}
    write_table(work / JOURNEYS_FILE, journeys)
    counts = {"kept": len(journeys), "kept_by_split": by_split, "dropped": drops}
    if ORDER_FROM in journeys:
        counts[ORDER_FROM] = journeys[ORDER_FROM].value_counts().sort_index().to_dict()
    write_json(work / COUNTS_FILE, counts)
    return FoundJourneys(journeys, by_split, drops, work / JOURNEYS_FILE)


def build_journeys(
    studies: pd.DataFrame, *, min_days: float = 0.0, max_days: float = float("inf"), visits_apart: int | None = 1
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Pair studies, given in columns `schema.STUDY_COLUMNS`; limits as for `find_journeys`.

    Two studies at the same instant have no order and are never paired. Where the order of two studies rests on
    something else than dates (`schema.ORDER_FROM`), days_between is NaN, and limits on the days drop the journey.

    Returns:
        Journeys with columns `schema.JOURNEY_COLUMNS`, and `schema.ORDER_FROM` if the studies have it, in order of
        patient and time, and the drops by reason.
    """
    _check_days(min_days, max_days)
    if visits_apart is not None and visits_apart < 1:
        raise SettingError("visits_apart", "must be >= 1", found=str(visits_apart))
    ordered = studies.sort_values(["subject_id", "study_datetime", "study_id"], ignore_index=True)
    first, second = _pair(ordered["subject_id"], visits_apart)
    prior, new = ordered.loc[first].reset_index(drop=True), ordered.loc[second].reset_index(drop=True)

    journeys = prior[["subject_id", "split", "sex", "anchor_age", "race"]].copy()
    journeys["days_between"] = (new["study_datetime"] - prior["study_datetime"]).dt.total_seconds() / 86400
    columns = {f"prior_{name}": prior[column] for column, name in _PER_STUDY.items()}
    columns |= {f"new_{name}": new[column] for column, name in _PER_STUDY.items()}
    journeys = pd.concat([journeys, pd.DataFrame(columns, index=prior.index)], axis=1)

    instant = journeys["days_between"] <= 0
    kept = list(JOURNEY_COLUMNS)
    if ORDER_FROM in ordered:
        dated = (prior[ORDER_FROM] == DATED) & (new[ORDER_FROM] == DATED)
        journeys["days_between"] = journeys["days_between"].where(dated)
        journeys[ORDER_FROM] = prior[ORDER_FROM].where(prior[ORDER_FROM] != DATED, new[ORDER_FROM])
        kept.append(ORDER_FROM)

    drops = {}
    for reason, dropped in _drop_rules(journeys, new["split"], instant, min_days, max_days):
        still = dropped.reindex(journeys.index)
        drops[reason] = int(still.sum())
        journeys = journeys[~still]
    journeys = journeys.reset_index(drop=True)
    journeys["journey_id"] = [f"j{number:06d}" for number in range(len(journeys))]
    return journeys[kept], {reason: count for reason, count in drops.items() if count}


def _pair(subjects: pd.Series, visits_apart: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the earlier and the later study of each journey, for studies in order of patient and time."""
    rows = np.arange(len(subjects))
    left = subjects.groupby(subjects, sort=False).cumcount(ascending=False).to_numpy()  # later studies of the patient
    counts = left if visits_apart is None else np.minimum(left, visits_apart)
    first = np.repeat(rows, counts)
    return first, first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)


def _check_days(min_days: float, max_days: float) -> None:
    if not 0 <= min_days <= max_days:
        rule = f"must be >= 0 and <= max_days, which is {max_days:g}"
        raise SettingError("min_days", rule, found=f"{min_days:g}")


def _drop_rules(
    journeys: pd.DataFrame, new_split: pd.Series, instant: pd.Series, min_days: float, max_days: float
) -> Iterator[tuple[str, pd.Series]]:
    days = journeys["days_between"]
    yield "studies in two splits", journeys["split"] != new_split
    yield "studies at the same instant", instant
    if min_days > 0 or max_days < float("inf"):
        yield "interval unknown", days.isna()
    yield "interval too short", days < min_days
    yield "interval too long", days > max_days
