"""A list of requests: rows of prior, description and out. A bad row is counted by its reason; the run continues."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from biomedjourney_monai.errors import BiomedJourneyError, TableError
from biomedjourney_monai.generation.model import BATCH_SIZE, CounterfactualModel
from biomedjourney_monai.generation.outcomes import KEPT, MADE, reason_of, results_file, write_outcomes
from biomedjourney_monai.generation.output_check import OutputError, refuse_inputs, refuse_outside, refuse_unwritable
from biomedjourney_monai.generation.request import Checked, Request
from biomedjourney_monai.generation.request_table import parse_seed, read_request_table, refuse_surplus
from biomedjourney_monai.generation.writer import PICTURES, PictureWriter
from biomedjourney_monai.radiographs.read.marked_files import carries_mark

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
    anywhere: bool = False,
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
        anywhere: allow rows to write outside the list's folder.
        pseudonyms: for DICOM export.

    Raises:
        BiomedJourneyError: if the file or the model cannot be used.
    """
    file = Path(file)
    rows = read_request_table(file, option="--csv", columns=COLUMNS)
    refuse_unwritable(results_file(file), name="the results beside --csv")
    outputs = _Outputs(file, rows, anywhere=anywhere)
    _ = model.generator  # a missing model ends the run, not each row
    outcomes, waiting = [""] * len(rows), []
    started = time.perf_counter()
    with tqdm(total=len(rows), desc="sample", unit="image") as bar:
        for number, row in enumerate(rows):
            try:
                request, out = _parse_row(row, file.parent, seed=seed, region=region, force=force)
                outputs.check(out, request)
                ready = _prepare(number, request, out, model, pseudonyms, warn)
                outputs.taken.add(out.resolve())
                outcomes[number] = KEPT if ready is None else ""
            except (BiomedJourneyError, OSError, ValueError) as error:
                ready, outcomes[number] = None, reason_of(error)
            if ready is None:
                bar.update()
                continue
            waiting.append(ready)
            if len(waiting) == batch_size:
                _generate(waiting, model, outcomes, bar)
                waiting = []
        _generate(waiting, model, outcomes, bar)
    seconds = time.perf_counter() - started
    results = results_file(file)
    write_outcomes(results, outcomes)
    return ListResult(outcomes, results, seconds)


class _Outputs:
    """Where the rows of a list may write: not over a file that a row reads, the list, or the out of an earlier row."""

    def __init__(self, file: Path, rows: Sequence[dict[str, str]], *, anywhere: bool) -> None:
        self.file, self.anywhere, self.taken = file, anywhere, set[Path]()
        named = {row.get(column) or "" for row in rows for column in ("prior", "region")}
        self._inodes = {(found.st_dev, found.st_ino) for name in named if (found := _stat(file.parent / name))}

    def check(self, out: Path, request: Request) -> None:
        """Check a row's out.

        Raises:
            BiomedJourneyError: naming what it is.
        """
        if not self.anywhere:
            refuse_outside(out, self.file.parent)
        refuse_unwritable(out, name="out")
        inputs = {"the prior": request.prior, "the mask": request.region, "the list": self.file}
        refuse_inputs([out], inputs, name="out")
        found = _stat(out)
        if found and (found.st_dev, found.st_ino) in self._inodes and not carries_mark(out):
            rule, reason = "out must not overwrite what is read", "out is an input of another row"
            raise OutputError(rule, found="the prior or mask of another row", reason=reason)
        if out.resolve() in self.taken:
            raise TableError("each row must have its own out", found="the out of an earlier row")


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def _parse_row(
    row: dict[str, str], folder: Path, *, seed: int, region: str | None, force: bool
) -> tuple[Request, Path]:
    """Read a row's request and the file to write."""
    refuse_surplus(row)
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
    pseudonyms: Pseudonyms | None,
    warn: Callable[[str], None],
) -> _Ready | None:
    """Check a row; None if its picture exists already."""
    checked = model.check(request)
    for warning in checked.warnings:
        warn(warning)
    writer = PictureWriter(checked.prior, pseudonyms)
    writer.check(out, request.description)
    facts = model.documents(checked)[0]
    return None if writer.is_written(out, facts) else _Ready(number, out, checked, facts, writer)


def _generate(waiting: list[_Ready], model: CounterfactualModel, outcomes: list[str], bar: tqdm[Any]) -> None:
    """Generate and write the pictures of checked rows."""
    if not waiting:
        return
    for ready, result in zip(waiting, model.run_together([ready.checked for ready in waiting]), strict=True):
        try:
            ready.writer.write(ready.out, result.images[0], ready.facts)
            outcomes[ready.number] = MADE
        except OSError:
            outcomes[ready.number] = "out not writable"
        bar.update()
