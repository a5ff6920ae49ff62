"""The tables of MIMIC-CXR-JPG and MIMIC-IV: find them, and check every column before use."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.preparation.cohort.source import most_frequent
from biomedjourney_monai.schema import CHEXPERT_LABELS, SPLITS

METADATA = "mimic-cxr-2.0.0-metadata"  # keeps this name in release 2.1.0
SPLIT = "mimic-cxr-2.0.0-split"
CHEXPERT = "mimic-cxr-2.0.0-chexpert"
NEGBIO = "mimic-cxr-2.0.0-negbio"
PATIENTS = "patients"
ADMISSIONS = "admissions"

DEMOGRAPHICS = ["subject_id", "sex", "anchor_age", "anchor_year", "race"]
UNKNOWN_RACES = ("UNKNOWN", "UNABLE TO OBTAIN", "PATIENT DECLINED TO ANSWER")

DEPTH = ("", "*/", "*/*/", "*/*/*/")
"""Folders below the root in which a table may lie, for example mimic-iv/3.1/hosp/."""


def find_table(root: Path, name: str) -> Path | None:
    """Find NAME.csv.gz or NAME.csv in `root` or at most three folders below it; the highest one wins."""
    for depth in DEPTH:
        for suffix in (".csv.gz", ".csv"):
            found = sorted(root.glob(f"{depth}{name}{suffix}"))
            if found:
                return found[0]
    return None


def read_metadata(root: Path) -> pd.DataFrame:
    """Read one row per image; identifiers and times as text."""
    table = _read(
        _require(root, METADATA),
        {"dicom_id": str, "subject_id": str, "study_id": str, "ViewPosition": str, "Rows": float, "Columns": float}
        | {"StudyDate": str, "StudyTime": str, "ViewCodeSequence_CodeMeaning": str},
    )
    table = _unique(table, ["dicom_id"], METADATA)
    if table.drop_duplicates(["study_id", "subject_id"])["study_id"].duplicated().any():
        raise TableError(
            f"column 'study_id' of {METADATA} must assign each study to one patient", found="a study of two"
        )
    _some(table, "subject_id", table["subject_id"].str.fullmatch(r"\d{8}"), "identifiers of eight digits", METADATA)
    _some(table, "study_id", table["study_id"].str.fullmatch(r"\d{8}"), "identifiers of eight digits", METADATA)
    dates = pd.to_datetime(table["StudyDate"].str.removesuffix(".0"), format="%Y%m%d", errors="coerce")
    _some(table, "StudyDate", dates.notna(), "dates as YYYYMMDD", METADATA)
    _some(table, "StudyTime", pd.to_numeric(table["StudyTime"], errors="coerce").notna(), "times as HHMMSS", METADATA)
    return table


def read_labels(root: Path, name: str = CHEXPERT) -> pd.DataFrame:
    """Read one row per study from `CHEXPERT` or `NEGBIO`: study_id and the 14 labels as float32 in {1, 0, -1, NaN}."""
    columns = {"study_id": str} | dict.fromkeys(CHEXPERT_LABELS, "float32")
    table = _unique(_read(_require(root, name), columns), ["study_id"], name)
    for label in CHEXPERT_LABELS:
        wrong = table[label].notna() & ~table[label].isin([1, 0, -1])
        if wrong.any():
            raise TableError(
                f"column {label!r} of {name} must hold 1, 0, -1 or nothing", found=str(table[label][wrong].iloc[0])
            )
    return table


def read_split(root: Path) -> pd.DataFrame:
    """Read dicom_id → split of MIMIC-CXR-JPG's official split."""
    table = _read(_require(root, SPLIT), {"dicom_id": str, "subject_id": str, "split": str})
    unknown = set(table["split"].dropna()) - set(SPLITS)
    if unknown:
        raise TableError(f"column 'split' of {SPLIT} must be one of {', '.join(SPLITS)}", found=sorted(unknown)[0][:20])
    if (table.groupby("subject_id")["split"].nunique() > 1).any():
        raise TableError(f"{SPLIT} must keep each patient in one split", found="a patient in two")
    return _unique(table, ["dicom_id"], SPLIT)


