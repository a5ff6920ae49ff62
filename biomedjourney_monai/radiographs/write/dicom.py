"""A counterfactual as DICOM: a derived secondary capture, marked as synthetic by every attribute DICOM has for it.

Only listed attributes are copied from the prior's data set. UIDs are derived from the request (prior, model, settings,
description, seed), so the same request always gives the same instance, and the file holds no time of creation: the same
command writes the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.marking import NOT_FOR_DIAGNOSIS, mark_synthetic
from biomedjourney_monai.radiographs.read.dicom_header import EQUAL_SIDES, as_image_error
from biomedjourney_monai.radiographs.write.dicom_source import (
    COPIED_IF_VALID,
    COPIED_UNCHANGED,
    SHOWN,
    STUDY_DESCRIPTION,
    SYNTHETIC_DATA,
    TABLES,
    UIDS,
    copy_lossy,
    refuse_burned_in,
    uid_of,
)
from biomedjourney_monai.radiographs.write.png import save_bytes, to_8_bit

if TYPE_CHECKING:
    import pydicom
    from pydicom.valuerep import DSfloat

    from biomedjourney_monai.radiographs.film import Film
    from biomedjourney_monai.radiographs.write.deidentify import Pseudonyms

SUFFIXES = (".dcm", ".dicom")
SERIES_NUMBER = 9001
"""Higher than the series numbers that modalities assign."""

CLOCKS: tuple[str, ...] = ("InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime")
CLOCKS += ("DateOfSecondaryCapture", "TimeOfSecondaryCapture")
"""Optional, and filled by highdicom from the machine's clock."""

_NAMESPACE = uuid.UUID("5d1f3a52-6f0c-5f0e-9c6c-0a9d5b8f2e11")
_LONGEST_DERIVATION = 1024  # VR ST
_NOT_DERIVATION = ("Comment", "Software", "model", "prior", "progression_description")


@dataclass(frozen=True)
class RequestUids:
    """The UIDs of a request's instance, known before it is generated."""

    study: str
    series: str
    instance: str


def is_dicom_name(path: str | Path) -> bool:
    """Whether a file of this name is written as DICOM."""
    return Path(path).suffix.lower() in SUFFIXES


def request_uids(
    facts: Mapping[str, Any],
    source: pydicom.Dataset | None,
    *,
    number: int = 1,
    series_facts: Mapping[str, Any] | None = None,
    pseudonyms: Pseudonyms | None = None,
) -> RequestUids:
    """The UIDs that `counterfactual_dataset` gives, for the same arguments."""
    prior = uid_of(source, "SOPInstanceUID") or str(facts.get("prior", ""))
    study = uid_of(source, "StudyInstanceUID") or _uid("study", prior)
    series = _uid("series", study, prior, _key(series_facts or facts))
    instance = _uid("instance", series, _key(facts), number)
    uids = (study, series, instance)
    return RequestUids(*(uids if pseudonyms is None else map(pseudonyms.uid, uids)))


def counterfactual_dataset(
    picture: np.ndarray,
    facts: Mapping[str, Any],
    source: pydicom.Dataset | None = None,
    *,
    number: int = 1,
    series_facts: Mapping[str, Any] | None = None,
    pseudonyms: Pseudonyms | None = None,
    film: Film | None = None,
) -> pydicom.Dataset:
    """Make the DICOM data set of a counterfactual.

    Args:
        picture: float in [0, 1], shape (H, W), bright = dense; it is marked here, unless it is already.
        facts: the picture's metadata: Software, model, settings, seed, prior, progression_description.
        source: the prior's attributes from `read_source`; None gives an anonymous patient and a new study.
        number: of the instance in its series.
        series_facts: facts that all instances of the series share; None gives the instance its own series.
        pseudonyms: for export: patient and UIDs are replaced, dates and texts of the study are left out.
        film: the prior's pixels. If they are grey values of a DICOM file, the picture is written with its bit depth,
            photometric interpretation, window and tables, and what equals the prior has its stored values.

    Returns:
        A Secondary Capture Image; without such a film 8 bits, MONOCHROME2, the grey levels that `save_png` writes.

    Raises:
        ImageError: if the picture is too small to mark, not 2-D, not finite, or if an exported prior has burned-in
            text.
    """
    if picture.ndim != 2 or not np.isfinite(picture).all():
        found = f"shape {picture.shape}" if picture.ndim != 2 else "NaN or infinite pixels"
        raise ImageError("a picture must be 2-D and hold finite numbers", found=found)
    if pseudonyms is not None:
        refuse_burned_in(source)
    uids = request_uids(facts, source, number=number, series_facts=series_facts, pseudonyms=pseudonyms)
    with as_image_error():
        marked = mark_synthetic(picture)
        if source is None or film is None or film.levels is None:
            dataset = _secondary_capture(to_8_bit(marked), uids, number)
            _declare_synthetic(dataset, facts)
        else:
            dataset = _like_prior(film.to_stored(marked), source, uids, number)
            _declare_synthetic(dataset, facts)
            _show_like(dataset, source)
        _copy_patient(dataset, source, facts, pseudonyms)
        copy_lossy(dataset, source)
        _refer_to(dataset, source, pseudonyms)
        return dataset


