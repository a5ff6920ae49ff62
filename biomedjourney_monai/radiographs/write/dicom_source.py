"""What a counterfactual as DICOM copies from its prior: listed attributes, UIDs byte for byte, compression losses."""

from __future__ import annotations

import copy
import io
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.read import photographs
from biomedjourney_monai.radiographs.read.dicom_header import as_image_error, is_dicom, numbers, texts

if TYPE_CHECKING:
    import pydicom


COPIED_UNCHANGED = ("PatientID", "PatientName", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence")
"""Archives match patients by these, so they are copied even where they violate DICOM's rules."""

COPIED_IF_VALID = {
    "PatientBirthDate": "DA",
    "PatientSex": "CS",
    "StudyDate": "DA",
    "StudyTime": "TM",
    "StudyID": "SH",
    "AccessionNumber": "SH",
    "ReferringPhysicianName": "PN",
}
"""Empty where the prior has no valid value; all of these may be empty."""

STUDY_DESCRIPTION = "StudyDescription"
UIDS = ("StudyInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
PIXELS_LOOKED_AT = 65536

SYNTHETIC_DATA = 0x0008001C
"""By its number: pydicom's dictionary does not have it yet."""

SHOWN: tuple[str, ...] = (
    "PhotometricInterpretation",
    "PresentationLUTShape",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
)
SHOWN += ("WindowCenter", "WindowWidth", "VOILUTFunction", "PixelPaddingValue", "PixelPaddingRangeLimit")
"""How stored values are shown; copied with the values. Explanations are not: they are free text."""

TABLES = {"ModalityLUTSequence": ("ModalityLUTType",), "VOILUTSequence": ()}
"""Look-up tables, each with what its items hold apart from the table."""

LOSSY_FLAG, RATIO, METHOD = "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"
LOSSY_KEYWORDS = (LOSSY_FLAG, RATIO, METHOD)
LOSSY_SIZES = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
"""What the ratio is computed from."""

READ = (*COPIED_UNCHANGED, *COPIED_IF_VALID, STUDY_DESCRIPTION, "SpecificCharacterSet", "StudyInstanceUID")
READ += (*SHOWN, *TABLES, "PixelRepresentation", "BitsStored")
READ += ("SOPClassUID", "SOPInstanceUID", "PatientOrientation", "PixelSpacing", "BurnedInAnnotation", "ConversionType")
READ += ("FrameOfReferenceUID", *LOSSY_KEYWORDS, *LOSSY_SIZES)


def read_source(path: str | Path) -> pydicom.Dataset | None:
    """Read the attributes that a counterfactual copies from its prior.

    Those of a DICOM file; of a JPEG only that it was compressed with loss; None for other formats.

    Raises:
        ImageError: if the file cannot be read, or its UIDs cannot be kept.
    """
    import pydicom
    from pydicom.tag import Tag

    try:
        with Path(path).open("rb") as stream:
            if not is_dicom(stream.read(132)):
                stream.seek(0)
                return lossy_photograph(stream.read())
            stream.seek(0)
            with as_image_error():
                tags = [*map(Tag, READ), Tag(SYNTHETIC_DATA)]
                source = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=tags)
                beginning = stream.read(PIXELS_LOOKED_AT)
                length = len(beginning) + Path(path).stat().st_size - stream.tell()
                declare_lossy(source, beginning=beginning, length=length)
                refuse_odd_uids(source)
                return source
    except OSError as error:
        raise ImageError("an image file must be readable", found=type(error).__name__) from error


def refuse_odd_uids(source: pydicom.Dataset) -> None:
    """Refuse UIDs that cannot be kept byte for byte: the result would leave its study, or name another source.

    UIDs of numbers and dots are kept also where they break DICOM's rules, as with leading zeros: archives accept them.

    Raises:
        ImageError: naming the attribute.
    """
    for keyword in UIDS:
        value = uid_of(source, keyword)
        if value and not (len(value) <= 64 and re.fullmatch(r"[0-9]+(\.[0-9]+)*", value)):
            raise ImageError(
                f"{keyword} must be numbers with dots between them, 64 characters at most",
                found=f"{len(value)} characters" if len(value) > 64 else "another text",
                action="Have it corrected in the archive, or convert the image to PNG",
                reason="UID unusable",
            )


def refuse_burned_in(source: pydicom.Dataset | None) -> None:
    """Refuse to export from a prior whose pixels may name the patient, since unchanged pixels are copied from it.

    Raises:
        ImageError: if the prior declares burned-in text.
    """
    if source is not None and str(source.get("BurnedInAnnotation", "")).strip().upper() == "YES":
        raise ImageError(
            "a prior to export from must have no text burned in",
            found="BurnedInAnnotation YES",
            action="Take another image of the study",
            reason="text burned in",
        )


def to_plain_bytes(source: pydicom.Dataset) -> bytes:
    """Attributes of `read_source` as explicit little-endian DICOM without a preamble; `from_plain_bytes` undoes it."""
    stream = io.BytesIO()
    plain = copy.copy(source)
    with as_image_error():
        plain.save_as(stream, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return stream.getvalue()


def from_plain_bytes(content: bytes) -> pydicom.Dataset:
    """Read what `to_plain_bytes` wrote."""
    import pydicom

    with as_image_error():
        return pydicom.dcmread(io.BytesIO(content), force=True)


def uid_of(source: pydicom.Dataset | None, keyword: str) -> str:
    """A UID without padding; "" if it is absent."""
    return "" if source is None else str(source.get(keyword) or "").rstrip(" \0")


JPEG = "ISO_10918_1"
ALWAYS = {"1.2.840.10008.1.2.4.50": JPEG, "1.2.840.10008.1.2.4.51": JPEG, "1.2.840.10008.1.2.4.81": "ISO_14495_1"}
"""Transfer syntax that loses information → its method: DICOM PS3.3 C.7.6.1.1.5."""

JPEG_2000 = {"1.2.840.10008.1.2.4.91": "ISO_15444_1", "1.2.840.10008.1.2.4.203": "ISO_15444_15"}
"""These lose information only with the irreversible wavelet."""

_IRREVERSIBLE_AT = 13
"""Bytes from the start of a JPEG 2000 stream's marker COD to the one that is 0 for the irreversible wavelet."""


def declare_lossy(dataset: pydicom.Dataset, *, beginning: bytes, length: int) -> None:
    """Set the attributes of a DICOM image of which its transfer syntax knows more than its header.

    Args:
        dataset: with `LOSSY_KEYWORDS`, `LOSSY_SIZES` and file meta information, as far as the file has them.
        beginning: of its pixel data, some kilobytes.
        length: of its pixel data, in bytes.
    """
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    method = ALWAYS.get(syntax) or (JPEG_2000.get(syntax) if _is_irreversible(beginning) else None)
    if method is None or "".join(texts(dataset, LOSSY_FLAG)) == "01":
        return
    bits = math.prod(int(dataset.get(keyword) or 0) for keyword in LOSSY_SIZES)
    set_lossy(dataset, method=method, ratio=bits / 8 / max(1, length))


def _is_irreversible(beginning: bytes) -> bool:
    coding = beginning.find(b"\xff\x52", max(0, beginning.find(b"\xff\x4f\xff\x51")))
    return coding >= 0 and beginning[coding + _IRREVERSIBLE_AT : coding + _IRREVERSIBLE_AT + 1] == b"\0"


def lossy_photograph(data: bytes) -> pydicom.Dataset | None:
    """The attributes of a JPEG file; None for other formats, whose history is unknown."""
    import pydicom

    if not data.startswith(b"\xff\xd8"):
        return None
    height, width = photographs.decode_size(data)
    dataset = pydicom.Dataset()
    set_lossy(dataset, method=JPEG, ratio=height * width * photographs.count_channels(data) / len(data))
    return dataset


def set_lossy(dataset: pydicom.Dataset, *, method: str, ratio: float) -> None:
    """Declare a compression with loss; `ratio` is the size before over the size after it."""
    setattr(dataset, LOSSY_FLAG, "01")
    setattr(dataset, METHOD, method)
    setattr(dataset, RATIO, f"{max(ratio, 1):.4g}")


def copy_lossy(dataset: pydicom.Dataset, source: pydicom.Dataset | None) -> None:
    """Copy what is known of an image's compression: with loss, without, or nothing."""
    flag = "" if source is None else "".join(texts(source, LOSSY_FLAG))
    for keyword in LOSSY_KEYWORDS:
        if keyword in dataset:
            delattr(dataset, keyword)
    if source is None or flag not in ("00", "01"):
        return
    setattr(dataset, LOSSY_FLAG, flag)
    if flag == "00":
        return
    ratios, methods = [f"{ratio:.4g}" for ratio in numbers(source, RATIO) if ratio > 0], texts(source, METHOD)
    if ratios:
        setattr(dataset, RATIO, ratios)
    if methods and all(re.fullmatch(r"[A-Z0-9_ ]{1,16}", method) for method in methods):
        setattr(dataset, METHOD, methods)
