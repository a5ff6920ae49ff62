"""A site's own reports: a table of texts, or .txt files, by accession number or StudyInstanceUID."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.files import written_atomically

KEYS = ("accession_number", "study_instance_uid")
TEXT = "text"


@dataclass(frozen=True)
class ReportFinder:
    """Finds the report of each study.

    Args:
        texts: folder for texts that came in a table.
        root: the folder of .txt files, if there is one.
        by_key: key's column → key → text, of a table.
        files: file name without suffix → path, of a folder; names that occur twice are left out.
    """

    texts: Path
    root: Path | None = None
    by_key: dict[str, dict[str, str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, reports: str | Path | None, *, texts: Path) -> "ReportFinder":
        """Read the table, or list the folder; a TableError says what is missing or repeated."""
        if reports is None:
            return cls(texts)
        reports = Path(reports)
        if reports.is_dir():
            return cls(texts, root=reports, files=_list_texts(reports))
        if reports.is_file():
            return cls(texts, by_key=_read_table(reports))
        raise TableError("the reports must be a table or a folder", found="no such path", action="Check --reports")

    def find(self, studies: pd.DataFrame) -> pd.Series:
        """Give the path of each study's report, "" if it has none; texts of a table are written to files."""
        keys = zip(studies["study_id"], studies["accession_number"], studies["study_instance_uid"])
        return pd.Series([self._find_one(*key) for key in keys], index=studies.index, dtype=object)

    def _find_one(self, study_id: str, accession_number: str, study_instance_uid: str) -> str:
        for column, key in zip(KEYS, (accession_number, study_instance_uid)):
            if key and key in self.files:
                return self.files[key]
            text = self.by_key.get(column, {}).get(key, "") if key else ""
            if text.strip():
                return self._write(study_id, text)
        return ""

    def _write(self, study_id: str, text: str) -> str:
        path = (self.texts / f"{study_id}.txt").resolve()
        data = text.encode("utf-8")
        if not path.is_file() or path.read_bytes() != data:
            with written_atomically(path) as temporary:
                temporary.write_bytes(data)
        return str(path)


def _list_texts(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    twice = set()
    for path in sorted(folder.rglob("*.txt")):
        if path.stem in found:
            twice.add(path.stem)
        found[path.stem] = str(path.resolve())
    return {stem: path for stem, path in found.items() if stem not in twice}


def _read_table(path: Path) -> dict[str, dict[str, str]]:
    name = "the table of reports"
    try:
        # Cells in another encoding than UTF-8 are read as Latin-1 below, one by one.
        table = pd.read_csv(path, dtype=object, keep_default_na=False, encoding_errors="surrogateescape")
    except Exception as error:  # pandas, gzip and codecs raise many kinds
        raise TableError(f"{name} must be CSV", found=type(error).__name__) from error
    table.columns = [str(column).lstrip("\ufeff").strip() for column in table.columns]
    keys = [column for column in KEYS if column in table]
    if not keys:
        raise TableError(f"{name} must have a column 'accession_number' or 'study_instance_uid'", found="neither")
    if TEXT not in table:
        raise TableError(f"{name} must have a column {TEXT!r}", found=f"{', '.join(table.columns[:8])}")
    if table.empty:
        raise TableError(f"{name} must not be empty", found="no rows")
    texts = table[TEXT].map(_as_text)
    by_key = {}
    for column in keys:
        values = table[column].str.strip()
        if values[values != ""].duplicated().any():
            raise TableError(f"column {column!r} of {name} must not repeat", found="the same value twice")
        by_key[column] = dict(zip(values, texts))
    return by_key


def _as_text(cell: str) -> str:
    try:
        cell.encode("utf-8")
    except UnicodeEncodeError:
        return cell.encode("utf-8", "surrogateescape").decode("latin-1")
    return cell
