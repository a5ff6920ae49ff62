"""8-bit grey PNG: the form in which stages hand pictures to each other and to people."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.files import written_atomically


def save_png(path: str | Path, image: np.ndarray, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write an 8-bit grey PNG, whole or not at all; see `png_bytes`."""
    content = png_bytes(image, metadata=metadata)
    with written_atomically(path) as temporary:
        temporary.write_bytes(content)


def png_bytes(image: np.ndarray, *, metadata: Mapping[str, str] | None = None) -> bytes:
    """Encode an 8-bit grey PNG.

    Args:
        image: shape (H, W): floats in [0, 1], bool, or uint8 as it is.
        metadata: text chunks to write into the file, keyword → text.

    Raises:
        ImageError: if the image is not 2-D, has no pixels or is not finite.
    """
    if image.ndim != 2 or image.size == 0:
        raise ImageError("a picture must be 2-D with pixels", found=f"shape {image.shape}")
    if image.dtype != np.uint8:
        if not np.isfinite(image).all():
            raise ImageError("a picture must hold finite numbers", found="NaN or infinite pixels")
        image = np.rint(np.clip(image.astype(np.float32), 0, 1) * 255).astype(np.uint8)
    chunks = PngImagePlugin.PngInfo()
    for keyword, text in (metadata or {}).items():
        chunks.add_text(str(keyword), str(text))
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, format="PNG", pnginfo=chunks)
    return stream.getvalue()


def read_png(path: str | Path) -> np.ndarray:
    """Read an image that `save_png` wrote, without scaling: float32 in [0, 1], shape (H, W).

    This is for pictures inside the working folder, which are normalised already; anything else goes through
    `load_radiograph`.

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
