"""Find the latest PA radiograph of a patient or of a study."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from biomedjourney_monai.clinic.pacs.archive import Archive, ArchiveError
from biomedjourney_monai.errors import BiomedJourneyError, ImageError
from biomedjourney_monai.radiographs.read.dicom_header import as_image_error, refuse_unsuitable

if TYPE_CHECKING:
    import pydicom

MODALITIES = ("CR", "DX", "RG")
PA_CODES = (("SCT", "272479007"), ("SRT", "R-10214"), ("SNM3", "R-10214"))
"""Postero-anterior in ViewCodeSequence: DICOM PS3.16, CID 4010, and its older codes."""

SECONDARY_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
"""Prefix of SOP classes that do not come from a modality; this package writes one of them."""


@dataclass(frozen=True)
class Found:
    """The UIDs of a radiograph."""

    study_uid: str
    series_uid: str
    instance_uid: str


def find_latest(archive: Archive, *, patient_id: str = "", study_uid: str = "") -> Found:
    """Find the latest PA radiograph of a patient or of a study.

    It has the latest StudyDate and StudyTime; within a study, it is the latest acquisition.

    Raises:
        ArchiveError: if there is none, or if the archive fails.
        ImageError: if the latest one cannot be used, for example raw data or several frames.
    """
    studies = archive.studies(patient_id=patient_id, study_uid=study_uid)
    wanted = [study for study in studies if _is_asked_for(study, patient_id, study_uid)]
    for study in sorted(wanted, key=_study_time, reverse=True):
        study_uid = str(study.StudyInstanceUID)
        candidates = list(_pa_radiographs(archive, study_uid))
        if candidates:
            series_uid, latest = max(candidates, key=lambda candidate: _acquisition_time(candidate[1]))
            with as_image_error():
                refuse_unsuitable(latest, with_pixels=False, any_body_part=True)
            return Found(study_uid, series_uid, str(latest.SOPInstanceUID))
    raise ArchiveError(
        "there must be a PA radiograph of CR or DX",
        found="none" if wanted else "no such patient or study",
        reason="no PA radiograph" if wanted else "patient or study unknown",
    )


def check_request(patient_id: str, study_uid: str) -> None:
    """Raise an error, without the identifier, for identifiers that would also match others."""
    if bool(patient_id) == bool(study_uid):
        raise BiomedJourneyError("a request must name a patient or a study", found="both" if patient_id else "neither")
    if len(patient_id) > 64 or re.search(r"[*?\\\x00-\x1f]", patient_id):
        found = f"{len(patient_id)} characters" if len(patient_id) > 64 else "a wildcard or a control character"
        raise BiomedJourneyError("a PatientID must have no wildcards, and 64 characters at most", found=found)
    if study_uid and (len(study_uid) > 64 or not re.fullmatch(r"\d+(\.\d+)+", study_uid)):
        found = f"{len(study_uid)} characters" if len(study_uid) > 64 else "a text that is not numbers and dots"
        raise BiomedJourneyError("a StudyInstanceUID must be a DICOM UID", found=found)


def check_retrieved(dataset: pydicom.Dataset, found: Found, *, patient_id: str) -> None:
    """Raise an ImageError if the patient or the UIDs of an image are not those requested."""
    expected = {"SOPInstanceUID": found.instance_uid, "StudyInstanceUID": found.study_uid}
    expected |= {"PatientID": patient_id} if patient_id else {}
    other = [name for name, value in expected.items() if str(dataset.get(name, "")).strip() != value]
    if other:
        what = f"another {other[0]}"
        raise ImageError("the archive must send the image that was asked for", found=what, reason="another image")


def _is_asked_for(study: pydicom.Dataset, patient_id: str, study_uid: str) -> bool:
    """Archives may match too much: without regard to case, partially, or by ignoring a filter."""
    if study_uid:
        return str(study.get("StudyInstanceUID", "")) == study_uid
    return str(study.get("PatientID", "")).strip() == patient_id and "StudyInstanceUID" in study


def _pa_radiographs(archive: Archive, study_uid: str) -> Iterator[tuple[str, pydicom.Dataset]]:
    """The PA radiographs of a study, each with the UID of its series."""
    for series in archive.series(study_uid):
        series_uid = str(series.get("SeriesInstanceUID") or "")
        if not series_uid or str(series.get("Modality", "")).strip() not in MODALITIES:
            continue
        for header in archive.headers(study_uid, series_uid):
            is_capture = str(header.get("SOPClassUID", "")).startswith(SECONDARY_CAPTURES)
            if "SOPInstanceUID" in header and not is_capture and is_pa(header):
                yield series_uid, header


def is_pa(header: pydicom.Dataset) -> bool:
    """Whether ViewPosition, or ViewCodeSequence if that is empty, is PA."""
    view = str(header.get("ViewPosition") or "").strip().upper()
    if view:
        return view == "PA"
    codes = header.get("ViewCodeSequence") or ()
    return any((str(code.get("CodingSchemeDesignator")), str(code.get("CodeValue"))) in PA_CODES for code in codes)


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
