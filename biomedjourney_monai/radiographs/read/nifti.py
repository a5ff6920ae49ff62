"""NIfTI: one 2-D frontal image, oriented by its affine so that image left is the patient's right."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import TYPE_CHECKING

import numpy as np

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.read.photographs import MAX_PIXELS, too_many_pixels

if TYPE_CHECKING:
    import nibabel

HEADER_BYTES = 348
MAGIC = (b"n+1\0", b"n+2\0")
MAX_RAW_BYTES = 16 * MAX_PIXELS + 65536


def is_nifti(data: bytes) -> bool:
    if data.startswith(b"\x1f\x8b"):
        data = _inflate(data, HEADER_BYTES)
    return data[344:348] in MAGIC or data[4:8] in MAGIC


def decode(data: bytes) -> np.ndarray:
    """Decode NIfTI bytes to float32, shape (H, W).

    The first axis runs along the image's rows as NIfTI stores it; axes are swapped and reversed until columns run
    to the patient's left and rows run down. A file without an orientation, or with the identity as a placeholder, is
    only transposed.

    Raises:
        ImageError: if the data are damaged, not 2-D, or not in a frontal plane.
    """
    image = open_nifti(data)
    try:
        kept = kept_axes(image)
        pixels = np.asarray(image.dataobj, np.float32).reshape([image.shape[axis] for axis in kept])
    except ImageError:
        raise
    except Exception as error:  # nibabel raises many kinds on damaged data
        raise _damaged(error) from error
    return np.ascontiguousarray(_upright(pixels, axis_codes(image, kept)))


def decode_size(data: bytes) -> tuple[int, int]:
    """The (height, width) of the image as displayed."""
    height, width = decode(data).shape
    return height, width


def open_nifti(data: bytes) -> nibabel.Nifti1Image:
    """The image in NIfTI bytes, its pixels not yet read.

    Raises:
        ImageError: if the data are damaged or too large.
    """
    import nibabel

    if data.startswith(b"\x1f\x8b"):
        data = _inflate(data, MAX_RAW_BYTES)
    kind = nibabel.Nifti1Image if data[344:348] == MAGIC[0] else nibabel.Nifti2Image
    try:
        return kind.from_stream(io.BytesIO(data))
    except Exception as error:  # nibabel raises many kinds on damaged headers
        raise _damaged(error) from error


def read_description(data: bytes) -> str:
    """The description in the header, at most 80 characters.

    Raises:
        ImageError: if the data are damaged or too large.
    """
    return bytes(open_nifti(data).header["descrip"].item()).rstrip(b"\0").decode("ascii", "replace")


def kept_axes(image: nibabel.Nifti1Image) -> list[int]:
    """The two axes of a radiograph that are longer than 1.

    Raises:
        ImageError: if it has other axes, or too many pixels.
    """
    if np.prod(image.shape, dtype=float) > MAX_PIXELS:
        raise too_many_pixels(str(image.shape))
    kept = [axis for axis, length in enumerate(image.shape) if length > 1]
    if len(kept) != 2 or max(kept) > 2:
        raise ImageError(
            "a NIfTI radiograph must be a single 2-D image", found=f"shape {image.shape}", reason="several frames"
        )
    return kept


def axis_codes(image: nibabel.Nifti1Image, kept: list[int]) -> list[str]:
    """The directions of the kept axes, as nibabel's letters."""
    import nibabel

    header = image.header
    if (int(header["qform_code"]) == 0 and int(header["sform_code"]) == 0) or has_placeholder_affine(image):
        return ["L", "I"]  # no orientation in the file: assumed as displayed
    codes = nibabel.aff2axcodes(image.affine)
    return [codes[axis] for axis in kept]


def has_placeholder_affine(image: nibabel.Nifti1Image) -> bool:
    """Whether the affine is the identity that writers without an orientation store.

    It would put a 2-D image into an axial plane, where no frontal radiograph is.
    """
    return kept_axes(image) == [0, 1] and bool(np.allclose(image.affine, np.eye(4)))


def _upright(pixels: np.ndarray, codes: list[str]) -> np.ndarray:
    across = next((axis for axis, code in enumerate(codes) if code in ("L", "R")), None)
    if across is None:
        raise ImageError("a radiograph must be frontal", found=f"a plane with the axes {codes}", reason="not frontal")
    if codes[across] == "R":
        pixels = np.flip(pixels, across)
    if codes[1 - across] in ("S", "A"):
        pixels = np.flip(pixels, 1 - across)
    return pixels if across == 1 else pixels.T


def turn_back(pixels: np.ndarray, codes: list[str]) -> np.ndarray:
    """Undo what `decode` does to the axes: displayed pixels (H, W) to the order of the file."""
    across = next(axis for axis, code in enumerate(codes) if code in ("L", "R"))
    pixels = pixels if across == 1 else pixels.T
    if codes[across] == "R":
        pixels = np.flip(pixels, across)
    return np.flip(pixels, 1 - across) if codes[1 - across] in ("S", "A") else pixels


def _damaged(error: Exception) -> ImageError:
    return ImageError("a NIfTI file must be whole", found=type(error).__name__, reason="image damaged")


def _inflate(data: bytes, limit: int) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            raw = stream.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ImageError("a compressed file must be whole", found="damaged data", reason="image damaged") from error
    if limit > HEADER_BYTES and len(raw) > limit:
        raise too_many_pixels("more after decompression")
    return raw