def read_demographics(root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read sex, anchor age and race of each patient from MIMIC-IV.

    Race is the most frequent one among a patient's admissions, where "unknown" and similar entries do not count; a tie
    goes to the first in alphabetical order.

    Returns:
        One row per patient (subject_id, sex, anchor_age, anchor_year, race), and the patients with more than one race
        recorded (subject_id, race, count, chosen). Both are empty without MIMIC-IV.
    """
    columns = {"subject_id": str, "gender": str, "anchor_age": float, "anchor_year": float}
    path = find_table(root, PATIENTS)
    if path is None:
        return pd.DataFrame(columns=DEMOGRAPHICS), pd.DataFrame(columns=["subject_id", "race", "count", "chosen"])
    patients = _unique(_read(path, columns), ["subject_id"], PATIENTS)
    patients = patients.rename(columns={"gender": "sex"})
    _some(patients, "sex", patients["sex"].isin(["F", "M"]), "F or M (gender)", PATIENTS)
    patients["sex"] = patients["sex"].where(patients["sex"].isin(["F", "M"]), "")
    races, conflicts = most_frequent(_read_races(root), "race")
    return patients.assign(race=patients["subject_id"].map(races).fillna("")), conflicts


def _read_races(root: Path) -> pd.DataFrame:
    path = find_table(root, ADMISSIONS)
    if path is None:
        return pd.DataFrame(columns=["subject_id", "race"], dtype=str)
    header = list(_read_csv(path, nrows=0))
    column = "ethnicity" if "race" not in header and "ethnicity" in header else "race"  # its name in MIMIC-IV 1.0
    return known_races(_read(path, {"subject_id": str, column: str}).rename(columns={column: "race"}))


def known_races(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that name a race, in upper case."""
    table = table.assign(race=table["race"].str.strip().str.upper())
    return table[table["race"].notna() & ~table["race"].isin(["", *UNKNOWN_RACES])]


def _require(root: Path, name: str) -> Path:
    if not root.is_dir():
        raise TableError("the source must be a folder", found="no such folder", action="Check the path")
    path = find_table(root, name)
    if path is None:
        raise TableError(
            f"the source must hold {name}.csv.gz",
            found="none",
            action="Pass the folder of MIMIC-CXR-JPG with MIMIC-IV"
            + (", or --labels report" if name in (CHEXPERT, NEGBIO) else ""),
        )
    return path


def _read_csv(path: Path, **options: Any) -> pd.DataFrame:
    try:
        return pd.read_csv(path, **options)
    except Exception as error:  # pandas, gzip and codecs raise many kinds
        raise TableError(f"{path.name} must be a CSV table", found=type(error).__name__) from error


def _read(path: Path, columns: Mapping[str, type | str]) -> pd.DataFrame:
    header = [str(column) for column in _read_csv(path, nrows=0)]
    missing = [column for column in columns if column not in header]
    if missing:
        raise TableError(f"{path.name} must have a column {missing[0]!r}", found=f"{', '.join(header[:8])} …")
    table = _read_csv(path, usecols=list(columns), dtype=dict.fromkeys(columns, str), keep_default_na=True)
    if table.empty:
        raise TableError(f"{path.name} must not be empty", found="no rows")
    for column, kind in columns.items():
        if kind is not str:
            numbers = pd.to_numeric(table[column], errors="coerce")
            if (numbers.isna() & table[column].notna()).any():
                raise TableError(f"column {column!r} of {path.name} must hold numbers", found="text")
            table[column] = numbers.to_numpy(dtype=np.dtype(kind))
    return table


def _unique(table: pd.DataFrame, columns: Sequence[str], name: str) -> pd.DataFrame:
    for column in columns:
        if table[column].isna().any():
            raise TableError(f"column {column!r} of {name} must not have gaps", found="an empty cell")
    if table.duplicated(list(columns)).any():
        raise TableError(f"column {columns[0]!r} of {name} must not repeat", found="the same value twice")
    return table


def _some(table: pd.DataFrame, column: str, valid: pd.Series, kind: str, name: str) -> None:
    """Refuse a column without any valid value; single bad cells drop only their row, later."""
    if table[column].notna().any() and not valid.fillna(False).any():
        raise TableError(f"column {column!r} of {name} must hold {kind}", found="none in any row")
