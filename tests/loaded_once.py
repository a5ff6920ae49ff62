"""Load the same weights once in a process of tests: a command in a test loads what the test before it has loaded.

Models and judges do not change in use. What they are loaded from is part of the key, with its time and size, so that a
test that changes a file loads again; the last few are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

KEPT = 3
"""Of each kind."""


def stamp(path: str | Path | None) -> Iterator[tuple[str, int, int]]:
    """Name, time and size of a file, or of every file in a folder."""
    for file in [] if path is None else sorted(Path(path).rglob("*")) if Path(path).is_dir() else [Path(path)]:
        if file.is_file():
            facts = file.stat()
            yield str(file), facts.st_mtime_ns, facts.st_size


class LoadedOnce:
    """Wraps a function that loads: `key_of` gives the key of its arguments."""

    def __init__(self, load: Callable[..., Any], key_of: Callable[..., Any]) -> None:
        self.load, self.key_of, self.kept = load, key_of, dict[Any, Any]()

    def __call__(self, *given: Any, **named: Any) -> Any:
        key = self.key_of(*given, **named)
        if key not in self.kept:
            loaded = self.load(*given, **named)
            while len(self.kept) >= KEPT:
                del self.kept[next(iter(self.kept))]
            self.kept[key] = loaded
        return self.kept[key]


def of_config(config: Any, **named: Any) -> Any:
    """The key of `ModelConfig.load_generator`."""
    tower = config.compose().get_parsed_content("text_encoder_dir")
    files = [config.weights, config.bundle / "configs" / "common.yaml", config.overlay, tower]
    return tuple(tuple(stamp(path)) for path in files), repr(sorted(named.items()))


def of_folder(folder: str | Path, *names: str, device: Any = "cpu") -> Any:
    """The key of a function that loads judges from a folder."""
    return tuple(entry for entry in stamp(folder) if "text_tower" not in entry[0]), names, str(device)
