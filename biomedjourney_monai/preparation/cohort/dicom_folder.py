"""A folder of DICOM files of any nesting and names as a source of studies.

Only headers are read here, and the pixels of files whose header leaves a doubt whether they can be read.

Identifiers are replaced by numbers computed from them. The patient's number starts with 1, so that the paper's split
(p19 tests) works, and file names made from the numbers identify nobody. The files themselves stay where they are, and
the working folder holds their paths.
"""

from __future__ import annotations

import hashlib
import os
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from biomedjourney_monai.errors import ImageError, TableError
from biomedjourney_monai.preparation.cohort.mimic import known_races
from biomedjourney_monai.preparation.cohort.report_files import ReportFinder
from biomedjourney_monai.preparation.cohort.source import Source, most_frequent, parse_study_datetime
from biomedjourney_monai.preparation.parallel import ALONE, CRASHED, Workers, map_in_processes
from biomedjourney_monai.preparation.rejections import Rejections
from biomedjourney_monai.radiographs.read.dicom_header import read_header
from biomedjourney_monai.radiographs.read.dicom_stored import is_in_doubt
from biomedjourney_monai.radiographs.read.marked_files import COUNTERFACTUAL, DICOM_KEYWORDS, header_carries_mark
from biomedjourney_monai.radiographs.read.pixels import read_pixels

if TYPE_CHECKING:
    from pydicom import Dataset

VIEW_CODES = {
    "272479007": "postero-anterior",
    "R-10214": "postero-anterior",
    "399348003": "antero-posterior",
    "R-10206": "antero-posterior",
    "399067008": "lateral",
    "R-10236": "lateral",
}
"""Code value of DICOM's context group 4010, in SNOMED CT or the older SRT → meaning."""

KEYWORDS = (
    *("SOPInstanceUID", "StudyInstanceUID", "AccessionNumber", "StudyDate", "StudyTime", "PatientID"),
    *("IssuerOfPatientID", "PatientSex", "PatientBirthDate", "PatientAge", "EthnicGroup", "ViewPosition"),
    *("ViewCodeSequence", "PatientOrientation", "BurnedInAnnotation", *DICOM_KEYWORDS),
)


def read_dicom_folder(
    folder: str | Path,
    *,
    reports: str | Path | None = None,
    texts: str | Path = "work/reports",
    key: bytes = b"",
    workers: Workers = ALONE,
) -> Source:
    """Read the headers of all DICOM files below a folder.

    Args:
        folder: files of any name and nesting.
        reports: a table with accession_number or study_instance_uid and text, or a folder of .txt files named by
            either; None for no reports.
        texts: folder for the texts of a table, one file per study.
        key: secret that the numbers depend on, up to 64 bytes; without it, whoever knows an identifier can compute
            its number.
        workers: that read headers.

    Returns:
        The source, without labels: they are read from the reports.

    Raises:
        TableError: if the folder or the reports are missing, or no file is a chest radiograph.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TableError("the DICOM source must be a folder", found="no such folder", action="Check --dicom")
    finder = ReportFinder.open(reports, texts=Path(texts))
    paths = list_files(folder, leave_out=finder.root)
    if not paths:
        raise TableError("the folder must hold DICOM chest radiographs", found="no file", action="Check --dicom")
    rows = map_in_processes(
        partial(read_fields, key=key),
        paths,
        title="headers",
        unit="files",
        on_death=lambda path: _unusable(path, CRASHED),
        **vars(workers),
    )
    rejections = Rejections()
    files = pd.DataFrame(list(rows))
    for reason in sorted(set(files["reason"]) - {""}):
        rejections.add("image", reason, files[files["reason"] == reason])
    images = files[files["reason"] == ""].drop(columns="reason")
    if images.empty:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in rejections.counts("image").items())
        raise TableError("the folder must hold DICOM chest radiographs", found=f"none ({reasons})")
    images = rejections.keep_images(images, ~images["dicom_id"].duplicated(), "the same image again")
    people, conflicts = _describe_patients(images)
    flagged = images.loc[images["burned_in"], ["dicom_id"]].assign(flag="annotation burned in")
    return Source(
        images=images.drop(columns=["sex", "race", "age", "burned_in"]),
        demographics=people,
        race_conflicts=conflicts,
        find_reports=finder.find,
        rejections=rejections,
        ages=images.drop_duplicates("study_id").set_index("study_id")["age"],
        flags=flagged,
    )


def list_files(folder: Path, *, leave_out: Path | None = None) -> list[str]:
    """List all files below a folder, in order, without hidden ones; links to folders are not followed."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if leave_out is not None and Path(root).resolve().is_relative_to(leave_out.resolve()):
            names = [name for name in names if not name.endswith(".txt")]
        found += [str(Path(root, name).resolve()) for name in sorted(names) if not name.startswith(".")]
    return found


