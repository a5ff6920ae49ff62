"""The tables of MIMIC-CXR-JPG and MIMIC-IV for phantom patients; the same patients give the same bytes."""

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from biomedjourney_monai.files import written_atomically
from biomedjourney_monai.phantom.faults import PlannedImage, UntidyPatient
from biomedjourney_monai.phantom.mentions import chexpert_labels
from biomedjourney_monai.phantom.patients import Visit
from biomedjourney_monai.phantom.seeds import derive_rng, derive_seed
from biomedjourney_monai.schema import CHEXPERT_LABELS

METADATA_COLUMNS = (
    *("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns"),
    *("StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning"),
    "PatientOrientationCodeSequence_CodeMeaning",
)
SPLIT_COLUMNS = ("dicom_id", "study_id", "subject_id", "split")
LABEL_COLUMNS = ("subject_id", "study_id", *CHEXPERT_LABELS)
TEST_LABEL_COLUMNS = ("study_id", *CHEXPERT_LABELS)
PATIENT_COLUMNS = ("subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod")
ADMISSION_COLUMNS = (
    *("subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "admission_type", "admit_provider_id"),
    *("admission_location", "discharge_location", "insurance", "language", "marital_status", "race", "edregtime"),
    *("edouttime", "hospital_expire_flag"),
)
PLANTED_COLUMNS = ("fault", "subject_id", "study_id", "dicom_id", "detail")
TRUTH_COLUMNS = ("prior_dicom_id", "new_study_id", "file")

NEGBIO_DIFFERS = 0.02
"""Probability that NegBio reads a mention differently from CheXpert: uncertain as present, or a denial not at all."""

_YEAR_GROUPS = ("2008 - 2010", "2011 - 2013", "2014 - 2016")
_EXAMINATIONS = {"PA": "CHEST (PA AND LAT)", "AP": "CHEST (PORTABLE AP)"}


@dataclass
class TableRows:
    """The rows of all tables, of one patient or of many."""

    metadata: list[tuple] = field(default_factory=list)
    split: list[tuple] = field(default_factory=list)
    chexpert: list[tuple] = field(default_factory=list)
    negbio: list[tuple] = field(default_factory=list)
    test_labels: list[tuple] = field(default_factory=list)
    patients: list[tuple] = field(default_factory=list)
    admissions: list[tuple] = field(default_factory=list)
    planted: list[tuple] = field(default_factory=list)
    truth: list[tuple] = field(default_factory=list)

    def add(self, other: "TableRows") -> None:
        """Append another's rows."""
        for name, rows in vars(other).items():
            getattr(self, name).extend(rows)


def list_rows(untidy: UntidyPatient, *, seed: int, size: int) -> TableRows:
    """List one patient's rows of every table except the truth's, for the cohort's seed and image size."""
    rows, patient = TableRows(), untidy.patient
    negbio_rng = derive_rng(seed, "negbio", patient.subject_id)
    for visit, images in zip(patient.visits, untidy.images):
        for image in images:
            rows.metadata.append(_metadata_row(patient.subject_id, visit, image, size))
            rows.split.append((image.dicom_id, visit.study_id, patient.subject_id, patient.split))
        if visit.study_id not in untidy.missing_reports:
            labels = tuple(chexpert_labels(visit.mentions, visit.devices).values())
            rows.chexpert.append((patient.subject_id, visit.study_id, *map(_as_cell, labels)))
            other = _read_otherwise(labels, negbio_rng)
            rows.negbio.append((patient.subject_id, visit.study_id, *map(_as_cell, other)))
            if patient.split == "test":
                rows.test_labels.append((visit.study_id, *map(_as_cell, labels)))
    group = _YEAR_GROUPS[patient.subject_id % len(_YEAR_GROUPS)]
    rows.patients.append((patient.subject_id, patient.sex, patient.anchor_age, patient.anchor_year, group, ""))
    rows.admissions = _admission_rows(untidy, seed)
    rows.planted = [
        (fault.fault, fault.subject_id, "" if fault.study_id is None else fault.study_id, fault.dicom_id, fault.detail)
        for fault in untidy.planted
    ]
    return rows


def write_tables(out: Path, rows: TableRows, *, with_record_lists: bool = False) -> None:
    """Write all tables, sorted by identifiers, each atomically; planted.csv is last.

    `with_record_lists` adds the two lists of paths that MIMIC-CXR has for its DICOM files.
    """
    _write(
        out / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA_COLUMNS, sorted(rows.metadata, key=lambda r: (*r[1:3], r[0]))
    )
    _write(out / "mimic-cxr-2.0.0-split.csv.gz", SPLIT_COLUMNS, sorted(rows.split, key=lambda r: (r[2], r[1], r[0])))
    _write(out / "mimic-cxr-2.0.0-chexpert.csv.gz", LABEL_COLUMNS, sorted(rows.chexpert))
    _write(out / "mimic-cxr-2.0.0-negbio.csv.gz", LABEL_COLUMNS, sorted(rows.negbio))
    _write(out / "mimic-cxr-2.1.0-test-set-labeled.csv", TEST_LABEL_COLUMNS, sorted(rows.test_labels))
    _write(out / "hosp" / "patients.csv.gz", PATIENT_COLUMNS, sorted(rows.patients))
    _write(out / "hosp" / "admissions.csv.gz", ADMISSION_COLUMNS, sorted(rows.admissions))
    if with_record_lists:
        images = sorted((row[1], row[2], row[0]) for row in rows.metadata)
        records = [(*row, f"{_study_path(*row[:2])}/{row[2]}.dcm") for row in images]
        studies = [(*row, f"{_study_path(*row)}.txt") for row in sorted({row[:2] for row in images})]
        _write(out / "cxr-record-list.csv.gz", ("subject_id", "study_id", "dicom_id", "path"), records)
        _write(out / "cxr-study-list.csv.gz", ("subject_id", "study_id", "path"), studies)
    if rows.truth:
        _write(out / "truth" / "truth.csv", TRUTH_COLUMNS, sorted(rows.truth))
    _write(out / "planted.csv", PLANTED_COLUMNS, sorted(rows.planted, key=str))


def _study_path(subject_id: int, study_id: int) -> str:
    return f"files/p{subject_id // 1_000_000}/p{subject_id}/s{study_id}"


def _metadata_row(subject_id: int, visit: Visit, image: PlannedImage, size: int) -> tuple:
    examination = _EXAMINATIONS[visit.view_position]
    position = "Erect" if visit.view_position == "PA" or visit.study_id % 2 else "Recumbent"
    identifiers = (image.dicom_id, subject_id, visit.study_id)
    taken = (f"{visit.time:%Y%m%d}", _as_study_time(visit.time))
    return (
        *identifiers,
        examination,
        image.recorded_view,
        size,
        size,
        *taken,
        examination,
        image.recorded_code,
        position,
    )


def _as_study_time(time: datetime) -> str:
    """Return HHMMSS.fff as a float prints it: without leading zeros, as MIMIC-CXR's table has it."""
    return repr(float(f"{time:%H%M%S}.{time.microsecond // 1000:03d}"))


def _as_cell(label: int | None) -> str:
    return "" if label is None else f"{label}.0"


def _read_otherwise(labels: Sequence[int | None], rng: np.random.Generator) -> list[int | None]:
    shares = rng.random(len(labels))
    otherwise = {-1: 1, 0: None}
    return [
        otherwise.get(label, label) if label is not None and share < NEGBIO_DIFFERS else label
        for label, share in zip(labels, shares)
    ]


def _admission_rows(untidy: UntidyPatient, seed: int) -> list[tuple]:
    patient = untidy.patient
    rows = []
    for place, race in enumerate(untidy.races):
        admitted = patient.visits[min(place, len(patient.visits) - 1)].time - timedelta(hours=3 + place)
        discharged = admitted + timedelta(days=2 + place)
        hadm_id = 20_000_000 + derive_seed(seed, "admission", patient.subject_id, place) % 10_000_000
        stay = (f"{admitted:%Y-%m-%d %H:%M:%S}", f"{discharged:%Y-%m-%d %H:%M:%S}", "")
        circumstances = ("EW EMER.", "", "EMERGENCY ROOM", "HOME", "Other", "English", "")
        rows.append((patient.subject_id, hadm_id, *stay, *circumstances, race, "", "", 0))
    return rows


def _write(path: Path, columns: Sequence[str], rows: Iterable[tuple]) -> None:
    """Write CSV, compressed without a time stamp where the name ends in .gz."""
    with written_atomically(path, public=True) as temporary, temporary.open("wb") as stream:
        if path.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0, compresslevel=6) as packed:
                _write_rows(packed, columns, rows)
        else:
            _write_rows(stream, columns, rows)


def _write_rows(stream: io.BufferedWriter | gzip.GzipFile, columns: Sequence[str], rows: Iterable[tuple]) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    text.flush()
    text.detach()
