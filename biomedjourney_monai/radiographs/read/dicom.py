"""DICOM: one frame of a chest radiograph, as the standard defines its display.

Stored values → padding → modality LUT → VOI LUT or window → MONOCHROME1 inverted, once and last → square pixels.
Tables are applied by this package, because pydicom's `apply_modality_lut` fails on 10- to 14-bit tables and its
`apply_voi_lut` is wrong for 8-bit tables of more than 256 entries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from biomedjourney_monai.radiographs.read.dicom_header import (
    as_image_error,
    numbers,
    photometric_interpretation,
    pixel_aspect,
    read_dataset,
    refuse_incomplete,
    refuse_unsuitable,
    rescale,
)
from biomedjourney_monai.radiographs.read.dicom_stored import Stored, read_stored
from biomedjourney_monai.radiographs.read.look_up_tables import (
    GREY_WEIGHTS,
    byte_order,
    look_up,
    read_palette,
    read_table,
)
from biomedjourney_monai.radiographs.read.photographs import MAX_PIXELS, too_many_pixels

if TYPE_CHECKING:
    import pydicom


def decode(data: bytes, *, any_body_part: bool = False) -> np.ndarray:
    """Decode DICOM bytes to float32, shape (H, W), bright = dense, in the file's own window, with square pixels.

    Args:
        data: the file.
        any_body_part: also decode files that name another part of the body.

    Raises:
        ImageError: if the data are damaged, hold no or several frames, are raw detector data (FOR PROCESSING), show
            another part of the body, contradict themselves, or need a codec that is not installed.
    """
    dataset = read_dataset(data, with_pixels=True)
    with as_image_error():
        refuse_unsuitable(dataset, any_body_part=any_body_part)
        refuse_incomplete(dataset)
        pixels = _displayed(dataset, read_stored(dataset))
        shape = _square_pixel_shape(dataset)
        return pixels if pixels.shape == shape else cv2.resize(pixels, shape[::-1], interpolation=cv2.INTER_LINEAR)


def decode_levels(data: bytes, *, any_body_part: bool = False) -> tuple[Stored, np.ndarray, int] | None:
    """Decode DICOM bytes to stored values with square pixels, what each from the lowest on is shown as, and the lowest.

    What is shown is float32, and never falls or never rises with the stored value. None for colours, palettes, more
    than 16 bits and tables that go both ways.

    Raises:
        ImageError: as `decode`.
    """
    dataset = read_dataset(data, with_pixels=True)
    with as_image_error():
        refuse_unsuitable(dataset, any_body_part=any_body_part)
        refuse_incomplete(dataset)
        if not photometric_interpretation(dataset).startswith("MONOCHROME") or int(dataset.BitsStored) > 16:
            return None
        found = read_stored(dataset)
        lowest, highest = int(found.values.min()), int(found.values.max())
        ramp = np.arange(lowest, highest + 1)[None]  # (1, n)
        shown = _displayed(dataset, Stored(ramp))[0]
        steps = np.diff(shown)
        if (steps < 0).any() and (steps > 0).any():
            return None
        stored, padding, shape = found.values, found.padding, _square_pixel_shape(dataset)
        if stored.shape != shape:
            resized = cv2.resize(stored.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)
            stored = np.rint(resized).astype(stored.dtype)
            if padding is not None:
                near = cv2.resize(padding.view(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST)
                padding = near.astype(bool)
        return Stored(stored, padding), shown, lowest


def decode_size(data: bytes, *, any_body_part: bool = False) -> tuple[int, int]:
    """The (height, width) of the image with square pixels, from the header."""
    dataset = read_dataset(data, with_pixels=False)
    with as_image_error():
        refuse_unsuitable(dataset, with_pixels=False, any_body_part=any_body_part)
        refuse_incomplete(dataset)
        return _square_pixel_shape(dataset)


def _square_pixel_shape(dataset: pydicom.Dataset) -> tuple[int, int]:
    """The (height, width) after the longer side of the pixels is brought to the length of the shorter."""
    rows, columns, aspect = int(dataset.Rows), int(dataset.Columns), pixel_aspect(dataset)
    rows, columns = round(rows * max(aspect, 1)), round(columns / min(aspect, 1))
    if rows * columns > MAX_PIXELS:
        raise too_many_pixels(f"{rows * columns:,}")
    return rows, columns


def _displayed(dataset: pydicom.Dataset, stored: Stored) -> np.ndarray:
    photometric = photometric_interpretation(dataset)
    if photometric == "PALETTE COLOR":
        return look_up(read_palette(dataset), stored.values)
    pixels, padding = stored.values, stored.padding
    if pixels.ndim == 3:  # colour, from a scanner or a screen
        pixels = pixels.astype(np.float32) @ GREY_WEIGHTS
    values = _voi(dataset, _modality(dataset, pixels))
    shape = str(dataset.get("PresentationLUTShape") or "").strip().upper()
    if photometric == "MONOCHROME1" or (photometric == "MONOCHROME2" and shape == "INVERSE"):
        values = values.max() + values.min() - values
    if padding is not None and not padding.all():
        values = np.where(padding, values[~padding].min(), values)
    return values.astype(np.float32)


def _modality(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray:
    if dataset.get("ModalityLUTSequence"):
        return _look_up(dataset, dataset.ModalityLUTSequence[0], stored)
    return stored.astype(np.float32) * (rescale(dataset, "RescaleSlope") or 1) + rescale(dataset, "RescaleIntercept")


def _voi(dataset: pydicom.Dataset, values: np.ndarray) -> np.ndarray:
    if dataset.get("VOILUTSequence"):
        return _look_up(dataset, dataset.VOILUTSequence[0], values)
    center, width = (next(iter(numbers(dataset, keyword)), None) for keyword in ("WindowCenter", "WindowWidth"))
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    if center is None or width is None or width <= 0:  # absent, no number, or the 0 that some devices write
        return values
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -60, 60)))
    if function == "LINEAR":  # counts grey levels: half a level off the exact function, PS3.3 C.11.2.1.2
        center, width = center - 0.5, width - 1
    if width <= 0:
        return values
    return np.clip(values, center - width / 2, center + width / 2)


def _look_up(dataset: pydicom.Dataset, item: pydicom.Dataset, values: np.ndarray) -> np.ndarray:
    is_signed = float(values.min()) < 0
    order = byte_order(dataset)
    return look_up(read_table(item.LUTDescriptor, item.LUTData, byte_order=order, is_signed=is_signed), values)
