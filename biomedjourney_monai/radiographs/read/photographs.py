"""JPEG and PNG: header first, then the pixels, upright and grey."""

import io
import warnings

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.read.quiet import silence_loggers

MAX_PIXELS = 100_000_000
"""A detector has 10 to 20 million pixels. A larger image is more likely an attack that decodes to gigabytes."""

ORIENTATION_TAG = 0x0112
REDUCED = {1: cv2.IMREAD_GRAYSCALE} | {n: getattr(cv2, f"IMREAD_REDUCED_GRAYSCALE_{n}") for n in (2, 4, 8)}


def is_photograph(data: bytes) -> bool:
    return data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))


def decode(data: bytes, *, at_least: int | None = None) -> np.ndarray:
    """Decode JPEG or PNG bytes to float32 grey, shape (H, W); transparent pixels become black.

    Raises:
        ImageError: if the data are damaged or too large.
    """
    header = _open(data)
    if header.format != "PNG":
        # Decoders fill the missing part of a truncated JPEG with grey. Within a scan, FF is always followed by 00, so
        # an end marker FF D9 after the last start of scan FF DA can only be the real end.
        if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
            raise _damaged()
        if header.mode in ("L", "RGB"):
            return _decode_jpeg(data, longer_side=max(header.size), at_least=at_least)
    try:
        return _grey(ImageOps.exif_transpose(header))
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise _damaged() from error


def decode_size(data: bytes) -> tuple[int, int]:
    """The (height, width) of the upright image, from the header."""
    header = _open(data)
    width, height = header.size
    try:
        turned = header.getexif().get(ORIENTATION_TAG, 1) in (5, 6, 7, 8)
    except Exception as error:  # EXIF is a small TIFF file: its parser raises many kinds
        raise _damaged() from error
    return (width, height) if turned else (height, width)


def count_channels(data: bytes) -> int:
    """Numbers per pixel, from the header: 1 for grey, 3 for colour."""
    return len(_open(data).getbands())


def read_comment(data: bytes) -> str:
    """The text chunk `Comment` of a PNG, or the comment of a JPEG; "" where there is none."""
    info = _open(data).info
    comment = info.get("Comment", info.get("comment", ""))
    return comment.decode("utf-8", "replace") if isinstance(comment, bytes) else str(comment)


def _open(data: bytes) -> Image.Image:
    silence_loggers("PIL")  # it quotes EXIF
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
    except Image.DecompressionBombError as error:
        raise too_many_pixels("more") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise _damaged() from error
    if header.width * header.height > MAX_PIXELS:
        raise too_many_pixels(f"{header.width * header.height:,}")
    return header


def _decode_jpeg(data: bytes, *, longer_side: int, at_least: int | None) -> np.ndarray:
    factor = max(f for f in REDUCED if f == 1 or (at_least and longer_side // f >= at_least))
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), REDUCED[factor])  # turned upright by its EXIF
    except cv2.error as error:
        raise _damaged() from error
    if pixels is None:
        raise _damaged()
    return pixels.astype(np.float32)


def _grey(image: Image.Image) -> np.ndarray:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.float32)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        opacity = np.asarray(rgba.getchannel("A"), np.float32) / 255
        return np.asarray(rgba.convert("L"), np.float32) * opacity
    return np.asarray(image.convert("L"), np.float32)


def _damaged() -> ImageError:
    return ImageError(
        "an image file must be whole",
        found="damaged or truncated data",
        action="Fetch the file again",
        reason="image damaged",
    )


def too_many_pixels(found: str) -> ImageError:
    """The error for an image with more than `MAX_PIXELS`."""
    return ImageError(f"an image must have at most {MAX_PIXELS:,} pixels", found=found, reason="image too large")
