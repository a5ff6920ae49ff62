"""Find the latest frontal radiograph, PA or AP, of a patient or of a study; all that is found must be of one patient.

A PatientID is unique only at its issuer, and archives hold those of several sites. So issuer, name, birth date and sex
must agree across all that was found. Values are compared and never shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from biomedjourney_monai.clinic.pacs.archive import Archive, ArchiveError
from biomedjourney_monai.errors import BiomedJourneyError, ImageError
from biomedjourney_monai.radiographs.read.dicom_header import as_image_error, refuse_unsuitable
from biomedjourney_monai.radiographs.read.view_position import FRONTAL, view_position

if TYPE_CHECKING:
    import pydicom


ISSUER, QUALIFIERS = "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence"
ATTRIBUTES = ("PatientID", ISSUER, "PatientName", "PatientBirthDate", "PatientSex")
LONGEST = {"PatientID": 64, ISSUER: 64, "AccessionNumber": 16}


@dataclass(frozen=True, repr=False)
class Query:
    """The patient or study that is asked for; its representation shows nothing.

    Attributes:
        patient_id: PatientID, or
        study_uid: StudyInstanceUID.
        issuer: IssuerOfPatientID, or the UniversalEntityID of its qualifiers; "" for any.
        accession_number: of the study; "" for any.
    """

    patient_id: str = ""
    study_uid: str = ""
    issuer: str = ""
    accession_number: str = ""

    def check(self) -> None:
        """Raise an error, without the identifier, for identifiers that would also match others."""
        if bool(self.patient_id) == bool(self.study_uid):
            found = "both" if self.patient_id else "neither"
            raise BiomedJourneyError("a request must name a patient or a study", found=found)
        given = {"PatientID": self.patient_id, ISSUER: self.issuer, "AccessionNumber": self.accession_number}
        for name, value in given.items():
            most = LONGEST[name]
            if len(value) > most or re.search(r"[*?\\\x00-\x1f]", value):
                found = f"{len(value)} characters" if len(value) > most else "a wildcard or a control character"
                raise BiomedJourneyError(f"{name} must have no wildcards, and {most} characters at most", found=found)
        if self.study_uid and (len(self.study_uid) > 64 or not re.fullmatch(r"\d+(\.\d+)+", self.study_uid)):
            found = "a text that is not numbers and dots"
            found = f"{len(self.study_uid)} characters" if len(self.study_uid) > 64 else found
            raise BiomedJourneyError("a StudyInstanceUID must be a DICOM UID", found=found)

    def filters(self) -> dict[str, str]:
        """The keywords of `Archive.studies`. Issuer and accession number are not sent: archives need not know them."""
        return {"patient_id": self.patient_id, "study_uid": self.study_uid}

    def matches(self, dataset: pydicom.Dataset) -> bool:
        """Whether a study or an image is asked for.

        Archives may match too much: without regard to case, partially, or by ignoring a filter.
        """
        is_meant = "StudyInstanceUID" in dataset
        if self.study_uid:
            is_meant = text_of(dataset, "StudyInstanceUID") == self.study_uid
        else:
            is_meant &= text_of(dataset, "PatientID") == self.patient_id
        if self.issuer:
            is_meant &= self.issuer in issuers(dataset)
        return is_meant and self.accession_number in ("", text_of(dataset, "AccessionNumber"))


def text_of(dataset: pydicom.Dataset, keyword: str) -> str:
    """An attribute's text without padding; "" if it is absent."""
    with as_image_error():
        return str(dataset.get(keyword) or "").strip(" \0")


def issuers(dataset: pydicom.Dataset) -> set[str]:
    """The names of the PatientID's issuer; empty if none is given."""
    with as_image_error():
        universal = {text_of(item, "UniversalEntityID") for item in dataset.get(QUALIFIERS) or ()}
    return (universal | {text_of(dataset, ISSUER)}) - {""}


def require_one_patient(datasets: Iterable[pydicom.Dataset]) -> None:
    """Refuse studies or images that cannot all be of one patient. What some of them lack is not compared.

    Raises:
        ArchiveError: with the attributes that differ, without their values.
    """
    every = list(datasets)
    different = [name for name in ATTRIBUTES if name != ISSUER and len(_values(every, name)) > 1]
    if _disagree([issuers(dataset) for dataset in every]):
        different.insert(different[:1] == ["PatientID"], ISSUER)
    if different:
        rule, action = "a PatientID or study must belong to one patient", "Pass --issuer, --accession-number or --study"
        found = f"different values of {', '.join(different)}"
        raise ArchiveError(rule, found=found, action=action, reason="patient ambiguous")


def _values(datasets: Iterable[pydicom.Dataset], name: str) -> set[str]:
    return {_comparable(text_of(dataset, name), name) for dataset in datasets} - {""}


def _comparable(text: str, name: str) -> str:
    """A name without case, accents' encoding, trailing separators and other scripts; other attributes as they are."""
    if name != "PatientName":
        return text
    latin = unicodedata.normalize("NFKC", text.split("=")[0] or text).casefold()
    return "^".join(" ".join(part.split()) for part in latin.split("^")).rstrip("^ ")


def _disagree(names: list[set[str]]) -> bool:
    """Whether two of the issuers that are given have no name in common."""
    given = [name for name in names if name]
    return any(not a & b for number, a in enumerate(given) for b in given[:number])


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
