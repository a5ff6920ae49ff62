"""Pixels as a file holds them: grey, bright = dense, upright, at the file's own size and intensity scale.

Files are not trusted. Their format is detected from the first bytes and their size from the header before any pixel is
decoded, and every decoder's failure becomes an `ImageError`. Messages never name the file: names carry identifiers.
"""

from pathlib import Path
from types import ModuleType

import numpy as np

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.read import dicom, dicom_header, nifti, photographs
from biomedjourney_monai.radiographs.read.view_position import view_position

MAX_BYTES = 512 * 1024**2
"""A radiograph file has a few to some tens of MB; more is a mistake or an attack."""


PLACEHOLDER_WARNING = (
    "The NIfTI file's affine is the identity, a placeholder: the image was taken as stored. Check its orientation."
)


def read_pixels(path: str | Path, *, at_least: int | None = None, any_body_part: bool = False) -> np.ndarray:
    """Read one image as grey pixels.

    Args:
        path: JPEG, PNG, NIfTI (2-D) or DICOM (single frame).
        at_least: a longer side that suffices, in pixels: larger JPEGs are then decoded at 1/2, 1/4 or 1/8 of their
            size, which is much faster. None decodes in full.
        any_body_part: also read DICOM files that name another part of the body; see `named_in_header`.

    Returns:
        float32, shape (H, W), on the file's own intensity scale.

    Raises:
        ImageError: if the file is missing, empty, damaged, too large or not an image that this package accepts.
    """
    data = read_bytes(path)
    decoder = _decoder_of(data)
    if decoder is photographs:
        pixels = photographs.decode(data, at_least=at_least)
    elif decoder is dicom:
        pixels = dicom.decode(data, any_body_part=any_body_part)
    else:
        pixels = nifti.decode(data)
    if not np.isfinite(pixels).all():
        raise ImageError("an image must hold finite numbers", found="NaN or infinite pixels", reason="image damaged")
    return pixels


def original_size(path: str | Path, *, any_body_part: bool = False) -> tuple[int, int]:
    """The (height, width) of the upright image in a file, in square pixels, from its header.

    Raises:
        ImageError: as `read_pixels`, as far as the header shows.
    """
    data = read_bytes(path)
    decoder = _decoder_of(data)
    return dicom.decode_size(data, any_body_part=any_body_part) if decoder is dicom else decoder.decode_size(data)


def named_in_header(path: str | Path) -> tuple[str, str]:
    """What a DICOM file names: a part of the body other than the chest, and the view, such as "PA" or "AP".

    Each has at most 16 characters, and is "" where the header names none, and for other formats. See `view_position`.

    Raises:
        ImageError: as `read_pixels`, as far as the header shows.
    """
    data = read_bytes(path)
    if not dicom_header.is_dicom(data):
        return "", ""
    with dicom_header.as_image_error():
        dataset = dicom_header.read_dataset(data, with_pixels=False)
        return dicom_header.other_body_part(dataset), view_position(dataset)


def read_warnings(path: str | Path) -> tuple[str, ...]:
    """Sentences for the user about a file that can be read only under an assumption.

    Raises:
        ImageError: as `read_pixels`, as far as the header shows.
    """
    data = read_bytes(path)
    is_placed = not nifti.is_nifti(data) or not nifti.has_placeholder_affine(nifti.open_nifti(data))
    return () if is_placed else (PLACEHOLDER_WARNING,)


def read_bytes(path: str | Path) -> bytes:
    """Read an image file.

    Raises:
        ImageError: if the file is missing, empty, too large or unreadable.
    """
    path = Path(path)
    try:
        if not path.is_file():
            found = "a folder" if path.is_dir() else "no such file"
            raise ImageError(
                "an image file must exist", found=found, action="Check the path", reason="image file missing"
            )
        count = path.stat().st_size
        if count == 0:
            raise ImageError(
                "an image file must not be empty",
                found="0 bytes",
                action="Fetch the file again",
                reason="image file empty",
            )
        if count > MAX_BYTES:
            raise ImageError(
                f"an image file must have at most {MAX_BYTES:,} bytes", found=f"{count:,}", reason="image too large"
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:  # no permission, a name with a null byte
        raise ImageError("an image file must be readable", found=type(error).__name__) from error


def _decoder_of(data: bytes) -> ModuleType:
    if photographs.is_photograph(data):
        return photographs
    if dicom_header.is_dicom(data):
        return dicom
    if nifti.is_nifti(data):
        return nifti
    dicom_header.refuse_without_preamble(data)
    raise ImageError(
        "an image must be JPEG, PNG, NIfTI or DICOM",
        found="none of these in its first bytes",
        action="Convert it, for example to PNG",
        reason="unknown image format",
    )
