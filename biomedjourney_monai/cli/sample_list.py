"""A list of requests: rows of prior, description and out; a bad row is counted by its reason and ends nothing."""

from __future__ import annotations

import argparse
import csv
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biomedjourney_monai.cli.counterfactual_maker import CounterfactualMaker, Prior, finished_picture
from biomedjourney_monai.cli.picture_writer import PICTURES, PictureWriter, read_pseudonyms
from biomedjourney_monai.errors import BiomedJourneyError, TableError
from biomedjourney_monai.generation.provenance import region_name

COLUMNS = ("prior", "description", "out")
MADE, KEPT = "made", "kept"
RESULTS_SUFFIX = ".results.csv"


@dataclass(frozen=True)
class Request:
    """One row."""

    prior: Path
    description: str
    out: Path
    seed: int
    region: str | None


@dataclass(frozen=True)
class Ready:
    """A row that has passed every check and still is to be made."""

    number: int
    request: Request
    prior: Prior
    region: Any
    metadata: dict[str, Any]
    writer: PictureWriter


def sample_list(arguments: argparse.Namespace) -> None:
    """Work through the rows of `--csv`; those whose picture is there, made in the same way, are kept.

    Raises:
        BiomedJourneyError: if the file cannot be used, or no row could be made.
    """
    from tqdm import tqdm

    file = Path(arguments.csv)
    rows = read_rows(file)
    maker = CounterfactualMaker(arguments)
    maker.generator  # noqa: B018  a missing model ends the run, not each row
    pseudonyms = read_pseudonyms(arguments)
    outcomes = [""] * len(rows)
    waiting: list[Ready] = []
    taken: set[Path] = set()
    started = time.perf_counter()
    with tqdm(total=len(rows), desc="sample", unit="image") as bar:
        for number, row in enumerate(rows):
            try:
                request = parse_row(row, file.parent, seed=arguments.seed)
                ready = _prepare(number, request, maker, taken, PictureWriter(request.prior, pseudonyms))
            except (BiomedJourneyError, OSError, ValueError) as error:
                outcomes[number] = getattr(error, "reason", "") or "row unusable"
                bar.update()
                continue
            if ready is None:
                outcomes[number] = KEPT
                bar.update()
                continue
            waiting.append(ready)
            if len(waiting) == arguments.batch_size:
                _make(waiting, maker, outcomes, bar)
                waiting = []
        _make(waiting, maker, outcomes, bar)
    _write_results(file, outcomes)
    _tell(outcomes, file, seconds=time.perf_counter() - started)


def read_rows(file: Path) -> list[dict[str, str | None]]:
    """Read the rows of the file.

    Raises:
        TableError: if it is missing, no CSV, empty, or lacks a column.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows, names = list(reader), [str(name).strip() for name in reader.fieldnames or []]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError("--csv must be a readable CSV file", found=type(error).__name__) from error
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise TableError(f"--csv must have the columns {', '.join(COLUMNS)}", found=f"none named {', '.join(missing)}")
    if not rows:
        raise TableError("--csv must have rows", found="none")
    return [{str(key).strip(): value for key, value in row.items() if key is not None} for row in rows]


def parse_row(row: dict[str, str | None], folder: Path, *, seed: int) -> Request:
    """Take a row's request out of its columns.

    Raises:
        TableError: if something is missing or out of range.
    """
    values = {key: (value or "").strip() for key, value in row.items()}
    if not values["prior"] or not values["out"]:
        raise TableError("a row must name prior and out", found="an empty cell")
    if Path(values["out"]).suffix.lower() not in PICTURES:
        raise TableError("out must be a PNG or DICOM file (.png, .dcm)", found="another suffix")
    own_seed = values.get("seed") or str(seed)
    if not own_seed.isdecimal() or int(own_seed) >= 2**63:
        raise TableError("seed must be a non-negative 64-bit integer", found="another value")
    region = values.get("region") or None
    if region is not None and region != "auto":
        region = str(folder / region)
    return Request(folder / values["prior"], values["description"], folder / values["out"], int(own_seed), region)


def _prepare(
    number: int, request: Request, maker: CounterfactualMaker, taken: set[Path], writer: PictureWriter
) -> Ready | None:
    """Read and check a row; None if its picture is there already."""
    if request.out in taken:
        raise TableError("each row must have an out of its own", found="one that an earlier row has")
    overruled = maker.check_description(request.description)
    prior = maker.read_prior(request.prior)
    writer.check(request.out, request.description)
    finished_picture(prior.image, prior)  # too small for the mark: refused before anything is generated
    region = maker.read_region(prior, request.region)
    metadata = maker.metadata(prior, request.description, request.seed, overruled)
    if region is not None:
        metadata["region"] = region_name(region)
    taken.add(request.out)
    if writer.is_written(request.out, metadata):
        return None
    return Ready(number, request, prior, region, metadata, writer)


def _make(waiting: list[Ready], maker: CounterfactualMaker, outcomes: list[str], bar: Any) -> None:
    """Make the pictures of rows that are ready; those without a region of their own go together."""
    groups: dict[str, list[Ready]] = {}
    for ready in waiting:
        key = "" if ready.region is None else "auto" if isinstance(ready.region, str) else f"mask {ready.number}"
        groups.setdefault(key, []).append(ready)
    for group in groups.values():
        made = maker.make(
            [ready.prior for ready in group],
            [ready.request.description for ready in group],
            [ready.request.seed for ready in group],
            region=group[0].region,
        )
        for ready, image in zip(group, made.images[:, 0].cpu().numpy()):
            try:
                ready.writer.write(ready.request.out, finished_picture(image, ready.prior), ready.metadata)
                outcomes[ready.number] = MADE
            except OSError:
                outcomes[ready.number] = "out not writable"
            bar.update()


def _write_results(file: Path, outcomes: list[str]) -> None:
    from biomedjourney_monai.files import written_atomically

    with written_atomically(file.with_name(file.name.removesuffix(".csv") + RESULTS_SUFFIX)) as temporary:
        lines = ["row,outcome", *(f"{number},{outcome}" for number, outcome in enumerate(outcomes, start=1))]
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _tell(outcomes: list[str], file: Path, *, seconds: float) -> None:
    counts = Counter(outcomes)
    made, kept = counts.pop(MADE, 0), counts.pop(KEPT, 0)
    refused = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    print(f"{made} made, {kept} kept, {sum(counts.values())} refused" + (f": {refused}" if refused else ""))
    if made:
        print(f"{made / seconds:.2f} images/s")
    if not made and not kept:
        raise BiomedJourneyError(
            "a row of the list must be usable", found=refused, action="Look at the results beside the list"
        )
    print(f"wrote {file.name.removesuffix('.csv') + RESULTS_SUFFIX} beside the list")
