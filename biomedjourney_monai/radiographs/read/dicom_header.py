"""DICOM headers: check without the pixels that a file is a chest radiograph that this package accepts."""

from __future__ import annotations

import io
import math
import re
import struct
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from biomedjourney_monai.errors import BiomedJourneyError, ImageError
from biomedjourney_monai.radiographs.read.look_up_tables import PALETTE_KEYWORDS, read_palette
from biomedjourney_monai.radiographs.read.photographs import MAX_PIXELS, too_many_pixels
from biomedjourney_monai.radiographs.read.quiet import silence_dicom_libraries

if TYPE_CHECKING:
    import pydicom
    from pydicom.tag import BaseTag


CHEST = r"CHESTS?|THORAX|TORAX|TORACE|LUNGS?|LUNGE|PULMONES|PULMON|PULMOES|PULMAO|POUMONS?|PECHO|BRUSTKORB|BRUST"
"""Names of the chest and the lungs in English, Spanish, Italian, Portuguese, French and German, without accents."""

DETAILS = (
    "PA|AP|LATERAL|LAT|LL|RL|FRONTAL|FRONT|POSTERO|ANTERO|POSTERIOR|ANTERIOR|ERECT|UPRIGHT|STANDING|SUPINE|SITTING|"
    "SEATED|BEDSIDE|BED|PORTABLE|MOBILE|ROUTINE|STANDARD|ADULT|PEDIATRIC|PAEDIATRIC|CHILD|INFANT|VIEWS?|XRAY|RAY|XR|"
    "CXR|CR|DX|DR|RX|X|V|STEHEND|LIEGEND|PORTATIL|DE|DEL|OF|THE|AND|IN|EXPIRATION|INSPIRATION"
)
"""Words beside the name that do not name another part of the body."""

_NAME = re.compile(rf"(?:{CHEST}|{DETAILS}|[^A-Z])*")
_CHEST = re.compile(CHEST)


def is_chest(body_part: str) -> bool:
    """Whether a value of BodyPartExamined is blank or names the chest and nothing else.

    Example:
        >>> is_chest("CHEST PA"), is_chest("TÓRAX"), is_chest("THORACIC SPINE"), is_chest("CHEST ABDOMEN")
        (True, True, False, False)
    """
    with suppress(UnicodeError):  # UTF-8, which DICOM does not foresee here and pydicom reads as Latin-1
        body_part = body_part.encode("latin-1").decode("utf-8")
    plain = unicodedata.normalize("NFKD", body_part.strip().upper())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return not plain or bool(_CHEST.search(plain) and _NAME.fullmatch(plain))


MODALITIES = ("CR", "DX", "RG", "SC", "OT", "")
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
"""Each gives a pixel's height and width. The last is a ratio, for images without a spacing."""

RESCALES = ("RescaleSlope", "RescaleIntercept")

OTHER_BODY_PART = "another part of the body"
"""The reason code of a file whose header names another part of the body than the chest."""

MAX_ASPECT = 4.0
EQUAL_SIDES = 0.01
"""Relative difference up to which the sides of a pixel count as equal: rounded spacings differ by less."""

_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_ENCAPSULATED = re.compile(rb"\xe0\x7f\x10\x00O[BW]\0\0\xff\xff\xff\xff")
_REQUIRED = ("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation")
_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
_CHECKED: tuple[str, ...] = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "Modality",
    "BodyPartExamined",
    "PresentationIntentType",
    "HighBit",
    *RESCALES,
)
_CHECKED += _GROUPS


def is_dicom(data: bytes) -> bool:
    """Whether the first bytes are those of a DICOM file."""
    return data[128:132] == b"DICM"


def refuse_without_preamble(data: bytes) -> None:
    """Raise an `ImageError` for a DICOM data set that was stored without the preamble of a DICOM file."""
    group, element, vr = data[:2], data[2:4], data[4:6]
    little = group in (b"\x02\0", b"\x08\0") and element[1:] == b"\0" and element[0] < 0x60
    big = group == b"\0\x08" and element[:1] == b"\0" and vr.isalpha()
    implicit = len(data) >= 8 and int.from_bytes(data[4:8], "little") < 1024
    if big or (little and ((vr.isalpha() and vr.isupper()) or implicit)):
        rule, action = "a DICOM file must start with 128 bytes and DICM", "Save it as a DICOM file (PS3.10)"
        raise ImageError(rule, found="a data set without this preamble", action=action, reason="preamble missing")


