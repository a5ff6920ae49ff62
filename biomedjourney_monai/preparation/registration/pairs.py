"""Studies to square pictures, and journeys to registered pairs: files in images/, measures in pairs.parquet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.preparation.item_record import Item, ItemRecord, Outcome, content_hash, key_of
from biomedjourney_monai.preparation.parallel import ALONE, CRASHED, Workers
from biomedjourney_monai.preparation.registration.image_pair import ImagePair
from biomedjourney_monai.preparation.registration.register import MIN_SCORE, PairRegistrar, Registration, rejection
from biomedjourney_monai.preparation.registration.sitk_transform import write_transform
from biomedjourney_monai.radiographs import load_with_content, read_png, save_png
from biomedjourney_monai.radiographs.views.check import check_view
from biomedjourney_monai.radiographs.views.framing import FAULTS, framing_fault
from biomedjourney_monai.schema import IMAGES_FOLDER, PAIR_COLUMNS

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


PAIR_RECORD = "register_pairs.jsonl"

RegisterPair = Callable[[ImagePair], Registration]
"""From two square images to a registration. Its repr must name every setting."""

_SCORES = ("gradient_correlation", "scale", "rotation_degrees", "shift_x_px", "shift_y_px", "overlap")
_MEASURES = (*_SCORES, "mirrored_correlation", "stretch")
_FILES = ("prior_image", "new_image", "valid_mask", "transform_file")


def register_journeys(
    journeys: pd.DataFrame,
    contents: Mapping[str, Content],
    work: Path,
    register: RegisterPair | None = None,
    workers: Workers = ALONE,
) -> tuple[pd.DataFrame, ItemRecord]:
    """Register the new image of each journey onto its prior image, unless an earlier run did.

    A pair is registered again if one of its two pictures holds other bytes, or the registrar's settings differ. The
    threshold does not count, so changing it costs nothing.

    Args:
        journeys: columns `schema.JOURNEY_COLUMNS`.
        contents: what `convert_studies` returned.
        register: None takes `PairRegistrar`'s defaults.

    Returns:
        Columns `schema.PAIR_COLUMNS` and `stretch`, with kept = False and a drop_reason where no registration could
        be made; `decide` judges the others. And the record, with the number done and reused.
    """
    register = register or PairRegistrar()
    unread = Content(None, UNREADABLE)
    rows: list[tuple[str, str]] = []
    items = []
    for prior, new in zip(journeys["prior_dicom_id"], journeys["new_dicom_id"]):
        before, after = contents.get(prior, unread), contents.get(new, unread)
        name, reason = f"{new}-on-{prior}", before.reason or after.reason
        rows.append((name, reason))
        if not reason:
            key = key_of(before.picture, before.box, after.picture, after.box, f"{__version__} {register!r}")
            items.append(Item(name, key, (prior, new, before, after)))
    record = ItemRecord(work / PAIR_RECORD, work)
    outcomes = record.complete_in_processes(
        items,
        partial(_register_pair, work=work.absolute(), register=register),
        on_death=_pair_crashed,
        title="register",
        unit="pairs",
        workers=workers,
    )
    results = [_dropped(reason) if reason else outcomes[name].result for name, reason in rows]
    pairs = pd.concat([journeys, pd.DataFrame(results, index=journeys.index)], axis=1)
    return pairs[[*PAIR_COLUMNS, "stretch"]], record


def decide(pairs: pd.DataFrame, *, min_score: float = MIN_SCORE) -> pd.DataFrame:
    """Decide which results of `register_journeys` to keep, and say why not: columns `schema.PAIR_COLUMNS`."""
    rows = (dict(zip(_MEASURES, row)) for row in pairs[list(_MEASURES)].itertuples(index=False, name=None))
    reasons = [known or rejection(row, min_score=min_score) for known, row in zip(pairs["drop_reason"], rows)]
    decided = pairs.assign(drop_reason=reasons)
    decided["kept"] = decided["drop_reason"] == ""
    return decided[list(PAIR_COLUMNS)]


def _register_pair(item: tuple[str, str, Content, Content], *, work: Path, register: RegisterPair) -> Outcome:
    prior_id, new_id, prior_content, new_content = item
    stem = f"{IMAGES_FOLDER}/{new_id}-on-{prior_id}"
    names = dict(zip(_FILES, (f"{IMAGES_FOLDER}/{prior_id}.png", f"{stem}.png", f"{stem}-valid.png", f"{stem}.tfm")))
    written = [names[name] for name in _FILES[1:]]
    prior, new = read_png(work / names["prior_image"]), read_png(work / IMAGES_FOLDER / f"{new_id}.png")
    size = prior.shape[0]
    try:
        registration = register(ImagePair(prior, new, prior_content.mask(size), new_content.mask(size)))
    except ImageError:
        for name in written:
            (work / name).unlink(missing_ok=True)
        return Outcome(_dropped("registration failed"), dict.fromkeys(written, ""))
    save_png(work / names["new_image"], registration.image)
    save_png(work / names["valid_mask"], registration.valid)
    write_transform(work / names["transform_file"], registration.transform)
    measures = {name: registration.measures[name] for name in _MEASURES}
    row = {**names, **measures, "kept": True, "drop_reason": ""}
    return Outcome(row, {name: content_hash(work / name) for name in written})


def _pair_crashed(_item: object) -> Outcome:
    return Outcome(_dropped("registration crashed"), final=False)


def _dropped(reason: str) -> dict[str, Any]:
    nan = float("nan")
    measures = {**dict.fromkeys(_MEASURES, nan), "stretch": (nan, nan)}
    return {**dict.fromkeys(_FILES, ""), **measures, "kept": False, "drop_reason": reason}
