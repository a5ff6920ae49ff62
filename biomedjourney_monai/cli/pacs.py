"""Make counterfactuals of an archive's radiographs, and store them there.

Queries a DICOMweb archive (QIDO) for the latest frontal radiograph of a patient or of a study, retrieves it (WADO),
makes the counterfactual, and stores it (STOW) as a new series of the same study, marked as synthetic. A request is
stored once: its UIDs are derived from it and queried first, so a work list resumes where it stopped. If a PatientID
has several patients, nothing is made: name the issuer or the accession number. The password or token is read from a
file or from the environment (BIOMEDJOURNEY_PACS_PASSWORD, BIOMEDJOURNEY_PACS_TOKEN).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from biomedjourney_monai.cli.arguments import add_control_arguments, add_sampling_arguments, counterfactual_model, warn
from biomedjourney_monai.errors import BiomedJourneyError

if TYPE_CHECKING:
    from biomedjourney_monai.clinic.pacs.archive import Archive
    from biomedjourney_monai.generation.model import CounterfactualModel

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
    one.add_argument("--patient-id", metavar="ID", help="take the latest frontal radiograph of this patient")
    one.add_argument("--study", metavar="UID", help="take the latest frontal radiograph of this study")
    one.add_argument("--issuer", metavar="NAME", help="issuer of the PatientID, where several sites use it")
    one.add_argument("--accession-number", metavar="NUMBER", help="of the study, if a PatientID has several patients")
    one.add_argument("--description", metavar="TEXT", help="how the disease progresses")
    many = parser.add_argument_group("many requests")
    columns = "CSV with description and patient_id or study_uid, and optionally seed, issuer and accession_number"
    many.add_argument("--work-list", metavar="FILE", help=columns)
    add_control_arguments(parser)
    add_sampling_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    one = arguments.patient_id or arguments.study
    if bool(one) == bool(arguments.work_list) or bool(one) != bool(arguments.description):
        raise BiomedJourneyError(
            "pacs takes one request or one work list",
            found="both, neither, or an incomplete request",
            action="Pass --patient-id ID or --study UID with --description TEXT, or --work-list FILE",
        )
    if arguments.work_list and (arguments.issuer or arguments.accession_number):
        action = "Give the list columns issuer and accession_number"
        raise BiomedJourneyError("--issuer and --accession-number go with one request", found="a list", action=action)
    archive = connect(arguments, os.environ)
    model = counterfactual_model(arguments)
    (_serve_one if one else _serve_list)(arguments, archive, model)


def _serve_one(arguments: argparse.Namespace, archive: Archive, model: CounterfactualModel) -> None:
    from biomedjourney_monai.clinic.pacs.latest_radiograph import Query
    from biomedjourney_monai.clinic.pacs.requests import STORED, WOULD, ArchiveRequest, serve
    from biomedjourney_monai.generation.outcomes import KEPT

    a = arguments
    query = Query(a.patient_id or "", a.study or "", a.issuer or "", a.accession_number or "")
    request = ArchiveRequest(query, a.description, a.seed, region=a.region, force=a.force)
    outcome = serve(request, archive, model, dry_run=a.dry_run, warn=warn, say=print)
    lines = {
        STORED: "stored 1 image, marked as synthetic, as a new series of its study",
        KEPT: "kept: the archive already holds the result of this request",
        WOULD: "would make 1 image and store it as a new series of its study",
    }
    print(lines[outcome])


def _serve_list(arguments: argparse.Namespace, archive: Archive, model: CounterfactualModel) -> None:
    from biomedjourney_monai.clinic.pacs.requests import STORED, WOULD, serve_list
    from biomedjourney_monai.generation.outcomes import KEPT, NOT_TRIED, RESULTS_SUFFIX, count_outcomes

    a = arguments
    outcomes, ended = serve_list(
        a.work_list, archive, model, seed=a.seed, region=a.region, force=a.force, dry_run=a.dry_run, warn=warn
    )
    tried = [outcome for outcome in outcomes if outcome != NOT_TRIED]
    good, count, refused = count_outcomes(tried, (STORED, KEPT, WOULD))
    parts = [f"{good[STORED]} stored", f"{good[KEPT]} kept", f"{count} refused"]
    parts += [f"{good[WOULD]} would be stored"] if good[WOULD] else []
    parts += [f"{len(outcomes) - len(tried)} not tried"] if len(tried) < len(outcomes) else []
    print(", ".join(parts) + (f": {refused}" if refused else ""))
    print(f"wrote the outcome of each row to a {RESULTS_SUFFIX} file beside the list")
    if ended is not None:
        raise ended
    if not any(good.values()):
        raise BiomedJourneyError("a row of the work list must be usable", found=refused)


def connect(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Archive:
    """The archive, with credentials that are never shown.

    Raises:
        BiomedJourneyError: if the credentials are missing or contradictory.
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
        warn("--url is http to another machine: images and credentials can be read in transit")
    return archive


def _read_secret(file: str | None, given: str | None, name: str) -> str:
    try:
        secret = Path(file).read_text(encoding="utf-8").strip() if file else (given or "")
    except (OSError, UnicodeDecodeError) as error:
        raise BiomedJourneyError(f"the file of the {name} must be readable", found=type(error).__name__) from error
    if not secret or any(ord(letter) < 32 for letter in secret):
        action = f"Pass --{name}-file FILE or set BIOMEDJOURNEY_PACS_{name.upper()}"
        raise BiomedJourneyError(f"a {name} must be one line", found="several" if secret else "none", action=action)
    return secret
