"""Write a counterfactual in the format that its file's suffix names: PNG or DICOM, in house or for export."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.errors import BiomedJourneyError

if TYPE_CHECKING:
    import numpy as np

    from biomedjourney_monai.clinic.deidentify import Pseudonyms

PICTURES = (".png", ".dcm", ".dicom")


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """DICOM that may leave the house."""
    export = parser.add_argument_group("DICOM for export")
    export.add_argument(
        "--export",
        action="store_true",
        help="de-identify the DICOM that is written: new patient, UIDs and no dates, always the same under one key",
    )
    export.add_argument(
        "--export-key",
        metavar="FILE",
        help="secret key, made if it is missing (default: ~/.config/biomedjourney_monai/export.key)",
    )


def read_pseudonyms(arguments: argparse.Namespace) -> Pseudonyms | None:
    """Pseudonyms for `--export`, None without it."""
    if not getattr(arguments, "export", False):
        return None
    from biomedjourney_monai.clinic.deidentify import default_key_file, read_or_make_key

    path = Path(arguments.export_key) if arguments.export_key else default_key_file()
    pseudonyms, made = read_or_make_key(path)
    if made:
        print("made a new export key; keep it secret, and keep it: other keys give other patients and UIDs")
    return pseudonyms


def check_suffix(path: str | Path, *, rule: str = "--out must be a PNG or DICOM file (.png, .dcm)") -> None:
    """Refuse names of other formats.

    Raises:
        BiomedJourneyError: naming the suffix.
    """
    if Path(path).suffix.lower() not in PICTURES:
        raise BiomedJourneyError(rule, found=Path(path).suffix or "no suffix")


class PictureWriter:
    """Writes what is made of one prior.

    Args:
        prior: the prior's file; DICOM is taken over from it, if it is DICOM.
        pseudonyms: of `read_pseudonyms`.
    """

    def __init__(self, prior: str | Path, pseudonyms: Pseudonyms | None = None) -> None:
        self.prior, self.pseudonyms = prior, pseudonyms
        self._source: Any = None

    def check(self, out: str | Path, description: str) -> None:
        """Refuse, before anything is made, what is not to be written.

        Raises:
            BiomedJourneyError: if the export would be no DICOM, or carry an identifier or burned-in text.
        """
        if self.pseudonyms is None:
            return
        from biomedjourney_monai.clinic.dicom_out import is_dicom_name, refuse_burned_in
        from biomedjourney_monai.preparation.identifiers import find_identifiers

        if not is_dicom_name(out):
            raise BiomedJourneyError("--export writes DICOM", found="another suffix", action="Name a .dcm file")
        kinds = find_identifiers(description)
        if kinds:
            raise BiomedJourneyError("a description to export must hold no identifier", found=f"a {kinds[0]}")
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
        """Write one marked picture; for `number` and `series_facts` see `counterfactual_dataset`."""
        from biomedjourney_monai.clinic.dicom_out import counterfactual_dataset, is_dicom_name, save_dicom
        from biomedjourney_monai.radiographs import save_png

        if not is_dicom_name(out):
            save_png(out, picture, metadata=facts)
            return
        dataset = counterfactual_dataset(
            picture,
            facts,
            self._read_source(),
            number=number,
            series_facts=series_facts,
            pseudonyms=self.pseudonyms,
        )
        save_dicom(out, dataset)

    def is_written(self, out: str | Path, facts: Mapping[str, Any]) -> bool:
        """Whether the file is there and was made in the same way."""
        from PIL import Image

        from biomedjourney_monai.clinic.dicom_out import is_dicom_name, is_written, request_uids

        if is_dicom_name(out):
            return is_written(out, request_uids(facts, self._read_source(), pseudonyms=self.pseudonyms))
        try:
            with Image.open(out, formats=("PNG",)) as picture:
                return picture.text == {key: str(value) for key, value in facts.items()}
        except (OSError, SyntaxError, ValueError):
            return False

    def _read_source(self) -> Any:
        if self._source is None:
            from biomedjourney_monai.clinic.dicom_out import read_source

            self._source = (read_source(self.prior),)
        return self._source[0]
