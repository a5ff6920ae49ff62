"""MIMIC-CXR-JPG with MIMIC-IV, and the rendered cohort in the same layout, as a source: every column is checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.preparation.cohort.source import Source, most_frequent, read_csv
from biomedjourney_monai.preparation.rejections import Rejections
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
    header = list(read_csv(path, nrows=0))
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


def _read(path: Path, columns: Mapping[str, type | str]) -> pd.DataFrame:
    header = [str(column) for column in read_csv(path, nrows=0)]
    missing = [column for column in columns if column not in header]
    if missing:
        raise TableError(f"{path.name} must have a column {missing[0]!r}", found=f"{', '.join(header[:8])} …")
    table = read_csv(path, usecols=list(columns), dtype=dict.fromkeys(columns, str), keep_default_na=True)
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


LABELS = {"chexpert": CHEXPERT, "negbio": NEGBIO}
SUFFIXES = (".jpg", ".dcm")
"""Of the images of MIMIC-CXR-JPG, and of MIMIC-CXR."""


def read_mimic(
    root: str | Path, *, reports: str | Path | None = None, labels: str = "chexpert", official_split: bool = False
) -> Source:
    """Read the tables of a source; a TableError names a missing or malformed one.

    Args:
        root: the folder of MIMIC-CXR-JPG, with MIMIC-IV's tables in it or below it.
        reports: the folder that holds the reports' `files`; by default found below the root.
        labels: "chexpert", "negbio" or "report" (read from the reports later).
        official_split: also read MIMIC-CXR-JPG's split.
    """
    root, rejections = Path(root), Rejections()
    metadata = read_metadata(root)
    images = rejections.keep_images(
        metadata, _well_formed(metadata), "identifier malformed", last="identifier malformed"
    )
    demographics, race_conflicts = read_demographics(root)
    reports_root = find_reports_root(root, reports)
    return Source(
        images=images.assign(image_path=_image_paths(images, find_images_root(root))),
        demographics=demographics,
        race_conflicts=race_conflicts,
        find_reports=lambda studies: _report_paths(studies, reports_root),
        rejections=rejections,
        labels=read_labels(root, LABELS[labels]) if labels in LABELS else None,
        split=read_split(root).set_index("dicom_id")["split"] if official_split else None,
    )


def find_images_root(root: Path) -> Path:
    """The folder that holds the images' `files`: next to the metadata table, or else below the root."""
    metadata = find_table(root, METADATA)
    if metadata is not None and (metadata.parent / "files").is_dir():
        return metadata.parent
    return _folder_with_files(root) or root


def find_reports_root(root: Path, reports: str | Path | None) -> Path:
    """The folder that holds the reports' `files`: as given, or named *report* below the root, or the images' folder."""
    if reports is not None:
        folder = Path(reports)
        if not folder.is_dir():
            raise TableError("the reports must be in a folder", found="no such folder", action="Check --reports")
        return _folder_with_files(folder) or folder
    for folder in sorted(root.glob("*report*")):
        found = _folder_with_files(folder)
        if found is not None:
            return found
    return find_images_root(root)


def _folder_with_files(root: Path) -> Path | None:
    found = [folder for depth in DEPTH[:3] for folder in sorted(root.glob(f"{depth}files"))]
    return found[0].parent if found else None


def _well_formed(metadata: pd.DataFrame) -> pd.Series:
    # These become parts of paths, so only the characters of MIMIC's identifiers may pass.
    valid = metadata["dicom_id"].str.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
    for column in ("subject_id", "study_id"):
        valid &= metadata[column].fillna("").str.fullmatch(r"\d{8}")
    return valid.astype(bool)


def _image_paths(images: pd.DataFrame, root: Path) -> pd.Series:
    stems = _study_folders(images, root) + "/" + images["dicom_id"]
    if stems.empty:
        return stems
    first = stems.iloc[:1000]  # a cohort has one format: that of the first images that exist
    suffix = next((s for s in SUFFIXES for stem in first if Path(stem + s).is_file()), SUFFIXES[0])
    return stems + suffix


def _report_paths(studies: pd.DataFrame, root: Path) -> pd.Series:
    paths = _study_folders(studies, root) + ".txt"
    return paths.where(paths.map(lambda path: Path(path).is_file()), "")


def _study_folders(table: pd.DataFrame, root: Path) -> pd.Series:
    subject, study = table["subject_id"], table["study_id"]
    return f"{root.resolve()}/files/p" + subject.str[:2] + "/p" + subject + "/s" + study
