"""Colour maps over a radiograph: where a description acts, how much samples vary. All are marked as synthetic."""

import cv2
import numpy as np

from biomedjourney_monai.radiographs.marking import mark_synthetic
from biomedjourney_monai.radiographs.pictures.strips import write_words
from biomedjourney_monai.radiographs.write.png import to_8_bit

MIN_WIDTH = 256
"""Narrower maps are enlarged, so that the caption is legible."""


def overlay_map(image: np.ndarray, values: np.ndarray, *, highest: float, caption: str) -> np.ndarray:
    """Lay a map over an image, in colour, with a caption and a colour bar below.

    Args:
        image: float in [0, 1], shape (H, W).
        values: at least 0, same shape; 0 is left grey.
        highest: the value of the strongest colour.
        caption: what the map shows, with its highest value.

    Returns:
        uint8, shape (H + caption, W, 3), RGB, with the synthetic mark.
    """
    marked = colour_map(image, values, highest=highest)
    bar = np.repeat(_colour(np.linspace(0, 1, marked.shape[1], dtype=np.float32)[None]), 6, axis=0)
    words = np.repeat(write_words(caption, width=marked.shape[1])[..., None], 3, axis=2)
    return np.vstack([marked, to_8_bit(bar), words])


def colour_map(image: np.ndarray, values: np.ndarray, *, highest: float) -> np.ndarray:
    """As `overlay_map`, without caption and colour bar: uint8, shape (H, W, 3)."""
    scale = max(1, -(-MIN_WIDTH // image.shape[1]))
    grey = mark_synthetic(_enlarge(image, scale))
    share = np.clip(_enlarge(values, scale) / max(highest, 1e-9), 0, 1)
    weight = np.sqrt(share)[..., None] * 0.75
    mixed = (1 - weight) * np.repeat(grey[..., None], 3, axis=2) + weight * _colour(share)
    return np.rint(mark_synthetic(mixed) * 255).astype(np.uint8)


def _enlarge(array: np.ndarray, scale: int) -> np.ndarray:
    height, width = array.shape
    return cv2.resize(np.asarray(array, np.float32), (width * scale, height * scale), interpolation=cv2.INTER_LINEAR)


def _colour(share: np.ndarray) -> np.ndarray:
    """Black over red and yellow to white, float (H, W, 3)."""
    return np.stack([np.clip(share * 2.2, 0, 1), np.clip(share * 2.2 - 0.8, 0, 1), np.clip(share * 3 - 2, 0, 1)], 2)
