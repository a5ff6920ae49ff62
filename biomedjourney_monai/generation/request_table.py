"""Tables of requests: the list of `sample`, the work list of `pacs`, the descriptions of a folder."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from biomedjourney_monai.errors import ConfigError, TableError

TABLE = "descriptions.csv"
"""The default table of a folder."""
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
ENCODINGS = {
    "utf-8-sig": "UTF-8",
    "cp1252": "Windows-1252",
    **dict.fromkeys(("utf-16", "utf-16-le", "utf-16-be"), "UTF-16"),
}
WORKBOOKS = {
    b"PK\x03\x04": "an Excel or OpenDocument workbook, or a ZIP file",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
}
KNOWN: tuple[str, ...] = ("prior", "description", "out", "seed", "region", "patient_id", "study_uid", "issuer")
KNOWN += ("accession_number",)
SURPLUS = "surplus cells"
"""The key of the number of cells for which a row has no column."""


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
    """Read a list as spreadsheets save it.

    Cells are separated by commas, semicolons or tabs, in UTF-8, UTF-16 or Windows-1252. Column names are in any case,
    with spaces or underscores. Rows without any text are skipped.

    Args:
        option: the argument that names it, for errors.
        columns: required columns.
        any_of: columns of which at least one is required.

    Returns:
        A dictionary for each row, from column to cell, both without surrounding spaces. A row with more cells than
        columns has `SURPLUS`; see `refuse_surplus`.

    Raises:
        TableError: if it is missing, not CSV, without rows, or lacks a column. It names no cell of the file.
    """
    try:
        text, encoding = _decode(Path(file).read_bytes())
        declared = re.match(r"\"?sep=(.)\"?[\r\n]+", text)  # Excel's own first line
        text = text[declared.end() :] if declared else text
        headers = {mark: _read_header(text, mark) for mark in (declared[1] if declared else SEPARATORS)}
        mark = min(headers, key=lambda mark: (len(_missing(headers[mark], columns, any_of)), -len(headers[mark])))
        names, missing = headers[mark], _missing(headers[mark], columns, any_of)
        if missing:
            wanted = ", ".join([*columns, *([" or ".join(any_of)] if any_of else [])])
            found = f"none named {', '.join(missing)} in {encoding} text with {_describe(names, mark)}"
            raise TableError(f"{option} must have the columns {wanted}", found=found)
        twice = [name for name in KNOWN if names.count(name) > 1]
        if twice:
            raise TableError(f"{option} must have each column once", found=f"several named {', '.join(twice)}")
        _refuse_open_quote(text, mark)
        rows = [_to_row(names, cells) for cells in _read_cells(text, mark)][1:]
    except OSError as error:
        raise TableError(f"{option} must be a readable CSV file", found=type(error).__name__) from error
    except (ValueError, csv.Error) as error:
        action = "Save it as CSV UTF-8 in the spreadsheet program"
        raise TableError(f"{option} must be a readable CSV file", found=str(error), action=action) from error
    if not rows:
        raise TableError(f"{option} must have rows", found="none")
    return rows


def _read_cells(text: str, mark: str, *, strict: bool = False) -> Iterator[list[str]]:
    """The cells of each line that is not blank, separated by `mark`."""
    stream = io.StringIO(text, newline="")
    for cells in csv.reader(stream, delimiter=mark, skipinitialspace=True, strict=strict):
        if any(cell.strip() for cell in cells):
            yield [cell.strip() for cell in cells]


def _read_header(text: str, mark: str) -> list[str]:
    """The columns' names, in small letters with underscores."""
    return [re.sub(r"[\s-]+", "_", name.casefold()) for name in next(_read_cells(text, mark), [])]


def _to_row(names: list[str], cells: list[str]) -> dict[str, str]:
    row = dict(zip_longest(names, cells[: len(names)], fillvalue=""))
    surplus = sum(map(bool, cells[len(names) :]))
    return {**row, SURPLUS: str(surplus)} if surplus else row


def _missing(names: list[str], columns: Sequence[str], any_of: Sequence[str]) -> list[str]:
    lacking = [name for name in columns if name not in names]
    return lacking + ([" or ".join(any_of)] if any_of and not set(any_of) & set(names) else [])


def _describe(names: list[str], mark: str) -> str:
    """Columns and separator. Unknown names are only counted: without a header they are cells, perhaps of a patient."""
    if len(names) < 2:
        return "one column" if names else "no line"
    known = [name for name in names if name in KNOWN]
    others = len(names) - len(known)
    parts = known + ([f"{others} other column{'s' * (others > 1)}"] if others else [])
    return f"{', '.join(parts)}, separated by {SEPARATORS.get(mark, 'another character')}"


def _refuse_open_quote(text: str, mark: str) -> None:
    """Refuse a quotation mark that is never closed, because it hides the rows that follow.

    Raises:
        ValueError: saying so.
    """
    try:
        for _ in _read_cells(text, mark, strict=True):
            pass
    except csv.Error as error:  # other strict rules are not needed
        if "end of data" in str(error):
            raise ValueError("a quotation mark that is not closed") from error


def _decode(content: bytes) -> tuple[str, str]:
    """The text of a file, and the name of its encoding.

    Raises:
        ValueError: if it is not text; the message says what it is.
    """
    for begin, kind in WORKBOOKS.items():
        if content.startswith(begin):
            raise ValueError(kind)
    head = content[:1000]
    guesses = ["utf-8-sig", "cp1252"]
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        guesses = ["utf-16"]
    elif b"\0" in head:
        guesses = ["utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"]
    for encoding in guesses:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text, ENCODINGS[encoding]
    raise ValueError(f"bytes that are not {' or '.join(ENCODINGS[encoding] for encoding in guesses)} text")


def refuse_surplus(row: dict[str, str]) -> None:
    """Refuse a row whose cells do not fit its columns, for example because a text holds the separator.

    Raises:
        RowError: with the number of cells.
    """
    if SURPLUS in row:
        found = f"{row[SURPLUS]} cells more than columns"
        rule = "a row must have one cell for each column, with quotation marks around a text that holds the separator"
        raise RowError(rule, found=found, reason="more cells than columns")


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
        rule, action = "inference takes one image or one folder of images", "Pass --prior IMAGE or --dataset_dir DIR"
        raise ConfigError(rule, found="neither" if prior is None else "both", action=action)
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
        refuse_surplus(row)
        own_seed = parse_seed(row.get("seed", ""), seed)
    except RowError as refused:
        error = refused
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
