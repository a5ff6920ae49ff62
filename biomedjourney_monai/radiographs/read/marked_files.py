"""Detect from an image file's metadata that this package generated it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from biomedjourney_monai.radiographs.marking import NOT_FOR_DIAGNOSIS
from biomedjourney_monai.radiographs.read import dicom_header, nifti, photographs
from biomedjourney_monai.radiographs.read.pixels import read_bytes

if TYPE_CHECKING:
    import pydicom

COUNTERFACTUAL = "counterfactual"
"""The reason code by which such a file is refused."""

DICOM_KEYWORDS = ("ImageComments", "SeriesDescription")
"""Where DICOM files carry the mark."""


def carries_mark(path: str | Path) -> bool:
    """Look for `NOT_FOR_DIAGNOSIS` in the text of a PNG or JPEG, a DICOM file's attributes or a NIfTI header.

    A conversion, for example to JPEG, loses it; the label in the pixels is not looked for. Rendered patients do not
    carry it.

    Args:
        path: a file that `load_radiograph` accepts.

    Raises:
        ImageError: if the file cannot be read.
    """
    data = read_bytes(path)
    if photographs.is_photograph(data):
        return _is_mark(photographs.read_comment(data))
    if dicom_header.is_dicom(data):
        return header_carries_mark(dicom_header.read_header(path, DICOM_KEYWORDS, any_body_part=True))
    return nifti.is_nifti(data) and _is_mark(nifti.read_description(data))


def header_carries_mark(header: pydicom.Dataset) -> bool:
    """As `carries_mark`, for a header that was read with `DICOM_KEYWORDS`."""
    with dicom_header.as_image_error():
        return any(_is_mark(str(header.get(keyword) or "")) for keyword in DICOM_KEYWORDS)


def _is_mark(text: str) -> bool:
    return text.strip().startswith(NOT_FOR_DIAGNOSIS)
