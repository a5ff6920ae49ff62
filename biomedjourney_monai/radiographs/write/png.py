"""8-bit PNG: the form in which stages exchange pictures and show them to people."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.files import written_atomically

LARGE_PICTURE = 1_000_000
"""Pixels from which a PNG is compressed at zlib's level 4: for a film as small as at 6, in a third of the time."""


def to_8_bit(image: np.ndarray) -> np.ndarray:
    """Round numbers in [0, 1] to uint8 in [0, 255]; what lies outside is clipped."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def save_bytes(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with written_atomically(path) as temporary:
        temporary.write_bytes(content)


def save_png(path: str | Path, image: np.ndarray, *, metadata: Mapping[str, object] | None = None) -> None:
    """Write an 8-bit PNG, whole or not at all; see `png_bytes`."""
    save_bytes(path, png_bytes(image, metadata=metadata))


def png_bytes(image: np.ndarray, *, metadata: Mapping[str, object] | None = None) -> bytes:
    """Encode an 8-bit PNG.

    Args:
        image: grey, shape (H, W): floats in [0, 1], bool, or uint8 unchanged; or RGB, uint8, shape (H, W, 3).
        metadata: text chunks of the file, keyword → text.

    Raises:
        ImageError: if the image has another shape, no pixels, or pixels that are not finite.
    """
    is_colour = image.ndim == 3 and image.dtype == np.uint8
    if (image.ndim != 2 and not is_colour) or image.size == 0:
        raise ImageError("a picture must be 2-D with pixels", found=f"shape {image.shape}")
    if image.dtype != np.uint8:
        if not np.isfinite(image).all():
            raise ImageError("a picture must hold finite numbers", found="NaN or infinite pixels")
        image = to_8_bit(image.astype(np.float32))
    chunks = PngImagePlugin.PngInfo()
    for keyword, text in (metadata or {}).items():
        chunks.add_text(str(keyword), str(text))
    stream = io.BytesIO()
    level = 6 if image.size < LARGE_PICTURE else 4
    Image.fromarray(np.ascontiguousarray(image)).save(stream, format="PNG", pnginfo=chunks, compress_level=level)
    return stream.getvalue()


def read_png(path: str | Path) -> np.ndarray:
    """Read an image that `save_png` wrote, without scaling: float32 in [0, 1], shape (H, W).

    For pictures of the working folder, which are normalised already; use `load_radiograph` for all others.

    Raises:
        ImageError: if the file is missing or not an 8-bit grey PNG.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode != "L":
                raise ImageError("a picture of the working folder must be 8-bit grey", found=image.mode)
            return np.asarray(image, np.float32) / 255
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(
            "a picture of the working folder must be a readable PNG",
            found=type(error).__name__,
            action="Run `biomedjourney register` again",
        ) from error


def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask that `save_png` wrote: bool, shape (H, W)."""
    return read_png(path) > 0.5
