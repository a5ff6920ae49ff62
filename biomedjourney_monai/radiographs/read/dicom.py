"""DICOM: one frame of a chest radiograph, as the standard defines its display.

Stored values → padding → modality LUT → VOI LUT or window → MONOCHROME1 inverted, once and last. Tables are applied
here, because pydicom's `apply_modality_lut` fails on 10- to 14-bit tables and its `apply_voi_lut` is wrong for 8-bit
tables of more than 256 entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.read.dicom_header import as_image_error, read_dataset, refuse_unsuitable

if TYPE_CHECKING:
    import pydicom
    from pydicom.uid import UID

DECODERS = {
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG baseline
    "1.2.840.10008.1.2.4.51": "pylibjpeg and pylibjpeg-libjpeg (GPLv3)",  # JPEG extended, 12 bit
    "1.2.840.10008.1.2.4.57": "python-gdcm",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "python-gdcm",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg and pylibjpeg-openjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.91": "pylibjpeg and pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg and pylibjpeg-openjpeg",  # high-throughput JPEG 2000
    "1.2.840.10008.1.2.4.202": "pylibjpeg and pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg and pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.5": "pydicom",  # RLE
}
"""Transfer syntax → the package that decodes it, for the error message."""


def decode(data: bytes) -> np.ndarray:
    """Decode DICOM bytes to float32, shape (H, W), bright = dense, in the file's own window.

    Raises:
        ImageError: if the data are damaged, hold no or several frames, are raw detector data (FOR PROCESSING), show
            another part of the body, or need a codec that is not installed.
    """
    dataset = read_dataset(data, with_pixels=True)
    with as_image_error():
        refuse_unsuitable(dataset)
        return _displayed(dataset, _stored(dataset))


def decode_size(data: bytes) -> tuple[int, int]:
    """The (height, width) of the image, from the header."""
    dataset = read_dataset(data, with_pixels=False)
    with as_image_error():
        refuse_unsuitable(dataset, with_pixels=False)
        return int(dataset.Rows), int(dataset.Columns)


def _stored(dataset: pydicom.Dataset) -> np.ndarray:
    import pydicom.pixels

    _require_decoder(dataset.file_meta.TransferSyntaxUID)
    try:
        stored = pydicom.pixels.pixel_array(dataset, index=0)
    except RuntimeError as error:
        if "does not support" in str(error):  # a decoder is installed, but not for this variant of the syntax
            raise _no_decoder(dataset.file_meta.TransferSyntaxUID) from error
        raise
    if stored.ndim == 3:  # colour, from a scanner or a screen
        stored = stored.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return stored


def _require_decoder(syntax: UID) -> None:
    from pydicom.pixels import get_decoder

    try:
        if not syntax.is_compressed or get_decoder(syntax).is_available:
            return
    except NotImplementedError:  # a syntax that pydicom does not know, such as video
        pass
    raise _no_decoder(syntax)


def _no_decoder(syntax: UID) -> ImageError:
    package = DECODERS.get(syntax)
    return ImageError(
        "the pixels' compression must have a decoder",
        found=f"{syntax.name} without one",
        action=f"Install {package}" if package else "Have the archive send the image uncompressed",
        reason="codec absent",
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
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    if center is None or width is None or width <= 0:  # absent, or the 0 that some devices write
        return values
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -60, 60)))
    if function == "LINEAR":  # counts grey levels: half a level off the exact function, PS3.3 C.11.2.1.2
        center, width = center - 0.5, width - 1
    if width <= 0:
        return values
    return np.clip(values, center - width / 2, center + width / 2)


def _byte_order(dataset: pydicom.Dataset) -> str:
    """The byte order of the file's words, "<" or ">": pydicom returns OW values as they are in the file."""
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
        raise ImageError("a DICOM look-up table must not be empty", found="no LUTData", reason="image damaged")
    if first > 32767 and float(values.min()) < 0:  # read as unsigned where the pixels are signed
        first -= 65536
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, table.size - 1)]


def _first(value: str | float | Sequence[float] | None) -> float | None:
    if value is None or value == "":
        return None
    return float(value[0] if isinstance(value, Sequence) and not isinstance(value, str) else value)
