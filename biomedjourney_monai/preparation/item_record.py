"""A record of finished items, one line each: a stopped run resumes, and a changed one repeats only what it must."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biomedjourney_monai.files import make_folder, make_private_file, written_atomically
from biomedjourney_monai.preparation.parallel import ALONE, Workers, map_in_processes


@dataclass(frozen=True)
class Item:
    """One item to process.

    Args:
        name: one name stands for one set of output files.
        key: hash of everything that the result depends on, content and parameters; see `key_of`.
        payload: what the function takes.
    """

    name: str
    key: str
    payload: Any


@dataclass(frozen=True)
class Outcome:
    """The result of an item.

    Args:
        result: JSON content.
        files: the files written, relative to the working folder → `content_hash`.
        final: False is not recorded, so that the next run tries again.
    """

    result: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    final: bool = True


def key_of(*parts: Any) -> str:
    """A short hash of JSON content."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def content_hash(path: Path) -> str:
    """A short hash of a file's bytes; "" if there is no such file."""
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except FileNotFoundError:
        return ""


class ItemRecord:
    """The outcomes of items, on disk.

    An outcome counts while its item's key is the same and its files hold the same bytes. So it is not taken from a run
    with other parameters or one that was killed between a file and its line, nor for a file that was changed later.

    Args:
        path: of the record, JSON lines.
        folder: that file names are relative to.

    Attributes:
        done: number of items that the last call processed.
        reused: number of items whose outcome it took from the record.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self._lines: dict[str, Mapping[str, Any]] = {}
        for line in read_lines(path):
            if all(part in line for part in ("name", "key", "result", "files")):
                self._lines[line["name"]] = line
        self.reused = self.done = 0

    def complete_in_processes(
        self,
        items: Sequence[Item],
        function: Callable[[Any], Outcome],
        *,
        on_death: Callable[[Any], Outcome],
        title: str,
        unit: str,
        workers: Workers = ALONE,
    ) -> dict[str, Outcome]:
        """Process the items that the record lacks; other arguments as for `map_in_processes`.

        Of several items with one name the last counts.

        Returns:
            Name → outcome, of all items.
        """
        unique = list({item.name: item for item in items}.values())
        known = {item.name: outcome for item in unique if (outcome := self._recorded(item)) is not None}
        todo = [item for item in unique if item.name not in known]
        self.reused, self.done = len(known), len(todo)
        payloads = [item.payload for item in todo]
        options: dict[str, Any] = {"title": title, "unit": unit, **vars(workers)}
        found = map_in_processes(function, payloads, on_death=on_death, **options)
        with appending(self.path if todo else None) as append:
            for item, outcome in zip(todo, found):
                if outcome.final:
                    append(_line(item, outcome))
                known[item.name] = outcome
        with written_atomically(self.path) as temporary, temporary.open("w", encoding="utf-8") as stream:
            stream.writelines(_line(item, known[item.name]) for item in unique if known[item.name].final)
        return known

    def _recorded(self, item: Item) -> Outcome | None:
        line = self._lines.get(item.name)
        if line is None or line["key"] != item.key:
            return None
        if any(content_hash(self.folder / name) != expected for name, expected in line["files"].items()):
            return None
        return Outcome(line["result"], line["files"])


def read_lines(path: Path | None) -> Iterator[Mapping[str, Any]]:
    """Read the objects of a record, without the line that a killed run left incomplete; nothing if there is no file."""
    if path is None or not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        for text in stream:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line


@contextmanager
def appending(path: Path | None) -> Iterator[Callable[[str], object]]:
    """Give a function that appends text to a record; each line is on disk when it returns. None keeps no record."""
    if path is None:
        yield lambda text: None
        return
    make_folder(path.parent)
    make_private_file(path)
    with path.open("a", encoding="utf-8", buffering=1) as stream:
        stream.write("\n")  # the last run may have been killed within a line
        yield stream.write


def _line(item: Item, outcome: Outcome) -> str:
    return json.dumps({"name": item.name, "key": item.key, "result": outcome.result, "files": outcome.files}) + "\n"
