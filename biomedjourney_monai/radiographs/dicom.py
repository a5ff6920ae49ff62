"""DICOM: one frame of a chest radiograph, as the standard says it is to be displayed.

Stored values → padding → modality LUT → VOI LUT or window → MONOCHROME1 turned over, once and last. pydicom's own
`apply_modality_lut` fails on 10- to 14-bit tables and its `apply_voi_lut` is wrong for 8-bit tables of more than 256
entries, so tables are applied here.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.photographs import MAX_PIXELS

if TYPE_CHECKING:
    import pydicom

MODALITIES = ("CR", "DX", "RG", "SC", "OT", "")
BODY_PARTS = ("CHEST", "THORAX", "LUNG", "")


def is_dicom(data: bytes) -> bool:
    return data[128:132] == b"DICM"


def decode(data: bytes) -> np.ndarray:
    """Decode DICOM bytes to float32, shape (H, W), bright = dense, in the window that the file gives.

    Raises:
        ImageError: if the data are damaged, hold no or several frames, are raw detector data (FOR PROCESSING), show
            another part of the body, or need a codec that is not installed.
    """
    dataset = _read(data, with_pixels=True)
    with _as_image_error():
        _refuse_unsuitable(dataset)
        return _displayed(dataset, _stored(dataset))


def decode_size(data: bytes) -> tuple[int, int]:
    """The (height, width) of the image, from the header."""
    dataset = _read(data, with_pixels=False)
    with _as_image_error():
        _refuse_unsuitable(dataset, with_pixels=False)
        return int(dataset.Rows), int(dataset.Columns)


@contextmanager
def _as_image_error() -> Iterator[None]:
    """pydicom and its decoders raise many kinds on damaged files, and on attributes only when they are looked at.

    Their warnings quote the file's values, which may identify a patient, so they are not shown.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError("a DICOM file must be whole", found=type(error).__name__, action="Fetch it again") from error


def _read(data: bytes, *, with_pixels: bool) -> pydicom.Dataset:
    import pydicom

    with _as_image_error():
        return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=not with_pixels)


def _stored(dataset: pydicom.Dataset) -> np.ndarray:
    import pydicom.pixels

    try:
        stored = pydicom.pixels.pixel_array(dataset, index=0)
    except RuntimeError as error:  # pydicom: no decoder has its dependencies
        name = dataset.file_meta.TransferSyntaxUID.name
        raise ImageError(
            "the pixels' compression must have a decoder",
            found=f"{name} without one, or damaged pixels",
            action="Install python-gdcm, pyjpegls or pylibjpeg-openjpeg",
        ) from error
    if stored.ndim == 3:  # colour, from a scanner or a screen
        stored = stored.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return stored


def _refuse_unsuitable(dataset: pydicom.Dataset, *, with_pixels: bool = True) -> None:
    if with_pixels and "PixelData" not in dataset:
        raise ImageError("a DICOM radiograph must have pixels", found="no PixelData")
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if rows < 1 or columns < 1:
        raise ImageError("a DICOM radiograph must have a size", found=f"{rows} rows and {columns} columns")
    if rows * columns > MAX_PIXELS:
        raise ImageError(f"an image must have at most {MAX_PIXELS:,} pixels", found=f"{rows * columns:,}")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ImageError("a DICOM radiograph must have a single frame", found=f"{frames} frames")
    if str(dataset.get("Modality", "")).strip().upper() not in MODALITIES:
        raise ImageError("Modality must be CR or DX", found=str(dataset.Modality)[:16])
    if str(dataset.get("BodyPartExamined", "")).strip().upper() not in BODY_PARTS:
        raise ImageError("BodyPartExamined must be CHEST or blank", found=str(dataset.BodyPartExamined)[:16])
    if str(dataset.get("PresentationIntentType", "")).strip().upper() == "FOR PROCESSING":
        raise ImageError(
            "PresentationIntentType must be FOR PRESENTATION",
            found="FOR PROCESSING",
            action="Ask the archive for the processed image",
        )


def _displayed(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray:
    padding = _padding_mask(dataset, stored)
    values = _voi(dataset, _modality(dataset, stored))
    if str(dataset.get("PhotometricInterpretation", "")).strip() == "MONOCHROME1":
        values = values.max() + values.min() - values
    if padding is not None and not padding.all():
        values = np.where(padding, values[~padding].min(), values)
    return values.astype(np.float32)


def _padding_mask(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray | None:
    if "PixelPaddingValue" not in dataset:
        return None
    low = int(dataset.PixelPaddingValue)
    high = int(dataset.get("PixelPaddingRangeLimit", low))
    return (stored >= min(low, high)) & (stored <= max(low, high))


def _modality(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray:
    if dataset.get("ModalityLUTSequence"):
        return _look_up(dataset.ModalityLUTSequence[0], stored, byte_order=_byte_order(dataset))
    slope, intercept = float(dataset.get("RescaleSlope") or 1), float(dataset.get("RescaleIntercept") or 0)
    return stored.astype(np.float32) * slope + intercept


def _voi(dataset: pydicom.Dataset, values: np.ndarray) -> np.ndarray:
    if dataset.get("VOILUTSequence"):
        return _look_up(dataset.VOILUTSequence[0], values, byte_order=_byte_order(dataset))
    center, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if center is None or width is None or width < 1:  # absent, or the 0 that some devices write
        return values
    if str(dataset.get("VOILUTFunction", "LINEAR")).strip().upper() == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -60, 60)))
    return np.clip(values, center - width / 2, center + width / 2)


def _byte_order(dataset: pydicom.Dataset) -> str:
    """The order of bytes in the file's words, "<" or ">": pydicom hands out OW values as they lie in the file."""
    return ">" if dataset.original_encoding[1] is False else "<"


def _look_up(item: pydicom.Dataset, values: np.ndarray, *, byte_order: str) -> np.ndarray:
    """Map values through one LUT item; `byte_order` is that of the file's words."""
    count, first, _bits = (int(value) for value in item.LUTDescriptor)
    count = count or 65536
    table = item.LUTData
    if isinstance(table, bytes):  # OW: words, or two 8-bit entries packed in each, the low byte first
        words = np.frombuffer(table[: len(table) // 2 * 2], f"{byte_order}u2").astype("<u2")
        table = words if words.size >= count else words.view(np.uint8)
    table = np.atleast_1d(np.asarray(table)).astype(np.float32)[:count]
    if table.size == 0:
        raise ImageError("a DICOM look-up table must not be empty", found="no LUTData")
    if first > 32767 and float(values.min()) < 0:  # read as unsigned where the pixels are signed
        first -= 65536
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, table.size - 1)]


def _first(value) -> float | None:
    if value is None or value == "":
        return None
    return float(value[0]) if hasattr(value, "__len__") and not isinstance(value, str) else float(value)
