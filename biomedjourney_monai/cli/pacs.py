"""Make counterfactuals of an archive's radiographs, and store them there.

Asks a DICOMweb archive (QIDO) for the latest PA radiograph of a patient or of a study, retrieves it (WADO), makes the
counterfactual, and stores it (STOW) as a new series of the same study, marked as synthetic. The same request is stored
once: its UIDs follow from it, and the archive is asked for them first, so a work list goes on where it stopped. The
password or token is read from a file or from the environment (BIOMEDJOURNEY_PACS_PASSWORD, BIOMEDJOURNEY_PACS_TOKEN).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from biomedjourney_monai.cli.sampling_arguments import add_control_arguments, add_sampling_arguments
from biomedjourney_monai.errors import BiomedJourneyError

if TYPE_CHECKING:
    from biomedjourney_monai.clinic.pacs.archive import Archive

EXAMPLE = (
    "biomedjourney pacs --url https://pacs.example/dicom-web --user ana --password-file secret --ca ca.pem"
    ' --study 1.2.3 --description "New mild cardiomegaly." --dry-run\n'
    "  biomedjourney pacs --url http://127.0.0.1:8042/dicom-web --token-file token --work-list list.csv"
)
PASSWORD_VARIABLE, TOKEN_VARIABLE = "BIOMEDJOURNEY_PACS_PASSWORD", "BIOMEDJOURNEY_PACS_TOKEN"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    archive = parser.add_argument_group("the archive")
    archive.add_argument("--url", required=True, help="its DICOMweb service")
    archive.add_argument("--user", metavar="NAME", help="for basic authentication")
    archive.add_argument("--password-file", metavar="FILE", help=f"its password (default: ${PASSWORD_VARIABLE})")
    archive.add_argument("--token-file", metavar="FILE", help=f"bearer token (default: ${TOKEN_VARIABLE})")
    archive.add_argument("--ca", metavar="FILE", help="certificates (PEM) to trust, of the archive's own authority")
    archive.add_argument("--timeout", type=float, default=60, metavar="S", help="seconds to wait (default: 60)")
    archive.add_argument("--dry-run", action="store_true", help="query, retrieve and check, but make and store nothing")
    one = parser.add_argument_group("one request")
    one.add_argument("--patient-id", metavar="ID", help="take the latest PA radiograph of this patient")
    one.add_argument("--study", metavar="UID", help="take the latest PA radiograph of this study")
    one.add_argument("--description", metavar="TEXT", help="how the disease goes on")
    many = parser.add_argument_group("many requests")
    many.add_argument(
        "--work-list",
        metavar="FILE",
        help="CSV with the columns description and patient_id or study_uid, and seed if you like",
    )
    add_control_arguments(parser)
    add_sampling_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    one = arguments.patient_id or arguments.study
    if bool(one) == bool(arguments.work_list) or bool(one) != bool(arguments.description):
        raise BiomedJourneyError(
            "pacs takes one request or one work list",
            found="both, neither, or half a request",
            action="Pass --patient-id ID or --study UID with --description TEXT, or --work-list FILE",
        )
    archive = connect(arguments, os.environ)
    if one:
        from biomedjourney_monai.cli.pacs_requests import make_one

        make_one(arguments, archive)
    else:
        from biomedjourney_monai.cli.pacs_requests import make_list

        make_list(arguments, archive)


def connect(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Archive:
    """The archive, with credentials that are read and never shown.

    Raises:
        BiomedJourneyError: if they are contradictory or missing.
    """
    from biomedjourney_monai.clinic.pacs.archive import Archive, is_unprotected

    a = arguments
    if a.user and a.token_file:
        raise BiomedJourneyError("an archive takes a user or a token", found="--user and --token-file")
    if a.password_file and not a.user:
        raise BiomedJourneyError("a password goes with a user", found="no --user")
    if not a.timeout > 0:
        raise BiomedJourneyError("--timeout must be > 0", found=str(a.timeout))
    if a.ca and not Path(a.ca).is_file():
        raise BiomedJourneyError("--ca must be a file of certificates", found="no such file")
    password = token = None
    if a.user:
        password = _read_secret(a.password_file, environment.get(PASSWORD_VARIABLE), "password")
    elif a.token_file or environment.get(TOKEN_VARIABLE):
        token = _read_secret(a.token_file, environment.get(TOKEN_VARIABLE), "token")
    archive = Archive(a.url, user=a.user, password=password, token=token, ca_file=a.ca, timeout=a.timeout)
    if is_unprotected(a.url):
        print(
            "warning: --url is http to another machine: images and credentials can be read on the way", file=sys.stderr
        )
    return archive


def _read_secret(file: str | None, given: str | None, name: str) -> str:
    try:
        secret = Path(file).read_text(encoding="utf-8").strip() if file else (given or "")
    except (OSError, UnicodeDecodeError) as error:
        raise BiomedJourneyError(f"the file of the {name} must be readable", found=type(error).__name__) from error
    if not secret or any(ord(letter) < 32 for letter in secret):
        raise BiomedJourneyError(
            f"a {name} must be one line",
            found="none" if not secret else "several",
            action=f"Pass --{name}-file FILE or set BIOMEDJOURNEY_PACS_{name.upper()}",
        )
    return secret
