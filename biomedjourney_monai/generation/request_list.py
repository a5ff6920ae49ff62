"""A list of requests: rows of prior, description and out. A bad row is counted by its reason; the run continues.

Each picture is written after its batch, and then the outcomes, so that a stopped run can be continued.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from biomedjourney_monai.errors import BiomedJourneyError, TableError
from biomedjourney_monai.generation.model import BATCH_SIZE, CounterfactualModel
from biomedjourney_monai.generation.outcomes import (
    KEPT,
    MADE,
    NOT_TRIED,
    noting,
    reason_of,
    results_file,
    write_outcomes,
)
from biomedjourney_monai.generation.request import Checked, Request
from biomedjourney_monai.generation.request_table import parse_seed, read_request_table, refuse_surplus
from biomedjourney_monai.generation.writer import PictureWriter, check_suffix
from biomedjourney_monai.output_check import (
    DiskFullError,
    OutputError,
    refuse_inputs,
    refuse_outside,
    refuse_unwritable,
)
from biomedjourney_monai.radiographs.read.marked_files import carries_mark

if TYPE_CHECKING:
    from biomedjourney_monai.radiographs.write.deidentify import Pseudonyms

COLUMNS = ("prior", "description", "out")
CPU_BATCH, CPU_BATCH_OF_STUDENT = 4, 16
"""Rows in one batch on a CPU, where a larger one saves little time; a student has no branches that fill it."""


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
    results = results_file(file)
    refuse_unwritable(results, name="the results beside --csv")
    outputs = _Outputs(file, rows, anywhere=anywhere)
    _ = model.generator  # a missing model ends the run, not each row
    outcomes, codes = [NOT_TRIED] * len(rows), [""] * len(rows)
    started = time.perf_counter()
    try:
        with tqdm(total=len(rows), desc="sample", unit="image") as bar:
            batch = _Batch(model, outcomes, codes, results, bar, batch_size, warn)
            for number, row in enumerate(rows):
                try:
                    request, out = _parse_row(row, file.parent, seed=seed, region=region, force=force)
                    outputs.check(out, request)
                    ready = _prepare(number, request, out, model, pseudonyms, noting(warn, codes, number))
                    outputs.taken.add(out.resolve())
                except (BiomedJourneyError, OSError, ValueError) as error:
                    outcomes[number] = reason_of(error)
                    bar.update()
                else:
                    batch.add(number, ready)
            batch.generate()
    except BaseException:
        with suppress(OSError):
            write_outcomes(results, outcomes, codes=codes)
        raise
    seconds = time.perf_counter() - started
    write_outcomes(results, outcomes, codes=codes)
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
    check_suffix(row["out"], name="out")
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


class _Batch:
    """Rows that wait to be generated together: few on a CPU, so that little work is lost when a run is stopped.

    A row with its own mask is not joined by later rows, because it is generated alone.
    """

    def __init__(
        self,
        model: CounterfactualModel,
        outcomes: list[str],
        codes: list[str],
        results: Path,
        bar: tqdm[Any],
        batch_size: int,
        warn: Callable[[str], None],
    ) -> None:
        self.model, self.outcomes, self.codes, self.results, self.bar = model, outcomes, codes, results, bar
        self.warn = warn
        on_cpu = next(model.generator.parameters()).device.type == "cpu"
        most = CPU_BATCH if model.generator.denoiser.distilled is None else CPU_BATCH_OF_STUDENT
        self._size = min(most, batch_size) if on_cpu else batch_size
        self._waiting: list[_Ready] = []

    def add(self, number: int, ready: _Ready | None) -> None:
        """Add a checked row, None for a kept picture; generate if the batch is full."""
        if ready is None:
            self.outcomes[number] = KEPT
            self.bar.update()
            return
        self._waiting.append(ready)
        if len(self._waiting) >= self._size or isinstance(ready.checked.region, np.ndarray):
            self.generate()

    def generate(self) -> None:
        """Generate the waiting rows, write their pictures, and then the outcomes.

        Raises:
            DiskFullError: after the row was marked.
        """
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        results = self.model.run_together([ready.checked for ready in waiting])
        for ready, result in zip(waiting, results, strict=True):
            try:
                ready.writer.write(ready.out, result.images[0], ready.facts)
                self.outcomes[ready.number] = MADE
                for warning in result.effect_warnings:
                    noting(self.warn, self.codes, ready.number)(warning)
            except DiskFullError as error:
                self.outcomes[ready.number] = reason_of(error)
                raise
            except OSError:
                self.outcomes[ready.number] = "out not writable"
            self.bar.update()
        write_outcomes(self.results, self.outcomes, codes=self.codes)