@contextmanager
def as_image_error() -> Iterator[None]:
    """Turn what pydicom and its decoders raise into an `ImageError`.

    They raise many kinds of errors on damaged files, and on attributes only when these are accessed. Their warnings
    and log lines quote the file's values, which may identify a patient, so they are never shown.
    """
    silence_dicom_libraries()
    try:
        yield
    except BiomedJourneyError:
        raise
    except Exception as error:
        if _is_cut_short(error):
            raise cut_short(type(error).__name__) from error
        rule, action = "a DICOM file must follow the standard", "Export the image again, for example as PNG"
        raise ImageError(rule, found=type(error).__name__, action=action, reason="image damaged") from error


def _is_cut_short(error: Exception) -> bool:
    """Whether an error of pydicom or of a decoder says that bytes are missing."""
    text = str(error).lower()
    phrases = (
        "end of file",
        "end of stream",
        "less than expected",
        "fewer bytes",
        "match the expected amount",
        "truncated",
        "not enough",
        "no more",
    )
    return isinstance(error, (EOFError, struct.error)) or any(phrase in text for phrase in phrases)


def numbers(dataset: pydicom.Dataset, keyword: str, *, decimal: str = ".") -> list[float]:
    """The finite numbers of a text attribute up to the first value that is not one; [] if it is absent.

    pydicom raises errors for numbers that it cannot read, so the file's text is read here.
    """
    found: list[float] = []
    for part in texts(dataset, keyword):
        try:
            value = float(part.replace(decimal, "."))
        except ValueError:
            break
        if not math.isfinite(value):
            break
        found.append(value)
    return found


def texts(dataset: pydicom.Dataset, keyword: str) -> list[str]:
    """The values of a text attribute as they are in the file; [] if it is absent or blank."""
    element = dataset.get_item(keyword) if keyword in dataset else None
    value = "" if element is None or element.value is None else element.value
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").split("\\")
    parts = [str(part).strip(" \0") for part in ([value] if isinstance(value, (str, float, int)) else value)]
    return parts if any(parts) else []


def rescale(dataset: pydicom.Dataset, keyword: str) -> float:
    """RescaleSlope or RescaleIntercept; 0 where it is absent or empty.

    Raises:
        ImageError: if it is a text that is not a number.
    """
    found = numbers(dataset, keyword)
    if not found and texts(dataset, keyword):
        rule, what, action = f"{keyword} must be a number", "a text that is not one", "Export the image again"
        raise ImageError(rule, found=what, action=action, reason="header unreadable")
    return found[0] if found else 0.0


def pixel_aspect(dataset: pydicom.Dataset) -> float:
    """Height over width of a pixel, from its spacing or its aspect ratio; 1.0 for square or unknown pixels.

    Raises:
        ImageError: if the attributes contradict each other, or give a side more than `MAX_ASPECT` times the other.
    """
    sides = [numbers(dataset, keyword, decimal=",") for keyword in SPACINGS]
    ratios = [pair[0] / pair[1] for pair in sides if len(pair) == 2 and min(pair) > 0]
    if not ratios or max(abs(ratio - 1) for ratio in ratios) <= EQUAL_SIDES:
        return 1.0
    if max(ratios) > min(ratios) * (1 + EQUAL_SIDES):
        found, reason = "spacings and an aspect ratio that disagree", "pixel shape unclear"
    elif not 1 / MAX_ASPECT <= ratios[0] <= MAX_ASPECT:
        found, reason = f"pixels {ratios[0]:.3g} times as high as wide", "pixel shape unclear"
    else:
        return ratios[0]
    raise ImageError("the shape of the pixels must be clear", found=found, action="Export it as PNG", reason=reason)


