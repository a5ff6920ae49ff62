"""The mask that confines a change: a picture of the prior's size, brought to the model's square like the prior."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.read.pixels import read_pixels
from biomedjourney_monai.radiographs.scaling import letterbox

AUTO = "auto"


def read_region(
    region: str | Path | np.ndarray | None, *, size: int, prior_hw: tuple[int, int] | None = None
) -> np.ndarray | str | None:
    """Read where change is allowed.

    Args:
        region: None for everywhere, "auto" for the description's own relevance map, or a mask of the prior's height and
            width, as an image file or an array; its bright pixels (above half of its range) may change.
        size: side of the model's square.
        prior_hw: height and width of the prior.

    Returns:
        None, "auto", or a mask, bool, shape (size, size).

    Raises:
        ImageError: if the mask cannot be read, has another size than the prior, or marks nothing.
    """
    if region is None:
        return None
    if isinstance(region, (str, Path)):
        if str(region) in (AUTO, ""):
            return str(region) or None
        pixels = read_pixels(region)
    else:
        pixels = np.asarray(region, np.float32)
    if prior_hw is not None and tuple(pixels.shape) != tuple(prior_hw):
        raise ImageError(
            "a region's mask must have the prior's height and width",
            found=f"{'×'.join(map(str, pixels.shape))} instead of {'×'.join(map(str, prior_hw))}",
            reason="region of another size",
        )
    return mask_region(pixels, size=size)


def mask_region(pixels: np.ndarray, *, size: int) -> np.ndarray:
    """Bring a mask of the prior's size, float (H, W), bright where change is allowed, to the model's square.

    Raises:
        ImageError: if it marks nothing.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if not high > low:
        raise ImageError("a region's mask must mark a part of the image", found="one value", reason="empty region")
    square, content = letterbox((pixels > (low + high) / 2).astype(np.float32), size=size)
    mask = (square >= 0.5) & content
    if not mask.any():
        raise ImageError("a region's mask must mark a part of the image", found="none of it", reason="empty region")
    return mask
