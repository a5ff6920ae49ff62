"""Tables of requests: the list of `sample`, the work list of `pacs`, the descriptions of a folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from biomedjourney_monai.errors import ConfigError, TableError

TABLE = "descriptions.csv"
"""The default table of a folder."""


class RowError(TableError):
    """A row that cannot be used; `reason` is the code by which it is counted."""

    def __init__(self, rule: str, *, found: str = "", reason: str) -> None:
        super().__init__(rule, found=found)
        self.reason = reason


@dataclass(frozen=True, repr=False)
class PriorRequest:
    """A request of a list; its representation shows nothing of the patient.

    Attributes:
        image: path of the prior.
        description: the progression description.
        seed: of the noise.
        error: why it cannot be served, as far as the table shows.
    """

    image: str
    description: str
    seed: int
    error: RowError | None = None


def read_request_table(
    file: str | Path, *, option: str, columns: Sequence[str], any_of: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Read a CSV file, UTF-8 with or without a byte order mark.

    Args:
        option: the argument that names it, for errors.
        columns: required columns.
        any_of: columns of which at least one is required.

    Returns:
        A dictionary for each row, from column to cell, both without surrounding spaces.

    Raises:
        TableError: if it is missing, not CSV, without rows, or lacks a column.
    """
    try:
        with Path(file).open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            rows, names = list(reader), [str(name).strip() for name in reader.fieldnames or []]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{option} must be a readable CSV file", found=type(error).__name__) from error
    missing = [name for name in columns if name not in names]
    if any_of and not set(any_of) & set(names):
        missing.append(" or ".join(any_of))
    if missing:
        wanted = ", ".join([*columns, *([" or ".join(any_of)] if any_of else [])])
        raise TableError(f"{option} must have the columns {wanted}", found=f"none named {', '.join(missing)}")
    if not rows:
        raise TableError(f"{option} must have rows", found="none")
    return [{str(key).strip(): (value or "").strip() for key, value in row.items() if key is not None} for row in rows]


def parse_seed(text: str, default: int) -> int:
    """A row's seed, or the default for an empty cell.

    Raises:
        TableError: if it is not a non-negative 64-bit integer.
    """
    if not text:
        return default
    if not text.isdecimal() or int(text) >= 2**63:
        found = "2^63 or more" if text.isdecimal() else "a cell that is not a whole number"
        raise TableError("seed must be a non-negative 64-bit integer", found=found)
    return int(text)


def list_requests(
    prior: str | Path | None,
    folder: str | Path | None,
    *,
    descriptions: str | Path | None = None,
    description: str = "",
    seed: int = 0,
) -> list[PriorRequest]:
    """List one image, the rows of a table, or every file of a folder sorted by name.

    Args:
        prior: one image, or
        folder: a folder of images.
        descriptions: CSV file with the columns prior (a file's name in the folder) and description, and optionally
            seed; a prior may have several rows. The requests are its rows, then the files that it does not name, which
            are refused. None takes the folder's `descriptions.csv`, if there is one.
        description: of every image if there is no table.
        seed: default for rows without a seed.

    Raises:
        ConfigError: if neither or both of prior and folder are given, or the folder holds no image.
        TableError: if the table cannot be used.
    """
    if (prior is None) == (folder is None):
        raise ConfigError(
            "inference takes one image or one folder of images",
            found="neither" if prior is None else "both",
            action="Pass --prior IMAGE or --dataset_dir DIR",
        )
    if folder is not None and descriptions is None and (Path(folder) / TABLE).is_file():
        descriptions = Path(folder) / TABLE
    files = [Path(prior)] if prior is not None else _list_files(Path(str(folder)), without=descriptions)
    if descriptions is None:
        return [PriorRequest(str(file), description, seed) for file in files]
    by_name = {file.name: file for file in files}
    rows = read_request_table(descriptions, option="--descriptions", columns=("prior", "description"))
    requests = [_parse_row(row, by_name, seed=seed) for row in rows]
    named = {row["prior"] for row in rows}
    undescribed = RowError("a prior must have a description", found="none in the table", reason="no_description")
    left = [file for name, file in by_name.items() if name not in named]
    return requests + [PriorRequest(str(file), "", seed, undescribed) for file in left]


def _parse_row(row: dict[str, str], by_name: dict[str, Path], *, seed: int) -> PriorRequest:
    own_seed, error = seed, None
    try:
        own_seed = parse_seed(row.get("seed", ""), seed)
    except TableError as refused:
        error = RowError(str(refused), reason="seed unusable")
    file = by_name.get(row["prior"])  # a name, never a path out of the folder
    if file is None:
        found = "no file of that name"
        error = RowError("a row must name a file of the folder", found=found, reason="image file missing")
    return PriorRequest("" if file is None else str(file), row["description"], own_seed, error)


def _list_files(folder: Path, *, without: str | Path | None) -> Sequence[Path]:
    table = None if without is None else Path(without).resolve()
    files = sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))
    files = [path for path in files if path.resolve() != table]
    if not files:
        raise ConfigError("--dataset_dir must hold images", found="no file in it", action="Pass another folder")
    return files
