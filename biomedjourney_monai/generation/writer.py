"""Write a counterfactual in the format that its file's suffix names: PNG, NIfTI or DICOM, in house or for export."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.errors import ImageError

if TYPE_CHECKING:
    import numpy as np

    from biomedjourney_monai.radiographs.write.deidentify import Pseudonyms

NIFTI = (".nii", ".nii.gz")


def suffix_like(prior: str | Path) -> str:
    """The suffix of the format that a prior has: ".dcm", ".nii.gz", or ".png" for photographs."""
    from biomedjourney_monai.radiographs.read.dicom_header import is_dicom
    from biomedjourney_monai.radiographs.read.nifti import is_nifti

    with Path(prior).open("rb") as stream:
        begin = stream.read(1024)
    if is_dicom(begin):
        return ".dcm"
    try:
        return ".nii.gz" if is_nifti(begin) else ".png"
    except ImageError:  # compressed, and no NIfTI
        return ".png"


class PictureWriter:
    """Writes what is made of one prior.

    Args:
        prior: the prior's file; what DICOM and NIfTI have beside pixels is taken over from it.
        pseudonyms: for export.
    """

    def __init__(self, prior: str | Path, pseudonyms: Pseudonyms | None = None) -> None:
        self.prior, self.pseudonyms = prior, pseudonyms
        self._source: Any = None

    def write(
        self,
        out: str | Path,
        picture: np.ndarray,
        facts: Mapping[str, Any],
        *,
        number: int = 1,
        series_facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one marked picture; for `number` and `series_facts` see `counterfactual_dataset`."""
        from biomedjourney_monai.radiographs import save_png
        from biomedjourney_monai.radiographs.write.dicom import counterfactual_dataset, is_dicom_name, save_dicom
        from biomedjourney_monai.radiographs.write.nifti import save_nifti_like

        if str(out).endswith(NIFTI):
            save_nifti_like(out, picture, self.prior, note=_note(facts))
            return
        if not is_dicom_name(out):
            save_png(out, picture, metadata=facts)
            return
        dataset = counterfactual_dataset(
            picture,
            facts,
            self.read_source(),
            number=number,
            series_facts=series_facts,
            pseudonyms=self.pseudonyms,
        )
        save_dicom(out, dataset)

    def is_written(self, out: str | Path, facts: Mapping[str, Any]) -> bool:
        """Whether the file is there and was made in the same way."""
        from PIL import Image

        from biomedjourney_monai.radiographs.write.dicom import is_dicom_name, is_written, request_uids
        from biomedjourney_monai.radiographs.write.nifti import read_note

        if str(out).endswith(NIFTI):
            return read_note(out) == _note(facts)
        if is_dicom_name(out):
            return is_written(out, request_uids(facts, self.read_source(), pseudonyms=self.pseudonyms))
        try:
            with Image.open(out, formats=("PNG",)) as picture:
                picture.load()
                return picture.text == {key: str(value) for key, value in facts.items()}
        except (OSError, SyntaxError, ValueError):
            return False

    def read_source(self) -> Any:
        """What a DICOM file takes over from the prior; None if that is no DICOM."""
        if self._source is None:
            from biomedjourney_monai.radiographs.write.dicom import read_source

            self._source = (read_source(self.prior),)
        return self._source[0]


def _note(facts: Mapping[str, Any]) -> str:
    """What tells a request from others in the few letters that NIfTI has for it."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]
