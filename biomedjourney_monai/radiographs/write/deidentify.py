"""Pseudonyms for export: the same patient and the same UIDs always become the same new ones, under one secret key.

Who has the key can find a patient again by trying identifiers; who has it not, cannot. The key never leaves its file.
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

if TYPE_CHECKING:
    import pydicom

KEY_BYTES = 32
METHOD = "Rebuilt from an allow-list; IDs and UIDs replaced by keyed hash"
"""DeidentificationMethod: at most 64 characters."""


@dataclass(frozen=True)
class Pseudonyms:
    """New names under a secret key."""

    key: bytes = field(repr=False)

    def uid(self, original: str) -> str:
        """The UID in the place of another."""
        digest = self._digest("uid", original)
        return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"

    def patient_id(self, original: str) -> str:
        """The PatientID in the place of another."""
        return f"EXPORT-{self._digest('patient', original).hex()[:16].upper()}"

    def sign(self, dataset: pydicom.Dataset, patient_id: str) -> None:
        """Put the new patient into a data set that holds nothing of the old one, and say that this was done."""
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
    """Where the key lies if no other place is named."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "biomedjourney_monai" / "export.key"


def read_or_make_key(path: Path) -> tuple[Pseudonyms, bool]:
    """Read the key, or draw one and keep it where only its owner can read it.

    Returns:
        The pseudonyms, and whether the key was made now.

    Raises:
        BiomedJourneyError: if the file is no key.
    """
    made = False
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:  # another process was faster
            pass
        else:
            with os.fdopen(handle, "w", encoding="ascii") as stream:
                stream.write(secrets.token_hex(KEY_BYTES) + "\n")
            made = True
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise BiomedJourneyError("an export key must be a file of hexadecimal digits", found="another file") from error
    if len(key) < KEY_BYTES:
        raise BiomedJourneyError(f"an export key must have {2 * KEY_BYTES} hexadecimal digits", found="fewer")
    return Pseudonyms(key), made
