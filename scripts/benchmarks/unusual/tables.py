"""Lists as spreadsheets save and spoil them, and folders of DICOM files."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .dicom import pick

PLANTED = ("ZXQNAME", "7700770077", "zxqpath")
"""In headers and cells, as names and as numbers, and in the names of files."""

FILES_IN_FOLDER = 10
TEXTS = (
    "New large left pleural effusion.",
    "Épanchement; ZXQNAME, à gauche",
    'A "small" effusion',
    "No change.\nNone.",
)


@dataclass(frozen=True)
class Listed:
    """A list's kind, its bytes, and the rows that may be read from it; None if it must be refused."""

    kind: str
    content: bytes
    rows: list[dict[str, str]] | None


def draw_list(rng: np.random.Generator, number: int) -> Listed:
    """A list in one of the forms of spreadsheets, or, each third time, spoiled."""
    rows = [
        {"prior": f"ZXQNAME{n}.dcm", "description": pick(rng, TEXTS), "out": f"7700770077_{n}.png"} for n in range(5)
    ]
    encoding = pick(rng, ("utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"))
    text = _write(rng, rows, pick(rng, (",", ";", "\t")))
    if number % 3 < 2:
        return Listed("list", text.encode(encoding), rows)
    kind = pick(rng, ("workbook", "open quote", "no header", "twice", "empty", "nul", "half column", "surplus"))
    whole = text.encode(encoding)
    first = text.splitlines()[0]
    spoiled = {
        "workbook": b"PK\x03\x04" + whole,
        "open quote": (text + '"ZXQNAME,7700770077').encode(encoding),
        "no header": _write(rng, rows[1:], ",", header=rows[0].values()).encode(),
        "twice": (first + ",PRIOR").encode() + b"\nZXQNAME,a,b,c\n",
        "empty": b"" if rng.integers(2) else b"prior,description,out\n",
        "nul": b"prior,description,out\nZXQNAME\0,a,b\0\xff\0\n",
        "half column": b"prior,descr,out\nZXQNAME,a,b\n",
        "surplus": b"prior,description,out\nZXQNAME,New edema, mild,7700770077.png\n",
    }
    return Listed(f"list: {kind}", spoiled[kind], [] if kind == "surplus" else None)


def _write(rng: np.random.Generator, rows: list[dict[str, str]], mark: str, *, header: Any = None) -> str:
    names = list(header or [pick(rng, (name, name.upper(), f" {name.title()} ")) for name in rows[0]])
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=mark, lineterminator=pick(rng, ("\n", "\r\n")))
    writer.writerows([names, *(row.values() for row in rows)])
    return pick(rng, ("", f"sep={mark}\n") if header is None else ("",)) + stream.getvalue()


def draw_folder(
    rng: np.random.Generator, place: Path, pool: list[tuple[str, Any]], chests: list[np.ndarray]
) -> dict[str, np.ndarray | None]:
    """Write files of any kind to a folder; returns their true pictures by name."""
    place.mkdir()
    truths: dict[str, np.ndarray | None] = {}
    for number in range(FILES_IN_FOLDER):
        kind, make = pick(rng, pool)
        content, truth = make(rng, pick(rng, chests))
        name = f"{kind}-{PLANTED[2]}-{number}"
        (place / name).write_bytes(content)
        truths[name] = truth
    return truths
