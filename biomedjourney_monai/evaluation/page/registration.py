"""The new image before and after registration, with its difference to the prior, as in the paper's Fig. 8."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.evaluation.systems.scoring import valid_mask
from biomedjourney_monai.evaluation.systems.sources import read_picture
from biomedjourney_monai.radiographs.pictures.html import colour_difference, picture_uri
from biomedjourney_monai.schema import IMAGES_FOLDER

QUANTILES = (("shifted least", 0.0), ("shifted as usual", 0.5), ("shifted most", 1.0))


@dataclass(frozen=True)
class Delta:
    """One pair: `before` and `after` registration, the mean absolute difference to the prior where there is content.

    Pictures are prior, new image, difference, registered new image and difference, as (caption, URI).
    """

    title: str
    facts: str
    before: float
    after: float
    pictures: list[tuple[str, str]]


def draw_deltas(journeys: pandas.DataFrame, *, work: Path) -> list[Delta]:
    """Show the pair with the smallest, the median and the largest shift; none where nothing was registered."""
    shifts = journeys[["shift_x_px", "shift_y_px"]].apply(pandas.to_numeric, errors="coerce")
    moved = np.hypot(shifts["shift_x_px"], shifts["shift_y_px"]).dropna().sort_values(kind="stable")
    if moved.empty or moved.iloc[-1] == 0:
        return []
    order = journeys.loc[moved.index]
    deltas: list[Delta] = []
    for title, quantile in QUANTILES:
        place = round(quantile * (len(order) - 1))
        for row in (order.iloc[n] for n in range(place, len(order)) if quantile < 1 or n == place):
            try:
                deltas.append(draw_delta(title, row.to_dict(), work=work))
                break
            except ImageError:
                continue
    return deltas


def draw_delta(title: str, row: Mapping[str, Any], *, work: Path) -> Delta:
    """Show one pair.

    Raises:
        ImageError: if a picture is missing or unreadable.
    """
    prior, registered = read_picture(work, row["prior_image"]), read_picture(work, row["new_image"])
    new = read_picture(work, f"{IMAGES_FOLDER}/{row['new_dicom_id']}.png")
    valid = valid_mask(work, row, prior.shape)[0].numpy()
    if not prior.shape == registered.shape == new.shape == valid.shape:
        raise ImageError(
            "the pictures of a pair must be of one size",
            found=f"{prior.shape}, {registered.shape}, {new.shape} and {valid.shape}",
        )
    facts = [
        f"shift {round(row['shift_x_px']):+d}, {round(row['shift_y_px']):+d} px",
        f"rotation {row['rotation_degrees']:+.1f}°",
        f"scale {row['scale']:.2f}",
        f"score {row['gradient_correlation']:.2f}",
    ]
    return Delta(
        title=title,
        facts=" · ".join(facts),
        before=float(np.abs(new - prior)[valid].mean()),
        after=float(np.abs(registered - prior)[valid].mean()),
        pictures=[
            ("Prior", picture_uri(prior)),
            ("New image as taken", picture_uri(new)),
            ("Difference", picture_uri(colour_difference(new, prior))),
            ("New image, registered", picture_uri(registered)),
            ("Difference", picture_uri(colour_difference(registered, prior, valid=valid))),
        ],
    )
