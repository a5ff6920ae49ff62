"""DICOM headers: check without the pixels that a file is a chest radiograph that this package accepts."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.read.photographs import MAX_PIXELS, too_many_pixels

if TYPE_CHECKING:
    import pydicom
    from pydicom.tag import BaseTag

MODALITIES = ("CR", "DX", "RG", "SC", "OT", "")
BODY_PARTS = ("CHEST", "THORAX", "LUNG", "")

_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_CHECKED = ("Rows", "Columns", "NumberOfFrames", "Modality", "BodyPartExamined", "PresentationIntentType")
_STORED = ("SamplesPerPixel", "BitsAllocated")


def is_dicom(data: bytes) -> bool:
    """Whether the first bytes are those of a DICOM file."""
    return data[128:132] == b"DICM"


@contextmanager
def as_image_error() -> Iterator[None]:
    """Turn what pydicom and its decoders raise into an `ImageError`.

    They raise many kinds of errors on damaged files, and on attributes only when these are accessed. Their warnings
    and log lines quote the file's values, which may identify a patient, so they are not shown.
    """
    log = logging.getLogger("pydicom")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(
            "a DICOM file must be whole", found=type(error).__name__, action="Fetch it again", reason="image damaged"
        ) from error
    finally:
        log.setLevel(level)


def read_dataset(data: bytes, *, with_pixels: bool) -> pydicom.Dataset:
    """Parse a whole file's bytes."""
    import pydicom

    with as_image_error():
        return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=not with_pixels)


def read_header(path: str | Path, keywords: Sequence[str]) -> pydicom.Dataset:
    """Read some attributes of a DICOM file up to its pixels, and refuse files that are not chest radiographs.

    Args:
        path: the file, whatever its name.
        keywords: DICOM keywords of the attributes.

    Returns:
        The data set with these attributes, as far as the file has them, and those that were checked.

    Raises:
        ImageError: if the file is not DICOM, truncated, without pixels or not a single chest radiograph; its `reason`
            says which.
    """
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    has_pixels = False

    def at_pixels(tag: int, _vr: str | None, _length: int) -> bool:
        nonlocal has_pixels
        has_pixels |= tag in _PIXEL_TAGS
        return tag >= _PIXEL_TAGS[0]

    try:
        with as_image_error(), Path(path).open("rb") as stream:
            start = stream.read(132)
            if not start:
                raise ImageError("an image file must not be empty", found="0 bytes", reason="image file empty")
            if not is_dicom(start):
                raise ImageError("a DICOM file must start as one", found="no DICM prefix", reason="not DICOM")
            stream.seek(0)
            tags: list[BaseTag | int] = [Tag(keyword) for keyword in (*keywords, *_CHECKED, *_STORED)]
            dataset = read_partial(stream, stop_when=at_pixels, specific_tags=tags)
            refuse_unsuitable(dataset, with_pixels=False)
            if not has_pixels:
                raise ImageError("a DICOM radiograph must have pixels", found="no PixelData", reason="no pixels")
            tag_bytes = 8 if dataset.original_encoding[0] else 12  # implicit or explicit; the stream is before it
            _refuse_truncated(dataset, available=Path(path).stat().st_size - stream.tell() - tag_bytes)
            return dataset
    except OSError as error:
        raise ImageError("an image file must be readable", found=type(error).__name__) from error


def refuse_unsuitable(dataset: pydicom.Dataset, *, with_pixels: bool = True) -> None:
    """Raise an `ImageError` unless the data set is a single chest radiograph for presentation."""
    if with_pixels and "PixelData" not in dataset:
        raise ImageError("a DICOM radiograph must have pixels", found="no PixelData", reason="no pixels")
    if str(dataset.get("Modality", "")).strip().upper() not in MODALITIES:
        raise ImageError("Modality must be CR or DX", found=str(dataset.Modality)[:16], reason="another modality")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ImageError(
            "a DICOM radiograph must have a single frame", found=f"{frames} frames", reason="several frames"
        )
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if rows < 1 or columns < 1:
        found = f"{rows} rows and {columns} columns"
        raise ImageError("a DICOM radiograph must have a size", found=found, reason="image damaged")
    if rows * columns > MAX_PIXELS:
        raise too_many_pixels(f"{rows * columns:,}")
    body_part = str(dataset.get("BodyPartExamined", "")).strip().upper()
    if body_part not in BODY_PARTS:
        raise ImageError(
            "BodyPartExamined must be CHEST or blank", found=body_part[:16], reason="another part of the body"
        )
    if str(dataset.get("PresentationIntentType", "")).strip().upper() == "FOR PROCESSING":
        raise ImageError(
            "PresentationIntentType must be FOR PRESENTATION",
            found="FOR PROCESSING",
            action="Ask the archive for the processed image",
            reason="for processing",
        )


def _refuse_truncated(dataset: pydicom.Dataset, *, available: int) -> None:
    """The header gives the number of bytes of native grey pixels; that of compressed ones shows only in decoding."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed or syntax.is_deflated or int(dataset.get("SamplesPerPixel") or 1) != 1:
        return
    values = int(dataset.Rows) * int(dataset.Columns)
    if available < values * int(dataset.get("BitsAllocated") or 8) // 8:
        found = "fewer pixels than its header states"
        raise ImageError("a DICOM file must be whole", found=found, action="Fetch it again", reason="image damaged")
