"""Some journeys as one picture: prior, counterfactual, real next image and change, a row each."""

from pathlib import Path

import numpy as np
from PIL import Image

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import ImageError, SettingError, TableError, require_at_least
from biomedjourney_monai.evaluation.systems.sources import read_counterfactuals, read_picture
from biomedjourney_monai.files import read_table, written_atomically
from biomedjourney_monai.output_check import refuse_unwritable
from biomedjourney_monai.radiographs import NOT_FOR_DIAGNOSIS, mark_synthetic, save_png
from biomedjourney_monai.radiographs.pictures.strips import wrap, write_words
from biomedjourney_monai.radiographs.write.png import to_8_bit
from biomedjourney_monai.schema import PAIRS_FILE, SAMPLES_FOLDER

SUFFIXES = (".jpg", ".jpeg", ".png")
TILE = 256
"""Side of each picture, in pixels."""

GAIN = 1.5
"""How much the change is amplified, around middle grey."""

TITLES = ("Prior", "Counterfactual", "Real next image", f"Counterfactual - prior, times {GAIN:g}")
JPEG_QUALITY = 80


def draw_sheet(work: Path, *, count: int, seed: int) -> np.ndarray:
    """Draw sampled journeys at random, a row of pictures for each below its description.

    The draw does not depend on the result. Where there are fewer than `count` journeys, all are drawn.

    Returns:
        uint8, shape (H, 4 · TILE); the counterfactuals carry the mark.

    Raises:
        TableError: if there are no samples.
        ImageError: if a picture cannot be read or used.
    """
    counterfactuals = read_counterfactuals(work / SAMPLES_FOLDER)
    if counterfactuals is None:
        raise TableError(
            "a picture of journeys needs samples", found="no samples.jsonl", action="Run `biomedjourney sample`"
        )
    columns = ["journey_id", "prior_image", "new_image"]
    pairs = read_table(work / PAIRS_FILE, columns=columns, made_by="register")
    journeys = pairs[pairs["journey_id"].isin(counterfactuals.journey_ids())].to_dict("records")
    if not journeys:
        raise TableError(
            "samples must be of journeys of the folder",
            found=f"{len(counterfactuals.rows)} of journeys that pairs.parquet lacks",
        )
    places = np.random.default_rng(seed).choice(len(journeys), min(count, len(journeys)), replace=False)
    rows = [np.hstack([write_words(title, width=TILE) for title in TITLES])]
    for place in sorted(places):
        journey = journeys[place]
        prior, new = (read_picture(work, journey[name]) for name in ("prior_image", "new_image"))
        rows.append(_row(prior, counterfactuals.image(journey), new, counterfactuals.description(journey)))
    return np.vstack(rows)


def write_sheet(work: str | Path, path: str | Path, *, picture_journeys: int = 7, seed: int = 0) -> None:
    """Draw a sheet of journeys and write it as JPEG or PNG, by the suffix, with the mark in its metadata.

    Raises:
        SettingError: if a number or the suffix cannot be used.
        TableError: if there are no samples.
        ImageError: if a picture cannot be read or used.
    """
    path = Path(path)
    require_at_least(0, seed=seed)
    require_at_least(1, picture_journeys=picture_journeys)
    if path.suffix.lower() not in SUFFIXES:
        raise SettingError("picture", f"must end in {', '.join(SUFFIXES)}", found=path.suffix or "no suffix")
    refuse_unwritable(path, name="--picture")
    save_sheet(path, draw_sheet(Path(work), count=picture_journeys, seed=seed))


def save_sheet(path: Path, sheet: np.ndarray) -> None:
    """Write a sheet as JPEG or PNG, by the suffix, with the mark in its metadata."""
    if path.suffix.lower() == ".png":
        facts = {"Comment": NOT_FOR_DIAGNOSIS, "Software": f"biomedjourney_monai {__version__}"}
        save_png(path, sheet, metadata=facts)
        return
    with written_atomically(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="JPEG", quality=JPEG_QUALITY, comment=NOT_FOR_DIAGNOSIS.encode())


def _row(prior: np.ndarray, counterfactual: np.ndarray, new: np.ndarray, description: str) -> np.ndarray:
    """Four pictures side by side below their description, uint8 (H, 4 · TILE)."""
    if not prior.shape == counterfactual.shape == new.shape or not np.isfinite(counterfactual).all():
        raise ImageError("a counterfactual must be finite and as large as its prior and the real next image")
    change = 128 / 255 + GAIN * (counterfactual - prior)
    tiles = [_enlarged(prior), mark_synthetic(_enlarged(counterfactual)), _enlarged(new), _enlarged(change)]
    words = write_words(*wrap(description, width=len(tiles) * TILE), width=len(tiles) * TILE)
    return np.vstack([words, to_8_bit(np.hstack(tiles))])


def _enlarged(image: np.ndarray) -> np.ndarray:
    """Resized to a tile, float32 in [0, 1]."""
    return np.asarray(Image.fromarray(to_8_bit(image)).resize((TILE, TILE)), np.float32) / 255
