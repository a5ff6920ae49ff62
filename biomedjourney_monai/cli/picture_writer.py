"""The arguments of export, and what is refused before a picture is written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.generation import writer as picture_writer

if TYPE_CHECKING:
    from biomedjourney_monai.radiographs.write.deidentify import Pseudonyms

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
    from biomedjourney_monai.radiographs.write.deidentify import default_key_file, read_or_make_key

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


class PictureWriter(picture_writer.PictureWriter):
    """Writes what is made of one prior, and refuses before anything is made what is not to be written."""

    def check(self, out: str | Path, description: str) -> None:
        """Refuse an export that would be no DICOM, or carry an identifier or burned-in text.

        Raises:
            BiomedJourneyError: naming what was found.
        """
        if self.pseudonyms is None:
            return
        from biomedjourney_monai.preparation.reports.identifiers import find_identifiers
        from biomedjourney_monai.radiographs.write.dicom import is_dicom_name, refuse_burned_in

        if not is_dicom_name(out):
            raise BiomedJourneyError("--export writes DICOM", found="another suffix", action="Name a .dcm file")
        kinds = find_identifiers(description)
        if kinds:
            raise BiomedJourneyError("a description to export must hold no identifier", found=f"a {kinds[0]}")
        refuse_burned_in(self.read_source())
