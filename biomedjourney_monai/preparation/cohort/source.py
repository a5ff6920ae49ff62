"""The common form of all sources of studies: MIMIC-CXR-JPG, a folder of DICOM files, the rendered cohort."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

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
