"""A source of studies, and what sources share: the most frequent entry, study times and splits."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.preparation.rejections import Rejections


@dataclass(frozen=True)
class Source:
    """All images of a source, before selection.

    Args:
        images: one row per image: subject_id, study_id, dicom_id, ViewPosition and ViewCodeSequence_CodeMeaning (text
            or missing), Rows and Columns (float), StudyDate (YYYYMMDD), StudyTime (HHMMSS.fff, leading zeros may be
            missing), image_path (absolute). A source without dates has study_datetime in place of the two, which only
            carries the order, and order_from: what the order rests on.
        demographics: one row per patient: subject_id, sex, anchor_age, anchor_year, race.
        race_conflicts: patients with more than one race recorded: subject_id, race, count, chosen.
        find_reports: studies → the path of each one's report, "" if it has none.
        rejections: what was left out while reading.
        labels: one row per study: study_id and the 14 labels; None to read them from the reports.
        ages: study_id → age in years at the study, if the source has better ages than the anchor age.
        split: dicom_id → split, if the source has one.
        flags: kept images that need a look: dicom_id, flag.
    """

    images: pd.DataFrame
    demographics: pd.DataFrame
    race_conflicts: pd.DataFrame
    find_reports: Callable[[pd.DataFrame], pd.Series]
    rejections: Rejections = field(default_factory=Rejections)
    labels: pd.DataFrame | None = None
    ages: pd.Series | None = None
    split: pd.Series | None = None
    flags: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["dicom_id", "flag"]))


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """Read a CSV table as `pandas.read_csv`; a TableError names one that is none."""
    try:
        return pd.read_csv(path, **options)
    except Exception as error:  # pandas, gzip and codecs raise many kinds
        raise TableError(f"{path.name} must be a CSV table", found=type(error).__name__) from error


def most_frequent(table: pd.DataFrame, column: str) -> tuple[pd.Series, pd.DataFrame]:
    """The most frequent value of a column without gaps for each patient; of equal ones the first in alphabetical order.

    Returns:
        subject_id → value, and the patients with several values: subject_id, the column, count, chosen.
    """
    counts = table.groupby(["subject_id", column]).size().reset_index(name="count")
    counts = counts.sort_values(["subject_id", "count", column], ascending=[True, False, True], ignore_index=True)
    chosen = counts.drop_duplicates("subject_id").set_index("subject_id")[column]
    several = counts[counts.duplicated("subject_id", keep=False)]
    return chosen, several.assign(chosen=several["subject_id"].map(chosen)).reset_index(drop=True)


def parse_study_datetime(dates: pd.Series, times: pd.Series) -> pd.Series:
    """Combine StudyDate and StudyTime.

    Args:
        dates: YYYYMMDD as text; a trailing ".0" is allowed.
        times: HHMMSS.fff that was stored as a float, without leading zeros: "2014.5" is 00:20:14.5.

    Returns:
        datetime64[ns]; NaT where either is missing or impossible.

    Example:
        >>> parse_study_datetime(pd.Series(["21800506"]), pd.Series(["2014.5"]))[0]
        Timestamp('2180-05-06 00:20:14.500000')
    """
    day = pd.to_datetime(dates.astype("string").str.removesuffix(".0"), format="%Y%m%d", errors="coerce")
    clock = pd.to_numeric(times, errors="coerce").astype("float64")
    hours, minutes, seconds = clock // 10000, clock % 10000 // 100, clock % 100
    valid = (clock >= 0) & (hours < 24) & (minutes < 60) & (seconds < 61)  # 60 is a leap second
    milliseconds = ((hours * 3600 + minutes * 60 + seconds) * 1000).round()
    combined = day + pd.to_timedelta(milliseconds.where(valid), unit="ms")
    return combined.astype("datetime64[ns]")


def paper_split(subject_ids: pd.Series, *, validation_share: float = 0.1, seed: int = 0) -> pd.Series:
    """Split as the paper does: subsets p10–p18 train and validate, p19 tests.

    Validation patients are drawn by a hash of the identifier, so adding patients does not move others. Their share of
    p10–p18 is about 0.1 in the paper: 9,354 to 1,056 triples.
    """
    split = pd.Series("train", index=subject_ids.index)
    split[draw_validation(subject_ids, share=validation_share, seed=seed)] = "validate"
    split[subject_ids.str.startswith("19")] = "test"
    return split


def draw_validation(subject_ids: pd.Series, *, share: float, seed: int) -> pd.Series:
    """Whether each patient is drawn for validation, by a hash of seed and identifier."""
    return subject_ids.map({subject: _share(subject, seed) < share for subject in subject_ids.unique()}).astype(bool)


def _share(subject_id: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed}:{subject_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
