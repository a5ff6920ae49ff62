"""Read malformed and unusual files, lists and folders, made from rendered patients and known rows.

    python scripts/benchmarks/unusual_files.py --count 300 --seed 0

A crash is an error that is not the package's own. A file is misread if it is read and correlates with the true picture
with less than 0.98, or if it should be refused and is not. Identifiers are planted in every header, cell and name, and
looked for in everything that is said, printed or logged. "Fetch it again" belongs to the kinds whose name begins with
"cut", and to no other. The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from unusual.dicom import DICOM
from unusual.pictures import PICTURES
from unusual.tables import PLANTED, Listed, draw_folder, draw_list

from biomedjourney_monai.errors import BiomedJourneyError, ImageError
from biomedjourney_monai.generation.request_table import SURPLUS, read_request_table
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import render_visit
from biomedjourney_monai.preparation.cohort.run import find_studies
from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.radiographs.read.dicom_header import is_dicom, read_header
from biomedjourney_monai.radiographs.scaling import letterbox, scale_intensity
from biomedjourney_monai.radiographs.views.framing import framing_fault

SIZE, LEAST = 128, 0.98
CHESTS = 4
SHARES = {"dicom": 0.55, "picture": 0.22, "list": 0.17}
"""Of the cases; the rest are folders."""


def render_chests() -> list[np.ndarray]:
    """Float32 in [0, 1], shape (160, 144)."""
    patients = [draw_patient(number, 0, stream="unusual") for number in range(CHESTS)]
    return [
        render_visit(each, each.visits[0], size=160, view_position="PA").image[:, 8:152].astype(np.float32)
        for each in patients
    ]


@contextmanager
def everything_said(into: Path) -> Iterator[None]:
    """Write what this process and its children print and log, at every level, to a file."""
    sys.stdout.flush()
    kept = [os.dup(number) for number in (1, 2)]
    with into.open("ab") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in zip((1, 2), kept):
                os.dup2(copy, number)
                os.close(copy)


def likeness(square: np.ndarray, truth: np.ndarray) -> float:
    """The correlation of a square picture with the true one."""
    expected = scale_intensity(*letterbox(truth, size=SIZE))
    return float(np.corrcoef(square.ravel(), expected.ravel())[0, 1])


def look(path: Path) -> np.ndarray:
    """Read a file as `sample` and the page do; the header also as `cohort` does.

    Raises:
        ImageError: if any of them refuses it.
    """
    square = load_radiograph(path, size=SIZE)
    if fault := framing_fault(square):
        raise ImageError("a film must fill its picture", found=fault, reason=fault)
    if is_dicom(path.read_bytes()[:132]):
        read_header(path, ["PatientID"])
    return square


def try_picture(kind: str, path: Path, truth: np.ndarray | None) -> str:
    """The outcome of one file."""
    try:
        square = look(path)
    except ImageError as error:
        says_cut = "etch " in str(error)
        if says_cut != kind.startswith("cut"):
            return f"wrong advice ({error})"
        return f"refused: {error.reason}"
    if truth is None:
        return "misread (should be refused)"
    found = likeness(square, truth)
    return "read" if found >= LEAST else f"misread ({found:.3f})"


def try_list(path: Path, rows: list[dict[str, str]] | None) -> str:
    """The outcome of one list."""
    try:
        found = read_request_table(path, option="--csv", columns=("prior", "description", "out"))
    except BiomedJourneyError as error:
        return f"refused: {str(error)[:60]}"
    whole = [row for row in found if SURPLUS not in row]
    if rows is None:
        return "misread (should be refused)"
    known = [row for row in whole if row in rows]
    return "read" if len(known) == len(whole) else "misread (other cells)"


def try_folder(folder: Path, truths: dict[str, np.ndarray | None], work: Path) -> str:
    """The outcome of `cohort --check-views` on a folder: what it keeps must be read rightly."""
    try:
        studies = find_studies(folder, work, kind="dicom", eligibility="any", check_views=True, processes=1).studies
    except BiomedJourneyError as error:
        return f"refused: {str(error)[:40]}"
    for path in studies["image_path"]:
        truth = truths[Path(path).name]
        if truth is None or likeness(load_radiograph(path, size=SIZE), truth) < LEAST:
            return f"misread (kept {Path(path).stem.split('-')[0]})"
    return "read"


def draw_cases(count: int, seed: int, folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """The kind of each case, and what tries it. The kinds come in turn, each with other numbers."""
    chests = render_chests()
    pools = {"dicom": list(DICOM.items()), "picture": list(PICTURES.items())}
    left = count
    for group, share in SHARES.items():
        for number in range(round(count * share)):
            left -= 1
            rng = np.random.default_rng([seed, len(group), number])
            path = folder / f"{PLANTED[2]}-{group}-{number}.dat"
            if group == "list":
                listed: Listed = draw_list(rng, number)
                path.write_bytes(listed.content)
                yield listed.kind, lambda path=path, rows=listed.rows: try_list(path, rows)
                continue
            kind, make = pools[group][number % len(pools[group])]
            content, truth = make(rng, chests[number % CHESTS])
            path.write_bytes(content)
            yield kind, lambda kind=kind, path=path, truth=truth: try_picture(kind, path, truth)
    for number in range(left):
        rng = np.random.default_rng([seed, number])
        place, work = folder / f"{PLANTED[2]} {number} ?#%41", folder / f"work {number}?#%"
        truths = draw_folder(rng, place, pools["dicom"], chests)
        yield "folder", lambda place=place, truths=truths, work=work: try_folder(place, truths, work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="files, lists and folders (default: 300)")
    parser.add_argument("--seed", type=int, default=0, help="of the generator (default: 0)")
    parser.add_argument("--show", action="store_true", help="print every case")
    args = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG, force=True)
    outcomes: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        said = Path(name) / "said.txt"
        cases = draw_cases(args.count, args.seed, Path(name))
        for number in range(args.count):
            with everything_said(said):
                kind, attempt = next(cases)
                try:
                    outcome = attempt()
                except Exception as error:  # what the benchmark looks for
                    outcome = f"crash ({type(error).__name__} in {traceback.extract_tb(error.__traceback__)[-1].name})"
            if args.show or outcome.startswith(("crash", "misread", "wrong")):
                print(number, kind, outcome)
            outcomes.setdefault(kind, Counter())[outcome] += 1
        texts = said.read_text(errors="replace") + json.dumps(outcomes)
    total = sum(outcomes.values(), Counter())
    counts = {
        start: sum(count for outcome, count in total.items() if outcome.startswith(start))
        for start in ("read", "refused", "misread", "crash", "wrong advice")
    }
    shown = sum(line.count(word) for line in texts.splitlines() for word in PLANTED)
    bars = {name: counts[name] == 0 for name in ("misread", "crash", "wrong advice")} | {"identifiers": shown == 0}
    figures = {"counts": counts, "identifiers shown": shown, "by kind": outcomes}
    print(json.dumps({"figures": figures, "bars": bars}))
    sys.exit(0 if all(bars.values()) else 1)


if __name__ == "__main__":
    main()
