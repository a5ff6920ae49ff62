"""Pictures inside an HTML page: radiographs and signed differences as PNG in data URIs."""

import base64
import io

import numpy as np
from PIL import Image

from biomedjourney_monai.radiographs.write.png import LARGE_PICTURE, to_8_bit

DENSER_RGB = (233, 78, 60)
LESS_DENSE_RGB = (47, 128, 237)
FULL_DIFFERENCE = 0.4
"""The difference at which the colour is full, for images in [0, 1]."""

UNDERLAY = 0.5
"""Brightness of the prior image where nothing differs, as a share of its own."""


def picture_uri(image: np.ndarray, *, optimize: bool = True) -> str:
    """Encode an image as a data URI of a PNG.

    Args:
        image: float in [0, 1], shape (H, W) or (H, W, 3).
        optimize: spend about three times the time on a file that is 2 % smaller.
    """
    buffer = io.BytesIO()
    options = {"compress_level": 4} if image.size >= LARGE_PICTURE and not optimize else {"optimize": optimize}
    Image.fromarray(to_8_bit(image)).save(buffer, format="PNG", **options)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def colour_difference(image: np.ndarray, prior: np.ndarray, *, valid: np.ndarray | None = None) -> np.ndarray:
    """Lay the signed difference over the dimmed prior: red where the image is denser, blue where it is less dense.

    Images and the optional mask `valid`, outside which no difference is shown, have shape (H, W) and values in [0, 1].
    Returns shape (H, W, 3) in [0, 1].
    """
    difference = np.asarray(image, np.float32) - prior
    if valid is not None:
        difference = np.where(valid, difference, 0)
    return colour_signed(difference, prior, full=FULL_DIFFERENCE)


def colour_signed(values: np.ndarray, ground: np.ndarray, *, full: float) -> np.ndarray:
    """Lay signed values, shape (H, W), over a dimmed image: red above 0, blue below, in full colour from `full` on.

    `ground` is the image, same shape, in [0, 1]. Returns shape (H, W, 3) in [0, 1].
    """
    amount = np.clip(np.abs(values) / full, 0, 1)[..., None]
    colour = np.where(values[..., None] > 0, DENSER_RGB, LESS_DENSE_RGB) / np.float32(255)
    return (1 - amount) * UNDERLAY * np.asarray(ground, np.float32)[..., None] + amount * colour
