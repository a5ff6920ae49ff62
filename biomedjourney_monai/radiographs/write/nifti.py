"""A picture as NIfTI in the voxel grid of a prior: what was turned for reading is turned back."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.files import written_atomically
from biomedjourney_monai.radiographs.marking import NOT_FOR_DIAGNOSIS
from biomedjourney_monai.radiographs.read.nifti import (
    axis_codes,
    is_nifti,
    kept_axes,
    open_nifti,
    read_description,
    turn_back,
)
from biomedjourney_monai.radiographs.write.nifti_series import save_nifti_series

LONGEST_NOTE = 80 - len(NOT_FOR_DIAGNOSIS) - 1


def save_nifti_like(path: str | Path, picture: np.ndarray, prior: str | Path, *, note: str = "") -> None:
    """Write a picture as 8-bit NIfTI: shape, axes and affine of the prior, so that both lie on each other.

    Nothing else of the prior's header is taken over. A prior that is no NIfTI gives a picture as `save_nifti_series`
    writes it.

    Args:
        path: ends in .nii or .nii.gz.
        picture: float in [0, 1], shape (H, W), of the prior's height and width as displayed.
        prior: the prior's file.
        note: ASCII, added to the mark in the header's description; at most `LONGEST_NOTE` letters.

    Raises:
        ImageError: if the picture has another size than the prior.
    """
    import nibabel

    data = Path(prior).read_bytes()
    if not is_nifti(data):
        save_nifti_series(path, [picture], note=note)
        return
    source = open_nifti(data)
    kept = kept_axes(source)
    pixels = turn_back(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8), axis_codes(source, kept))
    if pixels.shape != tuple(source.shape[axis] for axis in kept):
        raise ImageError("a picture must have its prior's size", found=f"{picture.shape[0]}×{picture.shape[1]}")
    image = nibabel.Nifti1Image(pixels.reshape(source.shape), source.affine)
    for name in ("qform", "sform"):
        affine, code = getattr(source, f"get_{name}")(coded=True)
        getattr(image, f"set_{name}")(affine, int(code))
    image.header.set_zooms(source.header.get_zooms())
    image.header.set_xyzt_units(*source.header.get_xyzt_units())
    image.header["descrip"] = f"{NOT_FOR_DIAGNOSIS} {note[:LONGEST_NOTE]}".strip().encode("ascii", "replace")
    content = image.to_bytes()
    with written_atomically(path) as temporary:
        temporary.write_bytes(gzip.compress(content, mtime=0) if Path(path).suffix == ".gz" else content)


def read_note(path: str | Path) -> str:
    """What `save_nifti_like` wrote beside the mark; "" for any other file."""
    try:
        text = read_description(Path(path).read_bytes())
    except (OSError, ImageError):
        return ""
    return text.removeprefix(NOT_FOR_DIAGNOSIS).strip() if text.startswith(NOT_FOR_DIAGNOSIS) else ""
