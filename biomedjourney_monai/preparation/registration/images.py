"""Studies to square pictures: each study's image becomes images/<dicom_id>.png in the working folder."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.preparation.item_record import Item, ItemRecord, Outcome, content_hash, key_of
from biomedjourney_monai.preparation.parallel import ALONE, CRASHED, Workers
from biomedjourney_monai.radiographs import load_with_content, save_png
from biomedjourney_monai.radiographs.views.check import check_view
from biomedjourney_monai.radiographs.views.framing import FAULTS, framing_fault
from biomedjourney_monai.schema import IMAGES_FOLDER

STUDY_RECORD = "register_studies.jsonl"
UNREADABLE = "image unreadable"

LoadStudy = Callable[[str | Path], tuple[np.ndarray, np.ndarray]]
"""From a file to a square radiograph and its content mask, each (S, S). Its repr must name every setting."""


@dataclass(frozen=True)
class StudyLoader:
    """Load, letterbox and normalise; refuse pictures with a border and stretched ones.

    Args:
        size: side of the square in pixels.
        check_views: refuse what is not an upright frontal chest film.
    """

    size: int = 128
    check_views: bool = False

    def __call__(self, path: str | Path) -> tuple[np.ndarray, np.ndarray]:
        image, content = load_with_content(path, size=self.size)
        fault = framing_fault(image)
        view = check_view(image).reason if self.check_views and not fault else ""
        if fault or view:
            rule = "a radiograph must be an upright frontal chest that fills its picture"
            found = (fault or view).replace("_", " ")
            action = "Crop the picture to the film, in the film's own proportions" if fault else ""
            raise ImageError(rule, found=found, action=action, reason=fault or f"view check: {view}")
        return image, content


@dataclass(frozen=True)
class Content:
    """Where a study's picture has content.

    Args:
        box: (top, left, rows, columns) in px; None if there is no picture.
        reason: why there is no picture.
        picture: hash of the picture's bytes.
        detail: the reason as the image reader gave it.
    """

    box: tuple[int, int, int, int] | None
    reason: str = ""
    picture: str = field(default="", compare=False)
    detail: str = field(default="", compare=False)

    def mask(self, size: int) -> np.ndarray:
        """The box as bool, shape (size, size); a ValueError if there is no picture."""
        if self.box is None:
            raise ValueError(f"a content mask needs a picture; this one has none: {self.reason}")
        top, left, rows, columns = self.box
        mask = np.zeros((size, size), bool)
        mask[top : top + rows, left : left + columns] = True
        return mask


def convert_studies(
    studies: pd.DataFrame, work: Path, load: LoadStudy, workers: Workers = ALONE
) -> tuple[dict[str, Content], ItemRecord]:
    """Write images/<dicom_id>.png for each study whose picture is not there from an earlier run.

    A picture is written again if its file's size or time of change differs, or the loader's settings do.

    Args:
        studies: columns `schema.STUDY_COLUMNS`.

    Returns:
        dicom_id → its content, or the reason why there is no picture; and the record, with the number done and reused.
    """
    recipe = f"{__version__} {load!r}"
    items = [
        Item(dicom_id, key_of(_file_state(path), recipe), (dicom_id, str(path)))
        for dicom_id, path in zip(studies["dicom_id"], studies["image_path"])
    ]
    record = ItemRecord(work / STUDY_RECORD, work)
    outcomes = record.complete_in_processes(
        items,
        partial(_convert, work=work.absolute(), load=load),  # workers may run in another folder
        on_death=partial(_image_crashed, work=work),
        title="images",
        unit="images",
        workers=workers,
    )
    contents = {}
    for name, outcome in outcomes.items():
        box, reason = outcome.result["box"], outcome.result["reason"]
        picture = outcome.files.get(f"{IMAGES_FOLDER}/{name}.png", "")
        contents[name] = Content(tuple(box) if box else None, reason, picture, outcome.result.get("detail", reason))
    return contents, record


def _file_state(path: str) -> list[int]:
    try:
        stat = Path(path).stat()
    except (OSError, ValueError):
        return []
    return [stat.st_size, stat.st_mtime_ns]


def _convert(item: tuple[str, str], *, work: Path, load: LoadStudy) -> Outcome:
    dicom_id, path = item
    name = f"{IMAGES_FOLDER}/{dicom_id}.png"
    try:
        image, content = load(path)
    except ImageError as error:
        (work / name).unlink(missing_ok=True)  # from an earlier run
        is_seen = error.reason in FAULTS or error.reason.startswith("view check")
        reason = error.reason if is_seen else UNREADABLE
        return Outcome({"box": None, "reason": reason, "detail": error.reason}, {name: ""})
    save_png(work / name, image)
    rows, columns = np.flatnonzero(content.any(axis=1)), np.flatnonzero(content.any(axis=0))
    box = [int(rows[0]), int(columns[0]), len(rows), len(columns)]
    return Outcome({"box": box, "reason": ""}, {name: content_hash(work / name)})


def _image_crashed(item: tuple[str, str], *, work: Path) -> Outcome:
    (work / IMAGES_FOLDER / f"{item[0]}.png").unlink(missing_ok=True)  # from an earlier run
    return Outcome({"box": None, "reason": UNREADABLE, "detail": CRASHED}, final=False)
