"""All studies to PNG, all journeys to registered pairs: journeys.parquet → pairs.parquet and images/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.preparation.parallel import map_in_processes
from biomedjourney_monai.preparation.registration import MIN_SCORE, register, rejection
from biomedjourney_monai.radiographs import load_with_content, read_png, save_png
from biomedjourney_monai.schema import IMAGES_FOLDER, PAIR_COLUMNS

_MEASURES = ("gradient_correlation", "scale", "rotation_degrees", "shift_x_px", "shift_y_px", "overlap")


@dataclass(frozen=True)
class RegistrationSettings:
    """What decides the result of a registration, and so belongs to every row."""

    transform: str = "similarity"
    toolkit: str = "simpleitk"
    min_score: float = MIN_SCORE


@dataclass(frozen=True)
class Content:
    """Where a study's picture has content: (top, left, rows, columns) in px; `reason` says why there is no picture."""

    box: tuple[int, int, int, int] | None
    reason: str = ""

    def mask(self, size: int) -> np.ndarray:
        """The box as bool, shape (size, size)."""
        top, left, rows, columns = self.box
        mask = np.zeros((size, size), bool)
        mask[top : top + rows, left : left + columns] = True
        return mask


def convert_studies(studies: pd.DataFrame, work: Path, *, size: int, processes: int) -> dict[str, Content]:
    """Write images/<dicom_id>.png for each study, each decoded once.

    Args:
        studies: columns `schema.STUDY_COLUMNS`.
        work: the working folder.
        size: side of the pictures in pixels.

    Returns:
        dicom_id → its content, or the reason why there is no picture.
    """
    items = list(zip(studies["dicom_id"], studies["image_path"]))
    convert = partial(_convert, folder=work / IMAGES_FOLDER, size=size)
    contents = map_in_processes(convert, items, processes=processes, title="images", unit="images")
    return dict(zip(studies["dicom_id"], contents))


def register_journeys(
    journeys: pd.DataFrame,
    contents: Mapping[str, Content],
    work: Path,
    *,
    size: int,
    processes: int,
    settings: RegistrationSettings | None = None,
) -> pd.DataFrame:
    """Register the new image of each journey onto its prior image.

    Args:
        journeys: columns `schema.JOURNEY_COLUMNS`.
        contents: what `convert_studies` returned.
        work: the working folder with images/.
        size: side of the pictures in pixels.
        settings: transform, toolkit and threshold.

    Returns:
        Columns `schema.PAIR_COLUMNS`; a journey that failed keeps its row, with kept = False and a drop_reason.
    """
    unread = Content(None, "image unreadable")
    pairs = zip(journeys["prior_dicom_id"], journeys["new_dicom_id"])
    items = [(prior, new, contents.get(prior, unread), contents.get(new, unread)) for prior, new in pairs]
    task = partial(_register_pair, work=work, size=size, settings=settings or RegistrationSettings())
    results = list(map_in_processes(task, items, processes=processes, title="register", unit="pairs"))
    return pd.concat([journeys, pd.DataFrame(results, index=journeys.index)], axis=1)[list(PAIR_COLUMNS)]


def _convert(item: tuple[str, str], *, folder: Path, size: int) -> Content:
    dicom_id, path = item
    try:
        image, content = load_with_content(path, size=size)
    except ImageError:
        (folder / f"{dicom_id}.png").unlink(missing_ok=True)  # of an earlier run
        return Content(None, "image unreadable")
    save_png(folder / f"{dicom_id}.png", image)
    rows, columns = np.flatnonzero(content.any(axis=1)), np.flatnonzero(content.any(axis=0))
    return Content((int(rows[0]), int(columns[0]), len(rows), len(columns)))


def _register_pair(
    item: tuple[str, str, Content, Content], *, work: Path, size: int, settings: RegistrationSettings
) -> dict[str, object]:
    prior_id, new_id, prior_content, new_content = item
    reason = prior_content.reason or new_content.reason
    if reason:
        return _dropped(reason)
    names = {
        "prior_image": f"{IMAGES_FOLDER}/{prior_id}.png",
        "new_image": f"{IMAGES_FOLDER}/{new_id}-on-{prior_id}.png",
        "valid_mask": f"{IMAGES_FOLDER}/{new_id}-on-{prior_id}-valid.png",
    }
    try:
        registration = register(
            read_png(work / names["prior_image"]),
            read_png(work / IMAGES_FOLDER / f"{new_id}.png"),
            prior_content.mask(size),
            new_content.mask(size),
            transform=settings.transform,
            toolkit=settings.toolkit,
        )
    except ImageError:
        return _dropped("registration failed")
    save_png(work / names["new_image"], registration.image)
    save_png(work / names["valid_mask"], registration.valid)
    reason = rejection(registration, min_score=settings.min_score)
    measures = {name: getattr(registration, name) for name in _MEASURES}
    return {**names, **measures, "kept": not reason, "drop_reason": reason}


def _dropped(reason: str) -> dict[str, object]:
    names = dict.fromkeys(("prior_image", "new_image", "valid_mask"), "")
    return {**names, **dict.fromkeys(_MEASURES, float("nan")), "kept": False, "drop_reason": reason}