def read_dataset(data: bytes, *, with_pixels: bool) -> pydicom.Dataset:
    """Parse a whole file's bytes."""
    import pydicom

    with as_image_error():
        dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=not with_pixels)
        if with_pixels and "PixelData" not in dataset and _ENCAPSULATED.search(data):  # pydicom drops what has no end
            raise cut_short("compressed pixels without their end")
        return dataset


def read_header(path: str | Path, keywords: Sequence[str], *, any_body_part: bool = False) -> pydicom.Dataset:
    """Read some attributes of a DICOM file up to its pixels, and refuse files that are not chest radiographs.

    Args:
        path: the file, whatever its name.
        keywords: DICOM keywords of the attributes.
        any_body_part: also read files that name another part of the body.

    Returns:
        The data set with these attributes, as far as the file has them, and those that were checked.

    Raises:
        ImageError: if the file is not DICOM, truncated, without pixels or not a single chest radiograph; its `reason`
            says which.
    """
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    pixel_bytes: int | None = None

    def at_pixels(tag: int, _vr: str | None, length: int) -> bool:
        nonlocal pixel_bytes
        pixel_bytes = length if tag in _PIXEL_TAGS else pixel_bytes
        return tag >= _PIXEL_TAGS[0]

    try:
        with as_image_error(), Path(path).open("rb") as stream:
            start = stream.read(132)
            if not start:
                raise ImageError("an image file must not be empty", found="0 bytes", reason="image file empty")
            if not is_dicom(start):
                refuse_without_preamble(start)
                raise ImageError("a DICOM file must start as one", found="no DICM prefix", reason="not DICOM")
            stream.seek(0)
            tags: list[BaseTag | int] = [
                Tag(keyword) for keyword in (*keywords, *_CHECKED, *_REQUIRED, *SPACINGS, *PALETTE_KEYWORDS)
            ]
            dataset = read_partial(stream, stop_when=at_pixels, specific_tags=tags)
            refuse_unsuitable(dataset, with_pixels=False, any_body_part=any_body_part)
            if pixel_bytes is None:
                raise ImageError("a DICOM radiograph must have pixels", found="no PixelData", reason="no pixels")
            refuse_incomplete(dataset)
            tag_bytes = 8 if dataset.original_encoding[0] else 12  # implicit or explicit; the stream is before it
            available = Path(path).stat().st_size - stream.tell() - tag_bytes
            refuse_wrong_length(dataset, count=min(available, pixel_bytes))
            return dataset
    except OSError as error:
        raise ImageError("an image file must be readable", found=type(error).__name__) from error


def refuse_unsuitable(dataset: pydicom.Dataset, *, with_pixels: bool = True, any_body_part: bool = False) -> None:
    """Raise an `ImageError` unless the data set is a single chest radiograph for presentation.

    Attributes that it lacks are not checked, so it may be an archive's answer.

    Args:
        dataset: the header.
        with_pixels: also require the pixels.
        any_body_part: also accept a header that names another part of the body.
    """
    if with_pixels and "PixelData" not in dataset:
        raise ImageError("a DICOM radiograph must have pixels", found="no PixelData", reason="no pixels")
    if str(dataset.get("Modality", "")).strip().upper() not in MODALITIES:
        raise ImageError("Modality must be CR or DX", found=str(dataset.Modality)[:16], reason="another modality")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ImageError(
            "a DICOM radiograph must have a single frame", found=f"{frames} frames", reason="several frames"
        )
    if any(dataset.get(keyword) for keyword in _GROUPS):
        raise ImageError(
            "a DICOM radiograph must state its window in the header itself",
            found="functional groups, in which a frame has its own window",
            action="Export it as a DX or CR image of one frame",
            reason="window per frame",
        )
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if rows < 1 or columns < 1:
        found = f"{rows} rows and {columns} columns"
        raise ImageError("a DICOM radiograph must have a size", found=found, reason="image damaged")
    if rows * columns > MAX_PIXELS:
        raise too_many_pixels(f"{rows * columns:,}")
    body_part = other_body_part(dataset)
    if body_part and not any_body_part:
        raise ImageError("BodyPartExamined must be CHEST or blank", found=body_part, reason=OTHER_BODY_PART)
    if str(dataset.get("PresentationIntentType", "")).strip().upper() == "FOR PROCESSING":
        rule, action = "PresentationIntentType must be FOR PRESENTATION", "Ask the archive for the processed image"
        raise ImageError(rule, found="FOR PROCESSING", action=action, reason="for processing")
    photometric = photometric_interpretation(dataset)
    if photometric not in (*PHOTOMETRIC, ""):
        raise ImageError(
            f"PhotometricInterpretation must be one of {', '.join(PHOTOMETRIC)}",
            found=photometric[:16],
            action="Export it as MONOCHROME2",
            reason="colour space unknown",
        )
    _refuse_inconsistent_bits(dataset)
    pixel_aspect(dataset)
    for keyword in RESCALES:
        rescale(dataset, keyword)


