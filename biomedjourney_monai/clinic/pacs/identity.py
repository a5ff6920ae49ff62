"""Whose images are asked for, and whether everything that was found is of one patient.

A PatientID is unique only at its issuer, and archives hold those of several sites. So issuer, name, birth date and sex
must agree across all that was found. Values are compared and never shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from biomedjourney_monai.clinic.pacs.archive import ArchiveError
from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.radiographs.read.dicom_header import as_image_error

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
