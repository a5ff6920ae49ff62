"""A patient's examinations in a row (the paper's Fig. 9), and pairs before and after registration (Fig. 8)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.evaluation.page.panels import marked_if_large
from biomedjourney_monai.evaluation.systems.scoring import valid_mask
from biomedjourney_monai.evaluation.systems.sources import Counterfactuals, read_picture
from biomedjourney_monai.radiographs.pictures.html import colour_difference, picture_uri
from biomedjourney_monai.schema import IMAGES_FOLDER

MAX_VISITS = 5


@dataclass(frozen=True)
class Visit:
    """One examination of a strip: day since the first one, URI of the radiograph, and the model's image of this day.

    The day is NaN where the source has no dates. The first examination has no counterfactual and no description.
    """

    day: float
    real: str
    counterfactual: str = ""
    description: str = ""


def draw_strips(
    journeys: pandas.DataFrame, counterfactuals: Counterfactuals | None, *, work: Path, count: int, seed: int
) -> list[list[Visit]]:
    """Follow at most `count` patients through consecutive scored journeys, the longest first, equals at random."""
    if counterfactuals is None:
        return []
    strips: list[list[Visit]] = []
    for chain in chains(journeys, seed=seed):
        if len(strips) == count:
            break
        try:
            strips.append(draw_strip(chain[: MAX_VISITS - 1], counterfactuals, work=work))
        except (ImageError, KeyError):
            continue
    return strips


def chains(journeys: pandas.DataFrame, *, seed: int) -> list[list[dict[str, Any]]]:
    """Runs of two or more journeys in which each begins where the previous one ends; the longest of each patient."""
    found = []
    for _, own in journeys.groupby("subject_id", sort=True):
        rows = own.to_dict("records")
        ends = {row["new_study_id"] for row in rows}
        after = {row["prior_study_id"]: row for row in reversed(rows)}  # the nearest, if there are several
        runs = []
        for row in rows:
            if row["prior_study_id"] in ends:
                continue
            run = [row]
            while (following := after.get(run[-1]["new_study_id"])) is not None and len(run) < len(rows):
                run.append(following)
            runs.append(run)
        longest = max(runs, key=len, default=[])
        if len(longest) > 1:
            found.append(longest)
    order = np.random.default_rng(seed).permutation(len(found))
    return sorted((found[n] for n in order), key=len, reverse=True)


def draw_strip(chain: list[dict[str, Any]], counterfactuals: Counterfactuals, *, work: Path) -> list[Visit]:
    """Gather the pictures of a run of journeys.

    Raises:
        ImageError: if one cannot be read.
        KeyError: if a journey has no counterfactual.
    """
    visits = [Visit(0.0, picture_uri(read_picture(work, chain[0]["prior_image"])))]
    for row in chain:
        image = counterfactuals.image(row)
        if not np.isfinite(image).all():
            raise ImageError("a counterfactual must be finite", found="NaN")
        visits.append(
            Visit(
                day=visits[-1].day + float(row["days_between"]),
                real=picture_uri(read_picture(work, row["new_image"])),
                counterfactual=picture_uri(marked_if_large(image)),
                description=counterfactuals.description(row),
            )
        )
    return visits


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
