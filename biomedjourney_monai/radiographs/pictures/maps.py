"""Maps over a radiograph in colour: where a description acts, how far samples lie apart. All of them marked."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, PngImagePlugin

from biomedjourney_monai.files import written_atomically
from biomedjourney_monai.radiographs.marking import mark_synthetic
from biomedjourney_monai.radiographs.pictures.strips import write_words

MIN_WIDTH = 256
"""Narrower maps are enlarged, so that the words below can be read."""


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
    return np.vstack([marked, _bar(marked.shape[1], caption)])


def colour_map(image: np.ndarray, values: np.ndarray, *, highest: float) -> np.ndarray:
    """As `overlay_map`, without caption and colour bar: uint8, shape (H, W, 3)."""
    scale = max(1, -(-MIN_WIDTH // image.shape[1]))
    grey = mark_synthetic(_enlarge(image, scale))
    share = np.clip(_enlarge(values, scale) / max(highest, 1e-9), 0, 1)
    colours = _colour(share)
    weight = np.sqrt(share)[..., None] * 0.75
    mixed = (1 - weight) * np.repeat(grey[..., None], 3, axis=2) + weight * colours
    return np.rint(_restore_mark(mixed, grey) * 255).astype(np.uint8)


def save_bytes(path: str | Path, content: bytes) -> None:
    """Write an encoded picture, whole or not at all."""
    with written_atomically(path) as temporary:
        temporary.write_bytes(content)


def colour_png_bytes(picture: np.ndarray, *, metadata: Mapping[str, object]) -> bytes:
    """Encode an RGB PNG, uint8 (H, W, 3), with text chunks."""
    chunks = PngImagePlugin.PngInfo()
    for keyword, text in metadata.items():
        chunks.add_text(str(keyword), str(text))
    stream = io.BytesIO()
    Image.fromarray(picture, "RGB").save(stream, format="PNG", pnginfo=chunks)
    return stream.getvalue()


def _enlarge(array: np.ndarray, scale: int) -> np.ndarray:
    height, width = array.shape
    return cv2.resize(np.asarray(array, np.float32), (width * scale, height * scale), interpolation=cv2.INTER_LINEAR)


def _colour(share: np.ndarray) -> np.ndarray:
    """Black over red and yellow to white, float (H, W, 3)."""
    return np.stack([np.clip(share * 2.2, 0, 1), np.clip(share * 2.2 - 0.8, 0, 1), np.clip(share * 3 - 2, 0, 1)], 2)


def _restore_mark(mixed: np.ndarray, grey: np.ndarray) -> np.ndarray:
    on_black, on_white = (mark_synthetic(np.full(grey.shape, ground, np.float32)) for ground in (0, 1))
    label = on_black == on_white
    mixed[label] = on_black[label][:, None]
    return mixed


def _bar(width: int, caption: str) -> np.ndarray:
    bar = np.repeat(_colour(np.linspace(0, 1, width, dtype=np.float32)[None]), 6, axis=0)
    words = np.repeat(write_words(caption, width=width)[..., None], 3, axis=2)
    return np.vstack([np.rint(bar * 255).astype(np.uint8), words])
