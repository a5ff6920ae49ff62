"""Prepared pictures of a working folder, as `register` writes them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.write.png import read_png


def read_square_images(work: Path, files: Sequence[str], *, size: int) -> np.ndarray:
    """Read prepared pictures: float32 in [0, 1], shape (B, size, size).

    Args:
        work: working folder.
        files: paths relative to it.
        size: side that every picture must have, in pixels.

    Raises:
        ImageError: if one cannot be read or has another size.
    """
    images = [read_png(work / file) for file in files]
    for image in images:
        if image.shape != (size, size):
            raise ImageError(
                f"prepared images must be {size}×{size}, as the bundle's model is",
                found=f"{image.shape[0]}×{image.shape[1]}",
                action=f"Run `biomedjourney register --size {size}` again",
            )
    return np.stack(images)
