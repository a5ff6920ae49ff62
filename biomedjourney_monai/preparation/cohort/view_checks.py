"""The view check of many files in many processes, with a record so that a second run reuses the results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.preparation.item_record import appending, read_lines
from biomedjourney_monai.preparation.parallel import ALONE, CRASHED, Workers, map_in_processes
from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.radiographs.views.check import MAX_FAULT, check_view
from biomedjourney_monai.radiographs.views.framing import framing_fault

if TYPE_CHECKING:
    from biomedjourney_monai.radiographs.views.frontal_network import ViewModel

DOUBT = "view in doubt: "
LOOK_SIZE = 128
"""Side in pixels at which an image is checked; the check looks at 64."""


@dataclass(frozen=True)
class ViewChecker:
    """Says why images are not upright frontal chest films.

    Args:
        mirror: also refuse what looks mirrored; see `check_view` about its errors.
        max_fault: see `check_view`.
        view_model: local weights of torchxrayvision's ViewModel, which then separates frontal from lateral.
        record: file with the results, which the next run reuses; None keeps none.
        workers: that check images.
    """

    mirror: bool = False
    max_fault: float = MAX_FAULT
    view_model: str | None = None
    record: Path | None = None
    workers: Workers = ALONE

    def check(self, paths: Sequence[str]) -> list[str]:
        """Give "" for each image, or why it is refused: "view check: lateral", or why it cannot be read.

        What begins with `DOUBT` is not refused: "view in doubt: lateral".
        """
        keys = [self._key(path) for path in paths]
        known = {line["key"]: line["reason"] for line in read_lines(self.record) if {"key", "reason"} <= line.keys()}
        todo = [place for place, key in enumerate(keys) if key not in known]
        found = map_in_processes(
            partial(look_at, mirror=self.mirror, max_fault=self.max_fault, view_model=self.view_model),
            [paths[place] for place in todo],
            title="views",
            unit="images",
            on_death=lambda _path: CRASHED,
            **vars(self.workers),
        )
        with appending(self.record if todo else None) as append:
            for place, reason in zip(todo, found):
                known[keys[place]] = reason
                if reason != CRASHED:  # the next run tries again
                    append(json.dumps({"key": keys[place], "reason": reason}) + "\n")
        return [known[key] for key in keys]

    def _key(self, path: str) -> str:
        stat = Path(path).stat()
        settings = {name: str(getattr(self, name)) for name in ("mirror", "max_fault", "view_model")}
        text = json.dumps(["framing", str(path), stat.st_size, stat.st_mtime_ns, settings])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def look_at(path: str, *, mirror: bool, max_fault: float, view_model: str | None = None) -> str:
    """Check one file: "", why it cannot be read, its framing fault, "view check: lateral", or a doubt."""
    try:
        image = load_radiograph(path, size=LOOK_SIZE)
    except ImageError as error:
        return error.reason
    if fault := framing_fault(image):
        return fault
    view = check_view(image, mirror=mirror, max_fault=max_fault)
    reason = view.reason
    if view_model is not None and reason in ("", "lateral", "mirrored"):
        if open_view_model(view_model).is_lateral(image):
            reason = "lateral"
        elif reason == "lateral":
            return ""
    return f"view check: {reason}" if reason else f"{DOUBT}{view.doubt}" if view.doubt else ""


@lru_cache(maxsize=1)
def open_view_model(path: str) -> ViewModel:
    """Load torchxrayvision's view model, once in each process.

    Raises:
        WeightsError: if the weights are missing or do not fit.
    """
    from biomedjourney_monai.radiographs.views.frontal_network import ViewModel

    return ViewModel(path)
