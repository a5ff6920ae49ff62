"""Reading and writing tables and folders so that nothing half-written is ever left under its final name."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.errors import TableError

if TYPE_CHECKING:
    import pandas


@contextmanager
def written_atomically(path: str | Path, *, public: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends without an error.

    The file is readable by its owner alone, from its first byte on, and so are folders that are made for it: most
    files hold something of patients. With `public`, for weights and rendered patients, both follow the umask, and
    the block may also make a folder.
    """
    path = Path(path)
    make_folder(path.parent, public=public)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        if not public:
            make_private_file(temporary)
        yield temporary
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def make_folder(path: str | Path, *, public: bool = False) -> None:
    """Make a folder and those above it where missing: for their owner alone, or with `public` as the umask says."""
    path = Path(path)
    for folder in reversed([folder for folder in (path, *path.parents) if not folder.exists()]):
        folder.mkdir(mode=0o777 if public else 0o700, exist_ok=True)
    path.mkdir(exist_ok=True)  # raises an error where a file has this name


def make_private_file(path: str | Path) -> None:
    """Make an empty file that only its owner can read, unless the file exists."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def file_hash(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, 64 hexadecimal digits, read piece by piece."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_json(path: str | Path, content: Any, *, public: bool = False) -> None:
    """Write JSON with sorted keys; NaN and infinities, which JSON does not know, are written as null."""
    with written_atomically(path, public=public) as temporary:
        temporary.write_text(json.dumps(only_finite(content), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_json_lines(path: str | Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object per line."""
    with written_atomically(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for row in rows:
            try:
                line = json.dumps(row, sort_keys=True, ensure_ascii=False, allow_nan=False)
            except (TypeError, ValueError):  # a number of NumPy's, or one that is not finite
                line = json.dumps(only_finite(row), sort_keys=True, ensure_ascii=False)
            stream.write(f"{line}\n")


def read_json_lines(path: str | Path, *, made_by: str, keys: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Read one JSON object per line.

    Args:
        made_by: the verb that writes this file, for the error message.
        keys: that every object must have.

    Raises:
        TableError: if the file is absent, empty, not JSON lines, or if an object lacks a key.
    """
    path = Path(path)
    _require_file(path, made_by)
    try:
        with path.open(encoding="utf-8") as stream:  # str.splitlines would also cut at U+2028 inside a text
            rows = [json.loads(line) for line in stream if line.strip()]
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("not an object")
    except (ValueError, OSError, RecursionError) as error:
        raise TableError(
            f"{path} must hold one JSON object per line",
            found=type(error).__name__,
            action=f"Run `biomedjourney {made_by}` again",
        ) from error
    if not rows:
        raise TableError(f"{path} must not be empty", action=f"Look at what `biomedjourney {made_by}` dropped and why")
    missing = [key for key in keys if not all(key in row for row in rows)]
    if missing:
        raise TableError(
            f"{path} must have the entries of `biomedjourney {made_by}`",
            found=f"rows without {', '.join(missing[:5])}",
            action=f"Run `biomedjourney {made_by}` again",
        )
    return rows


def read_json(path: str | Path, *, made_by: str) -> Any:
    """Read a JSON file.

    Raises:
        TableError: if the file is absent or not JSON.
    """
    path = Path(path)
    _require_file(path, made_by)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise TableError(
            f"{path} must hold JSON", found=type(error).__name__, action=f"Run `biomedjourney {made_by}` again"
        ) from error


def write_table(path: str | Path, table: pandas.DataFrame) -> None:
    """Write a parquet table."""
    with written_atomically(path) as temporary:
        table.to_parquet(temporary, index=False)


def read_table(path: str | Path, *, columns: Iterable[str], made_by: str) -> pandas.DataFrame:
    """Read a parquet table and check its columns.

    Raises:
        TableError: if the file is absent, unreadable, empty or lacks a column.
    """
    import pandas

    path = Path(path)
    _require_file(path, made_by)
    try:
        table = pandas.read_parquet(path)
    except Exception as error:  # pyarrow raises many kinds
        raise TableError(
            f"{path} must be a parquet table",
            found=type(error).__name__,
            action=f"Run `biomedjourney {made_by}` again",
        ) from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise TableError(
            f"{path} must have the columns of `biomedjourney {made_by}`",
            found=f"none named {', '.join(missing[:5])}",
            action=f"Run `biomedjourney {made_by}` again",
        )
    if table.empty:
        raise TableError(f"{path} must not be empty", action=f"Look at what `biomedjourney {made_by}` dropped and why")
    return table


def _require_file(path: Path, made_by: str) -> None:
    if not path.is_file():
        raise TableError(f"{path} must exist", found="no such file", action=f"Run `biomedjourney {made_by}` first")


def only_finite(content: Any) -> Any:
    """The content for JSON: NumPy's numbers become Python's, and those that are not finite None."""
    if isinstance(content, dict):
        return {str(key): only_finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [only_finite(value) for value in content]
    if hasattr(content, "item") and getattr(content, "ndim", 0) == 0:
        content = content.item()
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
