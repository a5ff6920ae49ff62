"""Requests to an archive, single or in a work list: find the radiograph, retrieve it, generate, store."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from biomedjourney_monai.clinic.pacs.archive import Archive
from biomedjourney_monai.clinic.pacs.latest_radiograph import Query, check_retrieved, find_latest
from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.generation.model import CounterfactualModel
from biomedjourney_monai.generation.outcomes import KEPT, NOT_TRIED, noting, reason_of, results_file, write_outcomes
from biomedjourney_monai.generation.prior import Prior, read_prior
from biomedjourney_monai.generation.request import Request
from biomedjourney_monai.generation.request_table import parse_seed, read_request_table, refuse_surplus
from biomedjourney_monai.generation.writer import PictureWriter
from biomedjourney_monai.output_check import full_disk_named, refuse_unwritable
from biomedjourney_monai.radiographs.read.dicom_header import as_image_error
from biomedjourney_monai.radiographs.write.dicom import request_uids
from biomedjourney_monai.radiographs.write.dicom_source import read_source

if TYPE_CHECKING:
    import pydicom

STORED, WOULD = "stored", "would be stored"
LOST_IN_A_ROW = 3
"""Number of consecutive lost connections that end a run: the archive cannot be reached."""


@dataclass(frozen=True, repr=False)
class ArchiveRequest:
    """A request for one counterfactual; its representation shows nothing of the patient.

    Attributes:
        query: whose radiograph to take.
        description: the progression description.
        seed: of the noise.
        region: None, "auto" or a mask's path.
        force: overrule refusals of the prior or the description.
    """

    query: Query
    description: str
    seed: int
    region: str | None = None
    force: bool = False


def serve(
    request: ArchiveRequest,
    archive: Archive,
    model: CounterfactualModel,
    *,
    dry_run: bool = False,
    warn: Callable[[str], None] = lambda warning: None,
    say: Callable[[str], None] = lambda line: None,
) -> str:
    """Find, retrieve, generate, store; returns "stored", "kept" or "would be stored".

    `say` is called with what was understood of the description.

    Raises:
        BiomedJourneyError: some with a reason code, by which a work list counts them.
    """
    request.query.check()
    described = model.check_description(request.description, force=request.force)  # before anything is retrieved
    if described.understood:
        say(described.understood)
    found = find_latest(archive, request.query)
    retrieved = archive.retrieve(found.study_uid, found.series_uid, found.instance_uid)
    check_retrieved(retrieved, found)
    prior = _read_retrieved(retrieved, size=model.size)
    asked = Request(prior, request.description, seed=request.seed, region=request.region, force=request.force)
    checked = model.check(asked)
    for warning in checked.warnings:
        warn(warning)
    uids = request_uids(model.documents(checked)[0], prior.source)
    if archive.holds(uids.study, uids.series, uids.instance):
        return KEPT
    if dry_run:
        return WOULD
    result = model.run(checked)
    archive.store(PictureWriter(prior).dataset(result.images[0], result.documents[0]))
    for warning in result.effect_warnings:
        warn(warning)
    return STORED


def serve_list(
    file: str | Path,
    archive: Archive,
    model: CounterfactualModel,
    *,
    seed: int = 0,
    region: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    warn: Callable[[str], None] = lambda warning: None,
) -> tuple[list[str], Exception | None]:
    """Serve the rows of a work list; instances that the archive holds already are kept. The outcomes
    go next to the list, after each row.

    Args:
        file: CSV with the columns description and patient_id or study_uid, and optionally seed, issuer and
            accession_number.
        seed: default for rows without a seed.
        region: None, "auto" or a mask's path.
        force: overrule refusals of priors and descriptions.
        dry_run: query, retrieve and check, but generate and store nothing.

    Returns:
        The outcome of each row, and the error that ended the run early, or None.

    Raises:
        TableError: if the file cannot be used.
    """
    rows = read_request_table(file, option="--work-list", columns=("description",), any_of=("patient_id", "study_uid"))
    results = results_file(Path(file))
    refuse_unwritable(results, name="the results beside --work-list")
    _ = model.generator  # a missing model ends the run, not each row
    outcomes, codes = [NOT_TRIED] * len(rows), [""] * len(rows)
    lost = 0
    for number, row in enumerate(tqdm(rows, desc="pacs", unit="image")):
        failure: Exception | None = None
        try:
            refuse_surplus(row)
            own_seed = parse_seed(row.get("seed", ""), seed)
            who = Query(**{field.name: row.get(field.name, "") for field in fields(Query)})
            request = ArchiveRequest(who, row["description"], own_seed, region=region, force=force)
            outcomes[number] = serve(request, archive, model, dry_run=dry_run, warn=noting(warn, codes, number))
        except (BiomedJourneyError, OSError, ValueError) as error:
            outcomes[number], failure = reason_of(error), error
        lost = lost + 1 if outcomes[number] == "connection lost" else 0
        with full_disk_named():
            write_outcomes(results, outcomes, codes=codes)
        if failure is not None and (getattr(failure, "ends_the_run", False) or lost == LOST_IN_A_ROW):
            return outcomes, failure
    return outcomes, None


def _read_retrieved(retrieved: pydicom.Dataset, *, size: int) -> Prior:
    """Read a retrieved image through a temporary file."""
    with tempfile.TemporaryDirectory(prefix="biomedjourney-") as folder:  # only its owner may read it
        path = Path(folder) / "prior.dcm"
        with as_image_error(), full_disk_named():
            retrieved.save_as(path, enforce_file_format=True)
        read = read_prior(path, size=size)
        return replace(read, file=None, source=read_source(path), pixels=read.film)
