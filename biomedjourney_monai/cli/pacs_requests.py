"""The requests of `pacs`: from the archive, through the model, and back; one, or a work list."""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.cli.counterfactual_maker import CounterfactualMaker, Prior, finished_picture
from biomedjourney_monai.errors import BiomedJourneyError, TableError
from biomedjourney_monai.generation.provenance import region_name

if TYPE_CHECKING:
    import pydicom

    from biomedjourney_monai.clinic.pacs.archive import Archive

STORED, KEPT, WOULD = "stored", "kept", "would be stored"
NOT_TRIED = "not tried"
LOST_IN_A_ROW = 3
"""Connections lost one after the other that end a run: the archive is gone."""

RESULTS_SUFFIX = ".results.csv"


@dataclass(frozen=True, repr=False)
class Request:
    """One counterfactual that is asked for; its representation shows nothing of the patient."""

    description: str
    seed: int
    patient_id: str = ""
    study_uid: str = ""


def make_one(arguments: argparse.Namespace, archive: Archive) -> None:
    """Serve `--patient-id` or `--study`."""
    request = Request(arguments.description, arguments.seed, arguments.patient_id or "", arguments.study or "")
    outcome = serve(request, archive, CounterfactualMaker(arguments), dry_run=arguments.dry_run)
    told = {
        STORED: "stored 1 image, marked as synthetic, as a new series of its study",
        KEPT: "kept: the archive holds what this request makes",
        WOULD: "would make 1 image and store it as a new series of its study",
    }
    print(told[outcome])


def make_list(arguments: argparse.Namespace, archive: Archive) -> None:
    """Serve the rows of `--work-list`; what the archive holds already is kept.

    Raises:
        BiomedJourneyError: if the file cannot be used, if the archive is gone or refuses the credentials, or if no row
            could be served.
    """
    from tqdm import tqdm

    file = Path(arguments.work_list)
    rows = read_rows(file)
    maker = CounterfactualMaker(arguments)
    maker.generator  # noqa: B018  a missing model ends the run, not each row
    outcomes = [NOT_TRIED] * len(rows)
    lost, ended = 0, None
    try:
        for number, row in enumerate(tqdm(rows, desc="pacs", unit="image")):
            try:
                request = parse_row(row, seed=arguments.seed)
                outcomes[number] = serve(request, archive, maker, dry_run=arguments.dry_run)
                lost = 0
            except (BiomedJourneyError, OSError, ValueError) as error:
                outcomes[number] = getattr(error, "reason", "") or "row unusable"
                lost = lost + 1 if outcomes[number] == "connection lost" else 0
                if getattr(error, "ends_the_run", False) or lost == LOST_IN_A_ROW:
                    ended = error
                    break
    finally:
        _write_results(file, outcomes)
    refused = _tell(outcomes)
    if ended is not None:
        raise ended
    if not {STORED, KEPT, WOULD} & set(outcomes):
        raise BiomedJourneyError("a row of the work list must be usable", found=refused)


def serve(request: Request, archive: Archive, maker: CounterfactualMaker, *, dry_run: bool) -> str:
    """Find, retrieve, make, store.

    Returns:
        "stored", "kept" or "would be stored".

    Raises:
        BiomedJourneyError: with a reason code where a work list is to count it.
    """
    from biomedjourney_monai.clinic.pacs.latest_radiograph import check_request, check_retrieved, find_latest
    from biomedjourney_monai.radiographs.write.dicom import counterfactual_dataset, request_uids

    check_request(request.patient_id, request.study_uid)
    overruled = maker.check_description(request.description)
    found = find_latest(archive, patient_id=request.patient_id, study_uid=request.study_uid)
    retrieved = archive.retrieve(found.study_uid, found.series_uid, found.instance_uid)
    check_retrieved(retrieved, found, patient_id=request.patient_id)
    prior, source = read_retrieved(retrieved, maker)
    finished_picture(prior.image, prior)  # too small for the mark: refused before anything is generated
    region = maker.read_region(prior)
    facts = maker.metadata(prior, request.description, request.seed, overruled)
    if region is not None:
        facts["region"] = region_name(region)
    uids = request_uids(facts, source)
    if archive.holds(uids.study, uids.series, uids.instance):
        return KEPT
    if dry_run:
        return WOULD
    made = maker.make([prior], [request.description], [request.seed], region=region)
    picture = finished_picture(made.images[0, 0].cpu().numpy(), prior)
    archive.store(counterfactual_dataset(picture, facts, source))
    return STORED


def read_retrieved(retrieved: pydicom.Dataset, maker: CounterfactualMaker) -> tuple[Prior, Any]:
    """Read and check a retrieved image the way a file is read; the file is gone when this returns or raises."""
    from biomedjourney_monai.radiographs.read.dicom_header import as_image_error
    from biomedjourney_monai.radiographs.write.dicom import read_source

    with tempfile.TemporaryDirectory(prefix="biomedjourney-") as folder:  # only its owner can look into it
        path = Path(folder) / "prior.dcm"
        with as_image_error():
            retrieved.save_as(path, enforce_file_format=True)
        return maker.read_prior(path), read_source(path)


def read_rows(file: Path) -> list[dict[str, str]]:
    """Read the rows of a work list.

    Raises:
        TableError: if it is missing, no CSV, empty, or lacks a column.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            rows, names = list(reader), {str(name).strip() for name in reader.fieldnames or []}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError("--work-list must be a readable CSV file", found=type(error).__name__) from error
    if "description" not in names or not names & {"patient_id", "study_uid"}:
        raise TableError(
            "--work-list must have the columns description and patient_id or study_uid", found="another header"
        )
    if not rows:
        raise TableError("--work-list must have rows", found="none")
    return [{str(key).strip(): (value or "").strip() for key, value in row.items() if key is not None} for row in rows]


def parse_row(row: dict[str, str], *, seed: int) -> Request:
    """Take a row's request out of its columns.

    Raises:
        TableError: if the seed is out of range.
    """
    own_seed = row.get("seed") or str(seed)
    if not own_seed.isdecimal() or int(own_seed) >= 2**63:
        raise TableError("seed must be a non-negative 64-bit integer", found="another value")
    return Request(row["description"], int(own_seed), row.get("patient_id", ""), row.get("study_uid", ""))


def _write_results(file: Path, outcomes: list[str]) -> None:
    from biomedjourney_monai.files import written_atomically

    with written_atomically(file.with_name(file.name.removesuffix(".csv") + RESULTS_SUFFIX)) as temporary:
        lines = ["row,outcome", *(f"{number},{outcome}" for number, outcome in enumerate(outcomes, start=1))]
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _tell(outcomes: list[str]) -> str:
    """Print the counts; those of refusals, in words."""
    counts = Counter(outcomes)
    good = {name: counts.pop(name, 0) for name in (STORED, KEPT, WOULD)}
    not_tried = counts.pop(NOT_TRIED, 0)
    refused = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    told = [f"{good[STORED]} stored", f"{good[KEPT]} kept", f"{sum(counts.values())} refused"]
    told += [f"{good[WOULD]} would be stored"] if good[WOULD] else []
    told += [f"{not_tried} not tried"] if not_tried else []
    print(", ".join(told) + (f": {refused}" if refused else ""))
    print(f"wrote the outcome of each row to a {RESULTS_SUFFIX} file beside the list")
    return refused
