"""Find the latest frontal radiograph, PA or AP, of a patient or of a study."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from biomedjourney_monai.clinic.pacs.archive import Archive, ArchiveError
from biomedjourney_monai.clinic.pacs.identity import (
    ATTRIBUTES,
    QUALIFIERS,
    Query,
    issuers,
    require_one_patient,
    text_of,
)
from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.read.dicom_header import as_image_error, refuse_unsuitable
from biomedjourney_monai.radiographs.read.view_position import FRONTAL, view_position

if TYPE_CHECKING:
    import pydicom

MODALITIES = ("CR", "DX", "RG")
SECONDARY_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
"""Prefix of SOP classes that do not come from a modality; this package writes one of them."""


@dataclass(frozen=True)
class Found:
    """The UIDs of a radiograph, and its header."""

    study_uid: str
    series_uid: str
    instance_uid: str
    header: pydicom.Dataset = field(repr=False)


def find_latest(archive: Archive, query: Query) -> Found:
    """Find the latest frontal radiograph of a patient or of a study.

    It has the latest StudyDate and StudyTime; within a study, it is the latest acquisition.

    Raises:
        ArchiveError: if there is none, if what was found is of several patients, or if the archive fails.
        ImageError: if the latest one cannot be used, for example raw data or several frames.
    """
    studies = _studies(archive, query)
    for study in sorted(studies, key=_study_time, reverse=True):
        study_uid = str(study.StudyInstanceUID)
        candidates = list(_frontal_radiographs(archive, study_uid))
        if candidates:
            require_one_patient([*studies, *(header for _, header in candidates)])
            series_uid, latest = max(candidates, key=lambda candidate: _acquisition_time(candidate[1]))
            with as_image_error():
                refuse_unsuitable(latest, with_pixels=False, any_body_part=True)
            return Found(study_uid, series_uid, str(latest.SOPInstanceUID), latest)
    raise ArchiveError(
        "there must be a frontal radiograph (PA or AP) of CR or DX",
        found="none" if studies else "no such patient or study",
        reason="no frontal radiograph" if studies else "patient or study unknown",
    )


def check_retrieved(dataset: pydicom.Dataset, found: Found) -> None:
    """Raise an error if the patient or the UIDs of an image are not those that were found."""
    expected = {"SOPInstanceUID": found.instance_uid, "StudyInstanceUID": found.study_uid}
    expected |= {"PatientID": text_of(found.header, "PatientID")}
    other = [name for name, value in expected.items() if text_of(dataset, name) != value]
    if other:
        what = f"another {other[0]}"
        raise ImageError("the archive must send the image that was asked for", found=what, reason="another image")
    require_one_patient([dataset, found.header])


def _studies(archive: Archive, query: Query) -> list[pydicom.Dataset]:
    """The studies that are asked for, all of one patient.

    Where an answer names no issuer, the header of an image is looked at, if it matters: archives need not give it.
    """
    wide = replace(query, issuer="", accession_number="")
    found = [study for study in archive.studies(**wide.filters()) if wide.matches(study)]
    wanted = [study for study in found if query.accession_number in ("", text_of(study, "AccessionNumber"))]
    if len(wanted) > 1 or query.issuer:
        wanted = [study if issuers(study) else _with_header(archive, study) for study in wanted]
    wanted = [study for study in wanted if query.matches(study)]
    require_one_patient(wanted)
    return wanted


def _with_header(archive: Archive, study: pydicom.Dataset) -> pydicom.Dataset:
    """An answer, with the issuer and what else it lacks of the patient from an image of the study."""
    header = archive.first_header(str(study.StudyInstanceUID))
    for keyword in (*ATTRIBUTES, QUALIFIERS):
        if header is not None and keyword in header and not study.get(keyword):
            study[keyword] = header[keyword]
    return study


def _frontal_radiographs(archive: Archive, study_uid: str) -> Iterator[tuple[str, pydicom.Dataset]]:
    """The PA and AP radiographs of a study, each with the UID of its series."""
    for series in archive.series(study_uid):
        series_uid = str(series.get("SeriesInstanceUID") or "")
        if not series_uid or str(series.get("Modality", "")).strip() not in MODALITIES:
            continue
        for header in archive.headers(study_uid, series_uid):
            is_capture = str(header.get("SOPClassUID", "")).startswith(SECONDARY_CAPTURES)
            if "SOPInstanceUID" in header and not is_capture and view_position(header) in FRONTAL:
                yield series_uid, header


def _study_time(study: pydicom.Dataset) -> tuple[str, str, str]:
    return (str(study.get("StudyDate") or ""), str(study.get("StudyTime") or ""), str(study.StudyInstanceUID))


def _acquisition_time(header: pydicom.Dataset) -> tuple[str, ...]:
    def first(*keywords: str) -> str:
        return next((str(header.get(keyword)) for keyword in keywords if header.get(keyword)), "")

    return (
        first("AcquisitionDate", "ContentDate", "SeriesDate", "StudyDate"),
        first("AcquisitionTime", "ContentTime", "SeriesTime", "StudyTime"),
        str(header.get("SOPInstanceUID", "")),
    )
