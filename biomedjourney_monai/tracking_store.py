"""MLflow's store in a folder: its address, and how it follows when the folder is moved or renamed.

MLflow writes absolute addresses of artifacts into its database, and would make the old folder again.
"""

import contextlib
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from biomedjourney_monai.files import make_folder, make_private_file

DATABASE, ARTIFACTS = "mlruns.db", "mlartifacts"
PLACES = (ARTIFACTS, "mlruns")
"""Names of the folder of artifacts; MONAI chooses the second where none is given."""

PREFIX = "sqlite:///"
FOLDER_TAG = "biomedjourney.output_dir"
"""On runs: the output folder of their training."""

_ADDRESSES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
    "tags": ("value",),
}
"""Tables and columns of MLflow's database that hold addresses; tags hold folders among other things."""


def open_store(folder: str | Path) -> str:
    """Prepare the store of a folder; returns its address, quoted: names of folders may hold `?`, `#` and `%`.

    The folder is made if it is missing. If it was moved or copied since its last use, the addresses in it are updated.
    """
    folder = Path(folder).resolve()
    is_new = not (folder / DATABASE).exists()
    make_folder(folder / ARTIFACTS if is_new else folder)  # MLflow would make the first such that others can read it
    make_private_file(folder / DATABASE)
    follow_move(folder / DATABASE)
    return PREFIX + quote(str(folder / DATABASE), safe="/: ")


def artifact_address(folder: str | Path) -> str | None:
    """Where a folder's store keeps files; None where MLFLOW_TRACKING_URI names another store, which decides itself."""
    return None if os.environ.get("MLFLOW_TRACKING_URI") else (Path(folder).resolve() / ARTIFACTS).as_uri()


def local_database(uri: str) -> Path | None:
    """The file of an SQLite store; None for other stores."""
    name = unquote(uri.removeprefix(PREFIX))
    return Path(name).resolve() if uri.startswith(PREFIX) and name not in ("", ":memory:") else None


def follow_move(database: Path) -> None:
    """Update the addresses in a store whose folder was moved or copied. Artifacts that lie elsewhere stay there."""
    if not database.is_file() or not database.stat().st_size:
        return
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as store, store:
        found = {table: {row[1] for row in store.execute(f"PRAGMA table_info({table})")} for table in _ADDRESSES}
        locations = store.execute("SELECT artifact_location FROM experiments") if found["experiments"] else ()
        for old in {_folder_of(location) for (location,) in locations}:
            if old is None or old == database.parent or _lies_elsewhere(old, database.parent):
                continue
            for table, columns in _ADDRESSES.items():
                for column in found[table].intersection(columns):
                    for was, now in ((old.as_uri(), database.parent.as_uri()), (str(old), str(database.parent))):
                        _replace_prefix(store, table, column, was, now)


def remove_quoted_folder(uri: str) -> None:
    """Remove the empty folder that MLflow makes under a store's quoted name, beside the real one."""
    database, quoted = local_database(uri), Path(uri.removeprefix(PREFIX)).parent
    if database is not None and quoted.resolve() != database.parent:
        with contextlib.suppress(OSError):
            os.removedirs(quoted)  # only empty ones


def _lies_elsewhere(old: Path, folder: Path) -> bool:
    """Whether a folder of artifacts is no earlier state of this one: it exists without a store, and this has none."""
    return old.exists() and not (old / DATABASE).exists() and not any((folder / name).exists() for name in PLACES)


def _folder_of(location: str | None) -> Path | None:
    """The folder in which a location lies by one of the names in `PLACES`; None for other locations."""
    parts = urlsplit(location or "")
    path = Path(unquote(parts.path))
    return path.parent if parts.scheme == "file" and path.name in PLACES else None


def _replace_prefix(store: sqlite3.Connection, table: str, column: str, was: str, now: str) -> None:
    store.execute(
        f"UPDATE {table} SET {column} = ?2 || substr({column}, length(?1) + 1)"
        f" WHERE {column} = ?1 OR substr({column}, 1, length(?1) + 1) = ?1 || '/'",
        (was, now),
    )
