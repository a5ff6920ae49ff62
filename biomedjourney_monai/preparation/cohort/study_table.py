"""studies.parquet, checked column by column, since a site may have written it without `cohort`."""

from pathlib import Path
from typing import NoReturn

import pandas as pd
from pandas.api.types import is_datetime64_any_dtype

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.files import read_table
from biomedjourney_monai.schema import SPLITS, STUDIES_FILE, STUDY_COLUMNS

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
