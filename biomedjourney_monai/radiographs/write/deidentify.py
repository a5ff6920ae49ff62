"""Pseudonyms for export: under one secret key, the same patient and UIDs always get the same replacements.

Whoever has the key can identify a patient by trying identifiers; without the key this is impossible. The key is stored
only in its file.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.files import make_folder

if TYPE_CHECKING:
    import pydicom

KEY_BYTES = 32
METHOD = "Rebuilt from an allow-list; IDs and UIDs replaced by keyed hash"
"""DeidentificationMethod: at most 64 characters."""


@dataclass(frozen=True)
class Pseudonyms:
    """Replacements of patients and UIDs under a secret key."""

    key: bytes = field(repr=False)

    def uid(self, original: str) -> str:
        """The replacement of a UID."""
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', original)[:16], version=4).int}"

    def patient_id(self, original: str) -> str:
        """The replacement of a PatientID."""
        return f"EXPORT-{self._digest('patient', original).hex()[:16].upper()}"

    def sign(self, dataset: pydicom.Dataset, patient_id: str) -> None:
        """Write the new patient and the method of de-identification into a data set without the old patient."""
        import pydicom

        if patient_id or not dataset.PatientID:  # without an ID the study stands for the patient
            dataset.PatientID = self.patient_id(patient_id or str(dataset.StudyInstanceUID))
            dataset.PatientName = f"{dataset.PatientID}^"
        dataset.PatientIdentityRemoved = "YES"
        dataset.LongitudinalTemporalInformationModified = "REMOVED"
        dataset.DeidentificationMethod = METHOD
        code = pydicom.Dataset()
        code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
        code.CodeMeaning = "Basic Application Confidentiality Profile"
        dataset.DeidentificationMethodCodeSequence = [code]

    def _digest(self, kind: str, original: str) -> bytes:
        return hmac.new(self.key, f"{kind}:{original.strip()}".encode(), hashlib.sha256).digest()


def default_key_file() -> Path:
    """The key's file unless another is given."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "biomedjourney_monai" / "export.key"


def read_or_make_key(path: Path) -> tuple[Pseudonyms, bool]:
    """Read the key, or draw one and store it readable by its owner alone.

    Returns:
        The pseudonyms, and whether the key is new.

    Raises:
        BiomedJourneyError: if the file does not hold a key.
    """
    made = False
    if not path.exists():
        make_folder(path.parent)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:  # another process was faster
            pass
        else:
            with os.fdopen(handle, "w", encoding="ascii") as stream:
                stream.write(secrets.token_hex(KEY_BYTES) + "\n")
            made = True
    rule = f"an export key must be a file of {2 * KEY_BYTES} hexadecimal digits"
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise BiomedJourneyError(rule, found=type(error).__name__) from error
    if len(key) < KEY_BYTES:
        raise BiomedJourneyError(rule, found=f"{2 * len(key)}")
    return Pseudonyms(key), made
