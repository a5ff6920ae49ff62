"""NIfTI: a picture in the voxel grid of its prior, or a series of pictures."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.marking import NOT_FOR_DIAGNOSIS
from biomedjourney_monai.radiographs.read import nifti
from biomedjourney_monai.radiographs.write.png import save_bytes, to_8_bit

if TYPE_CHECKING:
    import nibabel

    from biomedjourney_monai.radiographs.film import Film

SUFFIXES = (".nii", ".nii.gz")
LONGEST_NOTE = 80 - len(NOT_FOR_DIAGNOSIS) - 1


def is_nifti_name(path: str | Path) -> bool:
    """Whether a file of this name is written as NIfTI."""
    return Path(path).name.lower().endswith(SUFFIXES)


def save_nifti_like(
    path: str | Path, picture: np.ndarray, prior: str | Path, *, note: str = "", film: Film | None = None
) -> None:
    """Write a picture as NIfTI with the shape, axes and affine of the prior, so that viewers overlay the two.

    Nothing else is copied from the prior's header. If the prior is not NIfTI, this is `save_nifti_series`.

    Args:
        path: ends in .nii or .nii.gz.
        picture: float in [0, 1], shape (H, W), of the prior's height and width as displayed.
        prior: the prior's file.
        note: ASCII, added to the mark in the header's description; at most `LONGEST_NOTE` characters.
        film: the prior's pixels: values are then on its scale, integers if its file holds unscaled integers and
            float32 otherwise. None writes 8 bits.

    Raises:
        ImageError: if the picture has another size than the prior.
    """
    import nibabel

    data = Path(prior).read_bytes()
    if not nifti.is_nifti(data):
        save_nifti_series(path, [picture], note=note)
        return
    source = nifti.open_nifti(data)
    kept = nifti.kept_axes(source)
    values = to_8_bit(picture) if film is None else _as_stored(film.to_stored(picture), source)
    pixels = nifti.turn_back(values, nifti.axis_codes(source, kept))
    if pixels.shape != tuple(source.shape[axis] for axis in kept):
        raise ImageError("a picture must have its prior's size", found=f"{picture.shape[0]}×{picture.shape[1]}")
    image = nibabel.Nifti1Image(pixels.reshape(source.shape), source.affine)
    for name in ("qform", "sform"):
        affine, code = getattr(source, f"get_{name}")(coded=True)
        getattr(image, f"set_{name}")(affine, int(code))
    image.header.set_zooms(source.header.get_zooms())
    image.header.set_xyzt_units(*source.header.get_xyzt_units())
    _save(path, image, note[:LONGEST_NOTE])


def _as_stored(values: np.ndarray, source: nibabel.Nifti1Image) -> np.ndarray:
    """Displayed values in the type of a file that stores unscaled integers; float32 otherwise."""
    stored: Any = source.dataobj
    kind, (slope, intercept) = source.get_data_dtype(), (stored.slope, stored.inter)
    is_plain = kind.kind in "iu" and kind.itemsize <= 4 and (slope, intercept) == (1, 0)
    return np.rint(values).astype(kind.newbyteorder("=")) if is_plain else values.astype(np.float32)


def save_nifti_series(path: str | Path, images: Sequence[np.ndarray], *, note: str = "") -> None:
    """Write images of one patient as an 8-bit NIfTI of shape (W, H, 1, N).

    In the affine the first axis runs to the patient's left and the second downwards, as a frontal radiograph is
    displayed. PNG and JPEG do not give the size of a pixel: 1 mm stands for "unknown".

    Args:
        path: ends in .nii or .nii.gz.
        images: float in [0, 1], shape (H, W) each, marked already.
        note: ASCII, added to the mark in the header's description, which has 80 characters.

    Raises:
        ImageError: if there are no images, their sizes differ, or the suffix is another.
    """
    import nibabel

    if not is_nifti_name(path):
        raise ImageError("a NIfTI file must end in .nii or .nii.gz", found=Path(path).suffix or "no suffix")
    if not images or len({image.shape for image in images}) != 1:
        raise ImageError("a series needs images of one size", found=f"{len(images)} images")
    pixels = np.stack([to_8_bit(image).T for image in images], axis=-1)
    affine = np.array([[-1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], float)
    _save(path, nibabel.Nifti1Image(pixels[:, :, None], affine), note)  # (W, H, 1, N)


def read_note(path: str | Path) -> str:
    """The note that was written after the mark; "" for any other file."""
    try:
        text = nifti.read_description(Path(path).read_bytes())
    except (OSError, ImageError):
        return ""
    return text.removeprefix(NOT_FOR_DIAGNOSIS).strip() if text.startswith(NOT_FOR_DIAGNOSIS) else ""


def _save(path: str | Path, image: nibabel.Nifti1Image, note: str) -> None:
    image.header["descrip"] = f"{NOT_FOR_DIAGNOSIS} {note}".strip()[:80].encode("ascii", "replace")
    content = image.to_bytes()
    save_bytes(path, gzip.compress(content, mtime=0) if Path(path).suffix.lower() == ".gz" else content)
