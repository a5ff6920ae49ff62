"""All studies to PNG, all journeys to registered pairs: journeys.parquet → pairs.parquet and images/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.preparation.item_record import Item, ItemRecord, Outcome, content_hash, key_of
from biomedjourney_monai.preparation.parallel import CRASHED, map_in_processes
from biomedjourney_monai.preparation.registration.register import MIN_SCORE, rejection
from biomedjourney_monai.preparation.registration.recipe import LoadsStudies, PairRegistrar, RegistersPairs
from biomedjourney_monai.radiographs import read_png, save_png
from biomedjourney_monai.schema import IMAGES_FOLDER, PAIR_COLUMNS

STUDY_RECORD = "register_studies.jsonl"
PAIR_RECORD = "register_pairs.jsonl"
UNREADABLE = "image unreadable"

_MEASURES = ("gradient_correlation", "scale", "rotation_degrees", "shift_x_px", "shift_y_px", "overlap")
_MEASURES += ("mirrored_correlation",)
_FILES = ("prior_image", "new_image", "valid_mask", "transform_file")


@dataclass(frozen=True)
class Workers:
    """Who does the work: see `map_in_processes`."""

    processes: int = 1
    scheduler: str | None = None


@dataclass(frozen=True)
class Content:
    """Where a study's picture has content: (top, left, rows, columns) in px; `reason` says why there is no picture."""

    box: tuple[int, int, int, int] | None
    reason: str = ""
    picture: str = field(default="", compare=False)
    """Hash of the picture's bytes."""
    detail: str = field(default="", compare=False)
    """The reason as the reader of the image gave it."""

    def mask(self, size: int) -> np.ndarray:
        """The box as bool, shape (size, size)."""
        top, left, rows, columns = self.box
        mask = np.zeros((size, size), bool)
        mask[top : top + rows, left : left + columns] = True
        return mask


@dataclass(frozen=True)
class Done:
    """How many items a step did, and how many it found done."""

    done: int
    reused: int


def convert_studies(
    studies: pd.DataFrame, work: Path, loader: LoadsStudies, *, workers: Workers | None = None
) -> tuple[dict[str, Content], Done]:
    """Write images/<dicom_id>.png for each study, each decoded once, and none that an earlier run has done.

    A picture is done anew if its file's size or time of change differs, or the loader does.

    Args:
        studies: columns `schema.STUDY_COLUMNS`.
        work: the working folder.
        loader: from file to square.
        workers: who works; None: this process.

    Returns:
        dicom_id → its content, or the reason why there is no picture; and how many were done.
    """
    recipe = f"{__version__} {loader!r}"
    items = [
        Item(dicom_id, key_of(_look_of_file(path), recipe), (dicom_id, str(path)))
        for dicom_id, path in zip(studies["dicom_id"], studies["image_path"])
    ]
    convert = partial(_convert, work=work.absolute(), loader=loader)  # workers may stand elsewhere
    bar = {"title": "images", "unit": "images"}
    on_death = partial(_image_crashed, work=work)
    outcomes, done = _complete(items, convert, work, STUDY_RECORD, workers, on_death=on_death, **bar)
    contents = {}
    for name, outcome in outcomes.items():
        box = outcome.result["box"]
        picture = outcome.files.get(f"{IMAGES_FOLDER}/{name}.png", "")
        detail = outcome.result.get("detail", outcome.result["reason"])
        contents[name] = Content(tuple(box) if box else None, outcome.result["reason"], picture, detail)
    return contents, done


def register_journeys(
    journeys: pd.DataFrame,
    contents: Mapping[str, Content],
    work: Path,
    registrar: RegistersPairs | None = None,
    *,
    workers: Workers | None = None,
) -> tuple[pd.DataFrame, Done]:
    """Register the new image of each journey onto its prior image, unless an earlier run has.

    A pair is done anew if one of its two pictures holds other bytes, or the registrar differs; the threshold plays no
    part, so changing it costs nothing.

    Args:
        journeys: columns `schema.JOURNEY_COLUMNS`.
        contents: what `convert_studies` returned.
        work: the working folder with images/.
        registrar: from two squares to a registration.
        workers: who works; None: this process.

    Returns:
        Columns `schema.PAIR_COLUMNS`, with kept = False and a drop_reason where a pair could not be made; `decide`
        judges the others. And how many were done.
    """
    registrar = registrar or PairRegistrar()
    unread = Content(None, UNREADABLE)
    rows: list[dict[str, Any]] = []
    items = []
    for prior, new in zip(journeys["prior_dicom_id"], journeys["new_dicom_id"]):
        before, after = contents.get(prior, unread), contents.get(new, unread)
        reason = before.reason or after.reason
        rows.append({"name": f"{new}-on-{prior}", "reason": reason})
        if not reason:
            parts = (before.picture, before.box, after.picture, after.box, f"{__version__} {registrar!r}")
            items.append(Item(f"{new}-on-{prior}", key_of(*parts), (prior, new, before, after)))
    task = partial(_register_pair, work=work.absolute(), registrar=registrar)
    bar = {"title": "register", "unit": "pairs"}
    outcomes, done = _complete(items, task, work, PAIR_RECORD, workers, on_death=_pair_crashed, **bar)
    results = [_dropped(row["reason"]) if row["reason"] else outcomes[row["name"]].result for row in rows]
    pairs = pd.concat([journeys, pd.DataFrame(results, index=journeys.index)], axis=1)
    return pairs[[*PAIR_COLUMNS, "stretch"]], done