def read_fields(path: str, *, key: bytes = b"") -> dict[str, object]:
    """Read what a cohort needs from one file; `reason` says why it cannot be used, "" if it can."""
    try:
        header = read_header(path, KEYWORDS)
        if is_in_doubt(header, path):
            read_pixels(path)
        text = {name: str(header.get(name) or "").strip() for name in KEYWORDS if name != "ViewCodeSequence"}
        view_code, orientation = _view_code(header), _first(header.get("PatientOrientation"))
        is_marked = header_carries_mark(header)
    except ImageError as error:
        return _unusable(path, error.reason)
    except Exception:  # an attribute that pydicom cannot decode, found when it is read
        return _unusable(path, "image damaged")
    return {
        "reason": COUNTERFACTUAL if is_marked else _refusal(text, orientation),
        "subject_id": "1" + _digits(key, "patient", text["IssuerOfPatientID"], text["PatientID"]),
        "study_id": "5" + _digits(key, "study", text["StudyInstanceUID"]),
        "dicom_id": _groups(key, "image", text["SOPInstanceUID"]),
        "image_path": path,
        "ViewPosition": text["ViewPosition"],
        "ViewCodeSequence_CodeMeaning": view_code,
        "Rows": float(header.Rows),
        "Columns": float(header.Columns),
        "StudyDate": text["StudyDate"],
        "StudyTime": text["StudyTime"],
        "sex": text["PatientSex"].upper() if text["PatientSex"].upper() in ("F", "M") else "",
        "race": text["EthnicGroup"],
        "age": read_age(text["StudyDate"], birth=text["PatientBirthDate"], age=text["PatientAge"]),
        "burned_in": text["BurnedInAnnotation"].upper() == "YES",
        "accession_number": text["AccessionNumber"],
        "study_instance_uid": text["StudyInstanceUID"],
    }


def read_age(study_date: str, *, birth: str, age: str) -> float:
    """Compute the age in whole years from the date of birth, or else DICOM's age such as 045Y; NaN if unknown.

    Example:
        >>> read_age("20200301", birth="19600302", age=""), read_age("", birth="", age="018M")
        (59.0, 1.5)
    """
    born, taken = _date(birth), _date(study_date)
    if born is not None and taken is not None and born <= taken:
        return float(taken.year - born.year - ((taken.month, taken.day) < (born.month, born.day)))
    number, unit = age[:-1], age[-1:].upper()
    per_year = {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}
    return float(number) / per_year[unit] if number.isdigit() and unit in per_year else float("nan")


def _unusable(path: str, reason: str) -> dict[str, object]:
    return {"reason": reason, "image_path": path}


def _refusal(text: dict[str, str], orientation: str) -> str:
    if not text["PatientID"]:
        return "no PatientID"
    if not text["StudyInstanceUID"] or not text["SOPInstanceUID"]:
        return "identifier malformed"
    if orientation.startswith("R"):  # columns run to the patient's right: seen from behind
        return "orientation suggests a mirrored image"
    return ""


def _view_code(header: Dataset) -> str:
    sequence = header.get("ViewCodeSequence") or []
    if len(sequence) == 0:
        return ""
    value = str(sequence[0].get("CodeValue") or "").strip()
    return VIEW_CODES.get(value, str(sequence[0].get("CodeMeaning") or "").strip())


def _first(values: Any) -> str:
    if values is None or isinstance(values, str):
        return str(values or "").split("\\")[0].strip().upper()
    return str(values[0]).strip().upper() if len(values) else ""


def _date(text: str) -> date | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])) if len(text) == 8 and text.isdigit() else None
    except ValueError:
        return None


def _digits(key: bytes, *parts: str) -> str:
    return f"{int.from_bytes(_digest(key, *parts)[:8], 'big') % 10**15:015d}"


def _groups(key: bytes, *parts: str) -> str:
    digits = _digest(key, *parts).hex()
    return "-".join(digits[start : start + 8] for start in range(0, 40, 8))


def _digest(key: bytes, *parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=20, key=key).digest()


def _describe_patients(images: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per patient: the most frequent sex and race, and the age at the first study as the anchor."""
    taken = parse_study_datetime(images["StudyDate"], images["StudyTime"])
    ordered = images.assign(taken=taken).sort_values(["subject_id", "taken", "dicom_id"])
    aged = ordered.dropna(subset=["taken", "age"]).drop_duplicates("subject_id").set_index("subject_id")
    sexes, _ = most_frequent(images[images["sex"] != ""], "sex")
    races, conflicts = most_frequent(known_races(images[["subject_id", "race"]]), "race")
    people = pd.DataFrame({"subject_id": sorted(set(images["subject_id"]))})
    return people.assign(
        sex=people["subject_id"].map(sexes).fillna(""),
        race=people["subject_id"].map(races).fillna(""),
        anchor_age=people["subject_id"].map(aged["age"]).astype(float),
        anchor_year=people["subject_id"].map(aged["taken"].dt.year).astype(float),
    ), conflicts
