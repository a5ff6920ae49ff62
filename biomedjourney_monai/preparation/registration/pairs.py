"""Journeys to registered pairs: pictures, masks and transforms in images/, measures in pairs.parquet."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.preparation.item_record import Item, ItemRecord, Outcome, content_hash, key_of
from biomedjourney_monai.preparation.parallel import ALONE, Workers
from biomedjourney_monai.preparation.registration.image_pair import ImagePair
from biomedjourney_monai.preparation.registration.images import UNREADABLE, Content
from biomedjourney_monai.preparation.registration.register import MIN_SCORE, PairRegistrar, Registration, rejection
from biomedjourney_monai.preparation.registration.sitk_transform import write_transform
from biomedjourney_monai.radiographs import read_png, save_png
from biomedjourney_monai.schema import IMAGES_FOLDER, PAIR_COLUMNS

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