def decide(pairs: pd.DataFrame, *, min_score: float = MIN_SCORE) -> pd.DataFrame:
    """Say which registrations to keep, and why not.

    Args:
        pairs: what `register_journeys` returned.
        min_score: gradient correlation that a pair must reach.

    Returns:
        Columns `schema.PAIR_COLUMNS`.
    """
    decided = pairs.copy()
    decided["drop_reason"] = [
        row.drop_reason or _reject(row, min_score) for row in pairs[[*_MEASURES, "stretch", "drop_reason"]].itertuples()
    ]
    decided["kept"] = decided["drop_reason"] == ""
    return decided[list(PAIR_COLUMNS)]


def _reject(row: Any, min_score: float) -> str:
    measured = SimpleNamespace(**row._asdict())
    return rejection(measured, min_score=min_score)


def _complete(items, function, work: Path, record: str, workers: Workers | None, **of_the_map):
    for leftover in (work / IMAGES_FOLDER).glob(".*-????????.*"):  # of a run that was killed while it wrote
        leftover.unlink(missing_ok=True)
    unique = list({item.name: item for item in items}.values())
    kept = ItemRecord(work / record, work)
    run = partial(map_in_processes, function, **of_the_map, **asdict(workers or Workers()))
    outcomes = kept.complete(unique, lambda payloads: run(payloads))
    return outcomes, Done(kept.done, kept.reused)


def _image_crashed(item: tuple[str, str], *, work: Path) -> Outcome:
    (work / IMAGES_FOLDER / f"{item[0]}.png").unlink(missing_ok=True)  # of an earlier run
    return Outcome({"box": None, "reason": UNREADABLE, "detail": CRASHED}, final=False)


def _pair_crashed(_item: object) -> Outcome:
    return Outcome(_dropped("registration crashed"), final=False)


def _look_of_file(path: str) -> list[int]:
    try:
        stat = Path(path).stat()
    except (OSError, ValueError):
        return []
    return [stat.st_size, stat.st_mtime_ns]


def _convert(item: tuple[str, str], *, work: Path, loader: LoadsStudies) -> Outcome:
    dicom_id, path = item
    name = f"{IMAGES_FOLDER}/{dicom_id}.png"
    try:
        image, content = loader(path)
    except ImageError as error:
        (work / name).unlink(missing_ok=True)  # of an earlier run
        reason = error.reason if error.reason.startswith("view check") else UNREADABLE
        return Outcome({"box": None, "reason": reason, "detail": error.reason}, {name: ""})
    save_png(work / name, image)
    rows, columns = np.flatnonzero(content.any(axis=1)), np.flatnonzero(content.any(axis=0))
    box = [int(rows[0]), int(columns[0]), len(rows), len(columns)]
    return Outcome({"box": box, "reason": ""}, {name: content_hash(work / name)})


def _register_pair(item: tuple[str, str, Content, Content], *, work: Path, registrar: RegistersPairs) -> Outcome:
    prior_id, new_id, prior_content, new_content = item
    stem = f"{IMAGES_FOLDER}/{new_id}-on-{prior_id}"
    prior_name = f"{IMAGES_FOLDER}/{prior_id}.png"
    names = dict(zip(_FILES, (prior_name, f"{stem}.png", f"{stem}-valid.png", f"{stem}.tfm")))
    written = [names[name] for name in _FILES[1:]]
    prior, new = read_png(work / prior_name), read_png(work / IMAGES_FOLDER / f"{new_id}.png")
    size = prior.shape[0]
    try:
        registration = registrar(prior, new, prior_content.mask(size), new_content.mask(size))
    except ImageError:
        for name in written:
            (work / name).unlink(missing_ok=True)
        return Outcome(_dropped("registration failed"), dict.fromkeys(written, ""))
    save_png(work / names["new_image"], registration.image)
    save_png(work / names["valid_mask"], registration.valid)
    _save_transform(work / names["transform_file"], registration)
    measures = {name: getattr(registration, name) for name in (*_MEASURES, "stretch")}
    row = {**names, **measures, "kept": True, "drop_reason": ""}
    return Outcome(row, {name: content_hash(work / name) for name in written})


def _save_transform(path: Path, registration) -> None:
    import SimpleITK as sitk  # noqa: N813

    from biomedjourney_monai.files import written_atomically

    with written_atomically(path) as temporary:
        sitk.WriteTransform(registration.transform, str(temporary))


def _dropped(reason: str) -> dict[str, object]:
    measures = dict.fromkeys(_MEASURES, float("nan"))
    stretch = (float("nan"), float("nan"))
    return {**dict.fromkeys(_FILES, ""), **measures, "stretch": stretch, "kept": False, "drop_reason": reason}
