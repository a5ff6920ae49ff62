"""The view check over many files, in many processes, with a record so that a second run goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.preparation.parallel import CRASHED, map_in_processes
from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.radiographs.views.check import MIN_CORRELATION, check_view

_PASSING = ("processes", "scheduler", "record")
"""What has no part in a verdict."""

LOOK_SIZE = 128
"""Side in pixels at which an image is looked at: the check needs 64."""


@dataclass(frozen=True)
class ViewChecker:
    """Looks at images and says why one is no upright frontal chest.

    Args:
        mirror: also refuse what looks mirrored; see `check_view` about its errors.
        min_correlation: see `check_view`.
        view_model: local weights of torchxrayvision's ViewModel, which then tells frontal from lateral.
        processes: how many look at once.
        scheduler: address of a Dask scheduler to use instead.
        record: file to which verdicts are written, and from which they are taken on the next run; None keeps none.
    """

    mirror: bool = False
    min_correlation: float = MIN_CORRELATION
    view_model: str | None = None
    processes: int = 1
    record: Path | None = None
    scheduler: str | None = None

    def check(self, paths: Sequence[str]) -> list[str]:
        """Say of each image "" or why it is refused: `view check: lateral`, or why it cannot be read."""
        keys = [self._key(path) for path in paths]
        known = self._read_record()
        todo = [place for place, key in enumerate(keys) if key not in known]
        look = partial(look_at, mirror=self.mirror, min_correlation=self.min_correlation, view_model=self.view_model)
        options = {"processes": self.processes, "scheduler": self.scheduler}
        options |= {"title": "views", "unit": "images", "on_death": lambda _path: CRASHED}
        found = map_in_processes(look, [paths[place] for place in todo], **options)
        with self._appending(bool(todo)) as write:
            for place, reason in zip(todo, found):
                known[keys[place]] = reason
                if reason != CRASHED:  # the next run looks again
                    write(json.dumps({"key": keys[place], "reason": reason}) + "\n")
        return [known[key] for key in keys]

    @contextmanager
    def _appending(self, wanted: bool) -> Iterator[Callable[[str], object]]:
        if self.record is None or not wanted:
            yield lambda line: None
            return
        self.record.parent.mkdir(parents=True, exist_ok=True)
        with self.record.open("a", encoding="utf-8", buffering=1) as stream:
            stream.write("\n")  # the last run may have been killed within a line
            yield stream.write

    def _key(self, path: str) -> str:
        settings = {name: value for name, value in asdict(self).items() if name not in _PASSING}
        stat = Path(path).stat()
        text = json.dumps([str(path), stat.st_size, stat.st_mtime_ns, {name: str(v) for name, v in settings.items()}])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _read_record(self) -> dict[str, str]:
        if self.record is None or not self.record.is_file():
            return {}
        known = {}
        for line in self.record.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
                known[row["key"]] = row["reason"]
            except (ValueError, KeyError, TypeError):  # the line that was being written when the run was killed
                continue
        return known


def look_at(path: str, *, mirror: bool, min_correlation: float, view_model: str | None = None) -> str:
    """Look at one file: "" or the reason to refuse it."""
    try:
        image = load_radiograph(path, size=LOOK_SIZE)
    except ImageError as error:
        return error.reason
    reason = check_view(image, mirror=mirror, min_correlation=min_correlation).reason
    if view_model is not None and reason in ("", "lateral", "mirrored"):
        if _open_view_model(view_model).is_lateral(image):
            reason = "lateral"
        elif reason == "lateral":
            reason = ""
    return f"view check: {reason}" if reason else ""


@lru_cache(maxsize=1)
def _open_view_model(path: str):
    from biomedjourney_monai.radiographs.views.frontal_network import ViewModel

    return ViewModel(path)