def photometric_interpretation(dataset: pydicom.Dataset) -> str:
    """PhotometricInterpretation in capitals; "" if it is absent."""
    return str(dataset.get("PhotometricInterpretation") or "").strip().upper()


def other_body_part(dataset: pydicom.Dataset) -> str:
    """BodyPartExamined in capitals, at most 16 characters, if it names another part than the chest; else ""."""
    body_part = str(dataset.get("BodyPartExamined") or "").strip().upper()
    return "" if is_chest(body_part) else body_part[:16]


def _refuse_inconsistent_bits(dataset: pydicom.Dataset) -> None:
    allocated, stored = int(dataset.get("BitsAllocated") or 0), int(dataset.get("BitsStored") or 0)
    if not allocated or not stored:
        return
    high = stored - 1 if dataset.get("HighBit") is None else int(dataset.HighBit)
    is_colour = int(dataset.get("SamplesPerPixel") or 1) != 1
    if allocated not in (1, 8, 16, 32) or not stored - 1 <= high < allocated or (is_colour and high != stored - 1):
        rule, action = "BitsAllocated, BitsStored and HighBit must agree", "Export the image again"
        raise ImageError(rule, found=f"{allocated}, {stored} and {high}", action=action, reason="bits inconsistent")


def refuse_incomplete(dataset: pydicom.Dataset) -> None:
    """Raise an `ImageError` for a file whose header lacks what its pixels are decoded by."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not syntax or not syntax.is_transfer_syntax:
        what = "unknown" if syntax else "missing"
        rule, action = "a DICOM file must state its transfer syntax", "Save it as a DICOM file (PS3.10)"
        found = "one that DICOM does not define" if syntax else "no TransferSyntaxUID"
        raise ImageError(rule, found=found, action=action, reason=f"transfer syntax {what}")
    for keyword in _REQUIRED:
        if dataset.get(keyword) in (None, ""):
            rule, action = "a DICOM header must describe its pixels", "Export the image again"
            raise ImageError(rule, found=f"no {keyword}", action=action, reason="header incomplete")
    if photometric_interpretation(dataset) == "PALETTE COLOR":
        read_palette(dataset)


def refuse_wrong_length(dataset: pydicom.Dataset, *, count: int) -> None:
    """Raise an `ImageError` unless native pixels have as many bytes as the header states.

    Those of compressed pixels show only in decoding. Less than a row may follow, as padding.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed or syntax.is_deflated:
        return
    samples = 2 if photometric_interpretation(dataset) == "YBR_FULL_422" else int(dataset.SamplesPerPixel)
    row = int(dataset.Columns) * samples * int(dataset.BitsAllocated) / 8
    if count < int(int(dataset.Rows) * row):
        raise cut_short("fewer pixels than its header states")
    if count >= (int(dataset.Rows) + 1) * row:
        rule, action = "Rows and Columns must be those of the pixels", "Export the image again"
        raise ImageError(rule, found="more pixels than the header states", action=action, reason="image damaged")


def cut_short(found: str) -> ImageError:
    """The error for a file of which bytes are missing."""
    return ImageError("a DICOM file must be whole", found=found, action="Fetch it again", reason="image damaged")
