"""A series of radiographs of one patient as one NIfTI file: the fourth axis counts the rungs."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.files import written_atomically
from biomedjourney_monai.radiographs.marking import NOT_FOR_DIAGNOSIS

SUFFIXES = (".nii", ".nii.gz")


def save_nifti_series(
    path: str | Path, images: Sequence[np.ndarray], *, spacing_mm: float = 1.0, note: str = ""
) -> None:
    """Write images as an 8-bit NIfTI of shape (W, H, 1, N).

    The affine says that the first axis runs to the patient's left and the second downwards, as a frontal radiograph is
    displayed. A picture file does not tell the size of a pixel: 1 mm stands for "unknown".

    Args:
        path: ends in .nii or .nii.gz.
        images: float in [0, 1], shape (H, W) each, marked already.
        spacing_mm: of a pixel.
        note: ASCII, added to the mark in the header's description, which has 80 letters.

    Raises:
        ImageError: if there is none, their sizes differ, or the name ends otherwise.
    """
    import nibabel

    path = Path(path)
    if not path.name.endswith(SUFFIXES):
        raise ImageError("a NIfTI file must end in .nii or .nii.gz", found=path.suffix or "no suffix")
    if not images or len({image.shape for image in images}) != 1:
        raise ImageError("a series needs images of one size", found=f"{len(images)} images")
    pixels = np.stack([np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8).T for image in images], axis=-1)
    affine = np.array([[-1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], float)
    affine[:3] *= spacing_mm
    series = nibabel.Nifti1Image(pixels[:, :, None], affine)  # (W, H, 1, N)
    series.header["descrip"] = f"{NOT_FOR_DIAGNOSIS} {note}".strip()[:80].encode("ascii", "replace")
    data = series.to_bytes()
    with written_atomically(path) as temporary:
        temporary.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
