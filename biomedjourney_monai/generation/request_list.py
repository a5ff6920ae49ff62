"""A list of requests: rows of prior, description and out. A bad row is counted by its reason; the run continues."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from biomedjourney_monai.errors import BiomedJourneyError, TableError
from biomedjourney_monai.generation.model import BATCH_SIZE, CounterfactualModel
from biomedjourney_monai.generation.outcomes import KEPT, MADE, noting, reason_of, results_file, write_outcomes
from biomedjourney_monai.generation.request import Checked, Request
from biomedjourney_monai.generation.request_table import parse_seed, read_request_table
from biomedjourney_monai.generation.writer import PICTURES, PictureWriter

if TYPE_CHECKING:
    from biomedjourney_monai.radiographs.write.deidentify import Pseudonyms

COLUMNS = ("prior", "description", "out")


@dataclass(frozen=True)
class ListResult:
    """The outcome of each row, the file that holds them, and the time."""

    outcomes: list[str]
    file: Path
    seconds: float


@dataclass(frozen=True)
class _Ready:
    """A row that passed all checks."""

    number: int
    out: Path
    checked: Checked
    facts: dict[str, Any]
    writer: PictureWriter


def generate_list(
    model: CounterfactualModel,
    file: str | Path,
    *,
    seed: int = 0,
    region: str | None = None,
    force: bool = False,
    batch_size: int = BATCH_SIZE,
    pseudonyms: Pseudonyms | None = None,
    warn: Callable[[str], None] = lambda warning: None,
) -> ListResult:
    """Generate every row of a CSV file; pictures that exist and were made in the same way are kept.

    Args:
        file: CSV with the columns prior, description and out, and optionally seed and region; paths are relative to it.
        seed: default for rows without a seed.
        region: default for rows without a region: a mask's path, or "auto".
        force: overrule refusals of priors and descriptions.
        batch_size: images in one batch.
        pseudonyms: for DICOM export.

    Raises:
        BiomedJourneyError: if the file or the model cannot be used.
    """
    file = Path(file)
    rows = read_request_table(file, option="--csv", columns=COLUMNS)
    _ = model.generator  # a missing model ends the run, not each row
    outcomes, codes, waiting, taken = [""] * len(rows), [""] * len(rows), [], set[Path]()
    started = time.perf_counter()
    with tqdm(total=len(rows), desc="sample", unit="image") as bar:
        for number, row in enumerate(rows):
            try:
                request, out = _parse_row(row, file.parent, seed=seed, region=region, force=force)
                ready = _prepare(number, request, out, model, taken, pseudonyms, noting(warn, codes, number))
                outcomes[number] = KEPT if ready is None else ""
            except (BiomedJourneyError, OSError, ValueError) as error:
                ready, outcomes[number] = None, reason_of(error)
            if ready is None:
                bar.update()
                continue
            waiting.append(ready)
            if len(waiting) == batch_size:
                _generate(waiting, model, outcomes, bar, partial(noting, warn, codes))
                waiting = []
        _generate(waiting, model, outcomes, bar, partial(noting, warn, codes))
    seconds = time.perf_counter() - started
    results = results_file(file)
    write_outcomes(results, outcomes, codes=codes)
    return ListResult(outcomes, results, seconds)


def _parse_row(
    row: dict[str, str], folder: Path, *, seed: int, region: str | None, force: bool
) -> tuple[Request, Path]:
    """Read a row's request and the file to write."""
    if not row["prior"] or not row["out"]:
        raise TableError("a row must name prior and out", found="an empty cell")
    if Path(row["out"]).suffix.lower() not in PICTURES:
        raise TableError("out must be a PNG or DICOM file (.png, .dcm)", found=Path(row["out"]).suffix or "no suffix")
    own = row.get("region") or None
    where = region if own is None else own if own == "auto" else str(folder / own)
    own_seed = parse_seed(row.get("seed", ""), seed)
    request = Request(folder / row["prior"], row["description"], seed=own_seed, region=where, force=force)
    return request, folder / row["out"]


def _prepare(
    number: int,
    request: Request,
    out: Path,
    model: CounterfactualModel,
    taken: set[Path],
    pseudonyms: Pseudonyms | None,
    warn: Callable[[str], None],
) -> _Ready | None:
    """Check a row; None if its picture exists already."""
    if out in taken:
        raise TableError("each row must have its own out", found="the out of an earlier row")
    checked = model.check(request)
    for warning in checked.warnings:
        warn(warning)
    writer = PictureWriter(checked.prior, pseudonyms)
    writer.check(out, request.description)
    facts = model.documents(checked)[0]
    taken.add(out)
    return None if writer.is_written(out, facts) else _Ready(number, out, checked, facts, writer)


def _generate(
    waiting: list[_Ready],
    model: CounterfactualModel,
    outcomes: list[str],
    bar: tqdm[Any],
    noting_row: Callable[[int], Callable[[str], None]],
) -> None:
    """Generate and write the pictures of checked rows."""
    if not waiting:
        return
    for ready, result in zip(waiting, model.run_together([ready.checked for ready in waiting]), strict=True):
        try:
            ready.writer.write(ready.out, result.images[0], ready.facts)
            outcomes[ready.number] = MADE
            for warning in result.effect_warnings:
                noting_row(ready.number)(warning)
        except OSError:
            outcomes[ready.number] = "out not writable"
        bar.update()
