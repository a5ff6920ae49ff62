"""Write a counterfactual in the format of its file's suffix: PNG, NIfTI or DICOM, on site or for export."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from biomedjourney_monai.errors import BiomedJourneyError, ImageError
from biomedjourney_monai.generation.detail import TRANSFER
from biomedjourney_monai.generation.prior import Prior
from biomedjourney_monai.output_check import full_disk_named, refuse_inputs
from biomedjourney_monai.preparation.reports.identifiers import find_identifiers
from biomedjourney_monai.radiographs import save_png
from biomedjourney_monai.radiographs.read.dicom_header import is_dicom
from biomedjourney_monai.radiographs.read.nifti import is_nifti
from biomedjourney_monai.radiographs.write.dicom import (
    counterfactual_dataset,
    is_dicom_name,
    is_written,
    request_uids,
    save_dicom,
)
from biomedjourney_monai.radiographs.write.dicom_source import read_source, refuse_burned_in
from biomedjourney_monai.radiographs.write.nifti import is_nifti_name, read_note, save_nifti_like, save_nifti_series

if TYPE_CHECKING:
    import pydicom

    from biomedjourney_monai.radiographs.film import Film
    from biomedjourney_monai.radiographs.write.deidentify import Pseudonyms

SUFFIXES = (".nii.gz", ".nii", ".png", ".dcm", ".dicom")


def suffix_like(prior: str | Path) -> str:
    """The suffix of the prior's own format: ".dcm", ".nii.gz", or ".png" for photographs."""
    with Path(prior).open("rb") as stream:
        begin = stream.read(1024)
    if is_dicom(begin):
        return ".dcm"
    try:
        return ".nii.gz" if is_nifti(begin) else ".png"
    except ImageError:  # compressed, but not NIfTI
        return ".png"


def check_suffix(path: str | Path, *, name: str = "--out") -> str:
    """The suffix of a file to write; suffixes of other formats are refused. `name` is the argument's, for the error.

    Raises:
        BiomedJourneyError: naming the suffix.
    """
    found = next((suffix for suffix in SUFFIXES if str(path).lower().endswith(suffix)), None)
    if found is None:
        kinds = "PNG, NIfTI or DICOM file (.png, .nii, .nii.gz, .dcm)"
        raise BiomedJourneyError(f"{name} must be a {kinds}", found=Path(path).suffix or "no suffix")
    return str(path)[len(str(path)) - len(found) :]


def beside(path: str | Path, word: str, *, suffix: str = ".png") -> Path:
    """`made.dcm` and "mean" to `made-mean.png`."""
    path = Path(path)
    stem = Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem
    return path.with_name(f"{stem}-{word}{suffix}")


def sample_names(path: str | Path, count: int) -> list[Path]:
    """The files of several samples: `made.png`, `made-02.png`, `made-03.png`."""
    suffix = check_suffix(path)
    return [Path(path), *(beside(path, f"{number:02d}", suffix=suffix) for number in range(2, count + 1))]


class PictureWriter:
    """Writes the counterfactuals of one prior.

    Args:
        prior: the prior or its file; DICOM attributes and the NIfTI voxel grid are copied from it. With a `Prior`,
            pixels that equal the prior's are written with the prior's stored values, if the metadata of the picture
            say that detail was transferred; otherwise DICOM and NIfTI have 8 bits.
        pseudonyms: for export.
    """

    def __init__(self, prior: Prior | str | Path, pseudonyms: Pseudonyms | None = None) -> None:
        self.prior = prior if isinstance(prior, Prior) else None
        self.file = prior.file if isinstance(prior, Prior) else Path(prior)
        self.pseudonyms = pseudonyms
        given = prior.source if isinstance(prior, Prior) else None
        self._source: tuple[pydicom.Dataset | None] | None = None if given is None and self.file else (given,)

    def check(self, out: str | Path, description: str) -> None:
        """Refuse a prior whose UIDs cannot be kept, and an export that is not DICOM or would carry an identifier.

        Raises:
            BiomedJourneyError: naming what was found.
        """
        if is_dicom_name(out):
            self._read_source()
        if self.pseudonyms is None:
            return
        if not is_dicom_name(out):
            raise BiomedJourneyError(
                "--export writes DICOM", found=Path(out).suffix or "no suffix", action="Name a .dcm file"
            )
        kinds = find_identifiers(description)
        if kinds:
            raise BiomedJourneyError("a description to export must not contain an identifier", found=f"a {kinds[0]}")
        refuse_burned_in(self._read_source())

    def write(
        self,
        out: str | Path,
        picture: np.ndarray,
        facts: Mapping[str, Any],
        *,
        number: int = 1,
        series_facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one marked picture, float in [0, 1], shape (H, W); see `counterfactual_dataset` for the rest.

        Raises:
            OutputError: if `out` is the prior, or the disk is full.
        """
        refuse_inputs([out], {"the prior": self.file}, name="out")
        with full_disk_named():
            if is_nifti_name(out) and self.file is not None:
                save_nifti_like(out, picture, self.file, note=_note(facts), film=self._film(facts))
            elif is_nifti_name(out):
                save_nifti_series(out, [picture], note=_note(facts))
            elif is_dicom_name(out):
                save_dicom(out, self.dataset(picture, facts, number=number, series_facts=series_facts))
            else:
                save_png(out, picture, metadata=facts)

    def dataset(
        self,
        picture: np.ndarray,
        facts: Mapping[str, Any],
        *,
        number: int = 1,
        series_facts: Mapping[str, Any] | None = None,
    ) -> pydicom.Dataset:
        """The DICOM data set of one picture; see `counterfactual_dataset`."""
        return counterfactual_dataset(
            picture,
            facts,
            self._read_source(),
            number=number,
            series_facts=series_facts,
            pseudonyms=self.pseudonyms,
            film=self._film(facts),
        )

    def is_written(self, out: str | Path, facts: Mapping[str, Any]) -> bool:
        """Whether the file exists and has the same metadata."""
        if is_nifti_name(out):
            return read_note(out) == _note(facts)
        if is_dicom_name(out):
            return is_written(out, request_uids(facts, self._read_source(), pseudonyms=self.pseudonyms))
        try:
            with Image.open(out, formats=("PNG",)) as picture:
                picture.load()
                return getattr(picture, "text", None) == {key: str(value) for key, value in facts.items()}
        except (OSError, SyntaxError, ValueError):
            return False

    def _film(self, facts: Mapping[str, Any]) -> Film | None:
        return self.prior.film if self.prior is not None and facts.get("detail") == TRANSFER else None

    def _read_source(self) -> pydicom.Dataset | None:
        """The attributes that a DICOM file copies from the prior; see `read_source`."""
        if self._source is None:
            assert self.file is not None
            self._source = (read_source(self.file),)
        return self._source[0]


def _note(facts: Mapping[str, Any]) -> str:
    """A hash of the metadata, short enough for a NIfTI header."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]
