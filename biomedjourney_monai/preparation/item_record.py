"""What is done already, a line for each item: a stopped run goes on, and a changed one redoes what it must."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biomedjourney_monai.files import written_atomically


@dataclass(frozen=True)
class Item:
    """One thing to do.

    Args:
        name: of the item; one name stands for one set of output files.
        key: of everything that its result depends on, content and parameters; see `key_of`.
        payload: what the function takes.
    """

    name: str
    key: str
    payload: Any


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    Args:
        result: for JSON.
        files: the files written, relative to the working folder → `content_hash`.
        final: False is not recorded, so that the next run tries again.
    """

    result: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    final: bool = True


def key_of(*parts: Any) -> str:
    """A short hash of whatever JSON can hold."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def content_hash(path: Path) -> str:
    """A short hash of a file's bytes; "" if there is no such file."""
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except FileNotFoundError:
        return ""


class ItemRecord:
    """The outcomes of items, on the disk.

    An outcome counts as long as its item's key is the same and its files hold the same bytes, so neither a run with
    other parameters, nor one that was killed between a file and its line, nor a changed file can pass for it.

    Args:
        path: of the record, JSON lines; a line cut by a kill is passed over.
        folder: that file names are relative to.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self._lines = dict(self._read())
        self.reused = self.done = 0

    def complete(self, items: Sequence[Item], run: Callable[[Sequence[Any]], Iterator[Outcome]]) -> dict[str, Outcome]:
        """Do what is not done yet.

        Args:
            items: with different names.
            run: from payloads to outcomes, in order and one by one as they come.

        Returns:
            Name → outcome, of all items.
        """
        outcomes = {item.name: self._recorded(item) for item in items}
        todo = [item for item in items if outcomes[item.name] is None]
        self.reused, self.done = len(items) - len(todo), len(todo)
        with self._appending(bool(todo)) as append:
            for item, outcome in zip(todo, run([item.payload for item in todo])):
                if outcome.final:
                    append(item, outcome)
                outcomes[item.name] = outcome
        self._rewrite(items, outcomes)
        return outcomes

    def _recorded(self, item: Item) -> Outcome | None:
        line = self._lines.get(item.name)
        if line is None or line["key"] != item.key:
            return None
        if any(content_hash(self.folder / name) != expected for name, expected in line["files"].items()):
            return None
        return Outcome(line["result"], line["files"])

    @contextmanager
    def _appending(self, wanted: bool) -> Iterator[Callable[[Item, Outcome], None]]:
        if not wanted:
            yield lambda item, outcome: None
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8", buffering=1) as stream:
            stream.write("\n")  # the last run may have been killed within a line
            yield lambda item, outcome: stream.write(_line(item, outcome))

    def _rewrite(self, items: Sequence[Item], outcomes: Mapping[str, Outcome]) -> None:
        with written_atomically(self.path) as temporary, temporary.open("w", encoding="utf-8") as stream:
            stream.writelines(_line(item, outcomes[item.name]) for item in items if outcomes[item.name].final)

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", errors="replace") as stream:
            for text in stream:
                try:
                    line = json.loads(text)
                    yield line["name"], {part: line[part] for part in ("key", "result", "files")}
                except (ValueError, KeyError, TypeError):
                    continue


def _line(item: Item, outcome: Outcome) -> str:
    return json.dumps({"name": item.name, "key": item.key, "result": outcome.result, "files": outcome.files}) + "\n"
