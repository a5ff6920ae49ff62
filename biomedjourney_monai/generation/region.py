"""The mask that confines a change: an image of the prior's size, letterboxed like the prior."""

from pathlib import Path

import numpy as np

from biomedjourney_monai.diffusion.controls import AUTO
from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.read.pixels import read_pixels
from biomedjourney_monai.radiographs.scaling import letterbox


def read_region(
    region: str | Path | np.ndarray | None, *, size: int, prior_hw: tuple[int, int] | None = None
) -> np.ndarray | str | None:
    """Read where change is allowed.

    Args:
        region: None for everywhere, "auto" for where the description acts, or a mask of the prior's height and
            width, as an image file or an array; pixels above half of its range may change.
        size: side of the model's square, in pixels.
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
            action="Draw the mask on the prior",
            reason="region of another size",
        )
    low, high = float(pixels.min()), float(pixels.max())
    square, content = letterbox((pixels > (low + high) / 2).astype(np.float32), size=size)
    mask = (square >= 0.5) & content
    if not high > low or not mask.any():
        found = f"no pixel of {size}×{size}" if high > low else "a single value"
        raise ImageError("a region's mask must mark a part of the image", found=found, reason="empty region")
    return mask