def to_bytes(dataset: pydicom.Dataset) -> bytes:
    """The data set as a DICOM file."""
    stream = io.BytesIO()
    with as_image_error():
        dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def save_dicom(path: str | Path, dataset: pydicom.Dataset) -> None:
    """Write a DICOM file, whole or not at all."""
    save_bytes(path, to_bytes(dataset))


def is_written(path: str | Path, uids: RequestUids) -> bool:
    """Whether the file holds the complete instance of a request with these UIDs."""
    import pydicom

    try:
        with as_image_error():
            dataset = pydicom.dcmread(path)
            cells = int(dataset.Rows) * int(dataset.Columns)
            whole = len(dataset.PixelData) >= cells * int(dataset.BitsAllocated) // 8
            return whole and str(dataset.SOPInstanceUID) == uids.instance
    except (OSError, ImageError):
        return False


def _secondary_capture(pixels: np.ndarray, uids: RequestUids, number: int) -> pydicom.Dataset:
    """The object without a patient: highdicom would log a name that it considers invalid."""
    from highdicom.sc import SCImage

    dataset = SCImage(
        pixel_array=pixels,
        photometric_interpretation="MONOCHROME2",
        bits_allocated=8 * pixels.itemsize,
        coordinate_system="PATIENT",
        study_instance_uid=uids.study,
        series_instance_uid=uids.series,
        series_number=SERIES_NUMBER,
        sop_instance_uid=uids.instance,
        instance_number=number,
        manufacturer="biomedjourney_monai",
        manufacturer_model_name="biomedjourney_monai",
        software_versions=__version__,
        patient_orientation=("L", "F"),
        series_description=NOT_FOR_DIAGNOSIS,
        specific_character_set="ISO_IR 192",
    )
    for keyword in CLOCKS:
        if keyword in dataset:
            delattr(dataset, keyword)
    for item in dataset.get("ContributingEquipmentSequence", []):  # highdicom adds itself and the time
        if "ContributionDateTime" in item:
            del item.ContributionDateTime
    return dataset


def _like_prior(stored: np.ndarray, source: pydicom.Dataset, uids: RequestUids, number: int) -> pydicom.Dataset:
    """The object with stored values of the prior's bit depth and sign."""
    bits = int(source.BitsStored)
    is_signed = stored.dtype.kind == "i"
    cells = stored.astype(np.int16 if is_signed else np.uint16).view(np.uint16)
    dataset = _secondary_capture(cells.astype(np.uint8) if bits <= 8 else cells, uids, number)
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, int(is_signed)
    return dataset


def _show_like(dataset: pydicom.Dataset, source: pydicom.Dataset) -> None:
    """Copy how the prior's stored values are shown."""
    import pydicom

    for keyword in SHOWN:
        if keyword in source and source[keyword].value not in (None, ""):
            dataset[keyword] = source[keyword]
    for keyword, own in TABLES.items():
        items = source.get(keyword) or ()
        for item in items:
            kept = pydicom.Dataset()
            for name in ("LUTDescriptor", "LUTData", *own):
                if name in item:
                    kept[name] = item[name]
            setattr(dataset, keyword, [*dataset.get(keyword, []), kept])


def _declare_synthetic(dataset: pydicom.Dataset, facts: Mapping[str, Any]) -> None:
    dataset.add_new(SYNTHETIC_DATA, "CS", "YES")
    dataset.ConversionType = "SYN"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.BurnedInAnnotation = "YES"  # the label
    dataset.BodyPartExamined = "CHEST"
    dataset.ImageComments = NOT_FOR_DIAGNOSIS
    dataset.DerivationDescription = _derivation(facts)


