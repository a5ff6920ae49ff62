"""The best, the median and the worst registered pairs: before, after and the difference (the paper's Fig. 8)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney_monai.radiographs import read_mask, read_png
from biomedjourney_monai.radiographs.pictures.html import colour_difference, picture_uri
from biomedjourney_monai.schema import IMAGES_FOLDER

PER_KIND = 2


@dataclass(frozen=True)
class PairPictures:
    """One pair on the page.

    Args:
        title: for example "best, j000012".
        facts: its measures, and whether it is kept, in one line.
        before: (caption, data URI) of the prior, the new image before registration, and their difference.
        after: the same with the registered image.
    """

    title: str
    facts: str
    before: list[tuple[str, str]]
    after: list[tuple[str, str]]


def choose_pairs(pairs: pd.DataFrame, *, per_kind: int = PER_KIND) -> list[tuple[str, int]]:
    """Choose pairs by score: the best, the median and the worst of all registered ones, and the worst kept.

    Returns:
        (kind, row number), each pair once, under the first kind that includes it.
    """
    places = np.flatnonzero(pairs["gradient_correlation"].notna() & (pairs["new_image"] != ""))
    order = places[np.argsort(-pairs["gradient_correlation"].to_numpy()[places], kind="stable")]
    kept = order[pairs["kept"].to_numpy()[order]]
    middle = max(0, (len(order) - per_kind + 1) // 2)
    kinds = {
        "best": order[:per_kind],
        "median": order[middle : middle + per_kind],
        "worst": order[::-1][:per_kind],
        "worst kept": kept[::-1][:per_kind],
    }
    chosen: dict[int, str] = {}
    for kind, rows in kinds.items():
        for row in rows:
            chosen.setdefault(int(row), kind)
    return [(kind, row) for row, kind in chosen.items()]


def draw_pair(kind: str, row: Mapping[str, Any], work: Path) -> PairPictures:
    """Read a pair's pictures and measures, from its row of pairs.parquet; an ImageError if a picture is missing."""
    prior, moved = read_png(work / row["prior_image"]), read_png(work / row["new_image"])
    new = read_png(work / IMAGES_FOLDER / f"{row['new_dicom_id']}.png")
    valid = read_mask(work / row["valid_mask"])
    facts = [
        f"score {row['gradient_correlation']:.3f}",
        f"scale {row['scale']:.2f}",
        f"rotation {row['rotation_degrees']:.1f}°",
        f"shift {row['shift_x_px']:.0f}, {row['shift_y_px']:.0f} px",
        f"overlap {row['overlap']:.2f}",
        "kept" if row["kept"] else f"dropped: {row['drop_reason']}",
    ]
    return PairPictures(
        title=f"{kind}, {row['journey_id']}",
        facts=" · ".join(facts),
        before=_row(prior, new, "new image", None),
        after=_row(prior, moved, "new image, registered", valid),
    )


def _row(prior: np.ndarray, new: np.ndarray, caption: str, valid: np.ndarray | None) -> list[tuple[str, str]]:
    return [
        ("prior image", picture_uri(prior)),
        (caption, picture_uri(new)),
        ("difference", picture_uri(colour_difference(new, prior, valid=valid))),
    ]
