"""Geometry and intensity: the square letterbox and its inverse, and percentiles to [0, 1]."""

import cv2
import numpy as np

from biomedjourney_monai.errors import ImageError

PERCENTILES = (1.0, 99.0)
CENTRE, CENTRE_PERCENTILE, BRIGHTEST = 0.6, 99.5, 1.15
"""White labels and borders lie outside the middle 60 % of the rows and columns. The upper limit is at most 1.15 times
as far from the lower one as the 99.5th percentile of that middle; few films without labels are brighter at the rim."""


def content_box(height: int, width: int, *, size: int) -> tuple[int, int, int, int]:
    """Where an image of height × width lies in its square letterbox: (top, left, rows, columns), each in pixels."""
    longer = max(height, width)
    rows = min(size, max(1, round(height * size / longer)))
    columns = min(size, max(1, round(width * size / longer)))
    return (size - rows) // 2, (size - columns) // 2, rows, columns


def letterbox(pixels: np.ndarray, *, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit an image, shape (H, W), any scale, into a square, with its aspect ratio, centred.

    Returns:
        The square image, float32 (size, size), 0 outside the content, and the content mask, bool (size, size).

    Raises:
        ImageError: if the image has no pixels.
    """
    if pixels.ndim != 2 or 0 in pixels.shape:
        raise ImageError("a radiograph must be a 2-D image with pixels", found=f"shape {pixels.shape}")
    top, left, rows, columns = content_box(*pixels.shape, size=size)
    image = np.zeros((size, size), np.float32)
    content = np.zeros((size, size), bool)
    image[top : top + rows, left : left + columns] = resize(pixels, rows, columns)
    content[top : top + rows, left : left + columns] = True
    return image, content


def restore(image: np.ndarray, original_hw: tuple[int, int]) -> np.ndarray:
    """Invert the letterbox: crop a square, shape (S, S), to its content and resize that to its original (H, W).

    Returns:
        float32, shape `original_hw`, on the scale of `image`.
    """
    height, width = original_hw
    top, left, rows, columns = content_box(height, width, size=image.shape[0])
    restored = resize(image[top : top + rows, left : left + columns], height, width)
    return np.clip(restored, image.min(), image.max())  # cubic enlargement overshoots


def intensity_limits(image: np.ndarray, content: np.ndarray) -> tuple[float, float]:
    """The content's 1st and 99th percentiles, or its extremes where these are equal.

    Burned-in white labels and borders do not count: where the rim is much brighter than the middle of the content, the
    middle decides the upper limit.

    Raises:
        ImageError: if the content is constant.
    """
    values = image[content]
    low, high = np.percentile(values, PERCENTILES)
    middle = np.percentile(_middle(image, content), CENTRE_PERCENTILE)
    if middle > low and _differ(low, middle):
        high = min(high, low + BRIGHTEST * (middle - low))
    if not _differ(low, high):  # more than 98 % of one value: a small bright object on a uniform background
        low, high = float(values.min()), float(values.max())
    if not _differ(low, high):
        raise ImageError("a radiograph must have contrast", found="a constant image", reason="image without contrast")
    return low, high


def scale_intensity(image: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Scale the content's 1st and 99th percentiles to 0 and 1, clip, and black out the rest.

    Raises:
        ImageError: if the content is constant.
    """
    low, high = intensity_limits(image, content)
    scaled = np.clip((image - low) / (high - low), 0, 1)
    return np.where(content, scaled, 0).astype(np.float32)


def _middle(image: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The content's pixels in the middle of the rows and columns that it fills; all of them if there are none."""
    places = [np.flatnonzero(content.any(axis=axis)) for axis in (1, 0)]
    rim = [round(len(filled) * (1 - CENTRE) / 2) for filled in places]
    rows, columns = (
        slice(filled[cut], filled[len(filled) - 1 - cut] + 1) for filled, cut in zip(places, rim, strict=True)
    )
    values: np.ndarray = image[rows, columns][content[rows, columns]]
    return values if values.size else image[content]


def _differ(low: float, high: float) -> bool:
    return high - low > 1e-5 * max(abs(low), abs(high))  # resizing a constant leaves rounding errors


def resize(pixels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Resize an image, shape (H, W), by area where it shrinks and by cubic splines where it grows; float32."""
    pixels = np.ascontiguousarray(pixels, np.float32)
    shrinks = rows * columns < pixels.size
    return cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