def _derivation(facts: Mapping[str, Any]) -> str:
    """One line, at most 1024 characters: software, model, settings, seed, and last the description."""
    parts = [f"{NOT_FOR_DIAGNOSIS}. {facts.get('Software', '')}", f"model {facts.get('model', 'unknown')}"]
    parts += [f"{name} {value}" for name, value in facts.items() if name not in _NOT_DERIVATION]
    text = "; ".join(parts) + f"; description: {facts.get('progression_description', '')}"
    text = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    return text if len(text) <= _LONGEST_DERIVATION else text[: _LONGEST_DERIVATION - 1] + "…"


def _copy_patient(
    dataset: pydicom.Dataset, source: pydicom.Dataset | None, facts: Mapping[str, Any], pseudonyms: Pseudonyms | None
) -> None:
    """Copy patient, study and geometry."""
    for keyword in (*COPIED_UNCHANGED[:2], *COPIED_IF_VALID):
        setattr(dataset, keyword, "")
    if source is None or not any(keyword in source for keyword in UIDS):  # no DICOM file
        dataset.PatientName = "ANONYMOUS^SYNTHETIC"
        dataset.PatientID = f"SYNTHETIC-{_key(facts.get('prior', facts))[:12]}"
    elif pseudonyms is None:
        for keyword in (*COPIED_UNCHANGED, STUDY_DESCRIPTION):
            if keyword in source:
                dataset[keyword] = source[keyword]
        for keyword, vr in COPIED_IF_VALID.items():
            setattr(dataset, keyword, _valid(source, keyword, vr))
    if pseudonyms is not None:
        pseudonyms.sign(dataset, "" if source is None else str(source.get("PatientID", "")))
    dataset.PatientOrientation = _orientation(source)
    spacing = _spacing(source)
    if spacing is not None:
        dataset.PixelSpacing = spacing


def _refer_to(dataset: pydicom.Dataset, source: pydicom.Dataset | None, pseudonyms: Pseudonyms | None) -> None:
    import pydicom

    frame = uid_of(source, "FrameOfReferenceUID")
    if frame:
        dataset.FrameOfReferenceUID = frame if pseudonyms is None else pseudonyms.uid(frame)
        dataset.PositionReferenceIndicator = ""
    sop_class, instance = uid_of(source, "SOPClassUID"), uid_of(source, "SOPInstanceUID")
    if not sop_class or not instance:
        return
    purpose = pydicom.Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = instance if pseudonyms is None else pseudonyms.uid(instance)
    item.PurposeOfReferenceCodeSequence = [purpose]
    dataset.SourceImageSequence = [item]


def _orientation(source: pydicom.Dataset | None) -> list[str] | str:
    """The prior's orientation, if it is valid."""
    value = source.get("PatientOrientation") if source is not None else None
    if value is None or isinstance(value, str) or len(value) != 2:
        return ""
    return [str(part) for part in value] if all(re.fullmatch("[LRAPHF]{1,3}", str(part)) for part in value) else ""


def _spacing(source: pydicom.Dataset | None) -> list[DSfloat] | None:
    """Millimetres per pixel of the picture as read, with square pixels; some devices write [0, 0]."""
    from pydicom.valuerep import DSfloat

    try:
        values = [float(value) for value in source.PixelSpacing]  # type: ignore[union-attr]
    except (AttributeError, TypeError, ValueError):
        return None
    is_valid = len(values) == 2 and all(0 < value < 100 for value in values)
    if is_valid and max(values) > min(values) * (1 + EQUAL_SIDES):
        values = [min(values)] * 2
    return [DSfloat(value, auto_format=True) for value in values] if is_valid else None


def _valid(source: pydicom.Dataset, keyword: str, vr: str) -> str:
    from pydicom.config import RAISE
    from pydicom.valuerep import validate_value

    value = str(source.get(keyword) or "")
    try:
        validate_value(vr, value, RAISE)
    except ValueError:
        return ""
    if "\\" in value or (keyword == "PatientSex" and value not in ("M", "F", "O")):
        return ""
    return value


def _key(facts: object) -> str:
    """A hash of the request, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _uid(*parts: str | int) -> str:
    return f"2.25.{uuid.uuid5(_NAMESPACE, json.dumps(parts)).int}"
