"""Load and scale: one file in, one normalised square radiograph out. Training and inference share these functions."""

from pathlib import Path

import numpy as np

from biomedjourney_monai.radiographs.read.pixels import read_pixels
from biomedjourney_monai.radiographs.scaling import letterbox, scale_intensity


def load_radiograph(path: str | Path, *, size: int = 128, any_body_part: bool = False) -> np.ndarray:
    """Read a JPEG, PNG, NIfTI or DICOM file as a normalised square radiograph.

    Args:
        path: the file; its format is detected from its first bytes, not from its name.
        size: side of the result in pixels.
        any_body_part: also read DICOM files that name another part of the body than the chest.

    Returns:
        float32 in [0, 1], shape (size, size), bright = dense: the whole frame with its aspect ratio, letterboxed in
        black, the content's 1st and 99th percentiles at 0 and 1.

    Raises:
        ImageError: if the file is missing, empty, damaged, too large, constant or not a frontal single image.
    """
    return load_with_content(path, size=size, any_body_part=any_body_part)[0]


def load_with_content(
    path: str | Path, *, size: int = 128, any_body_part: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """As `load_radiograph`, with the mask of the content: bool, shape (size, size), False in the letterbox."""
    image, content = load_unscaled(path, size=size, any_body_part=any_body_part)
    return scale_intensity(image, content), content


def load_unscaled(path: str | Path, *, size: int = 128, any_body_part: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """As `load_with_content`, on the file's own intensity scale."""
    return letterbox(read_pixels(path, at_least=2 * size, any_body_part=any_body_part), size=size)
