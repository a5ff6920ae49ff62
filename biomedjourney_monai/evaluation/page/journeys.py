"""Strips: one patient's examinations in a row, above the counterfactual of each, as in the paper's Fig. 9."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.evaluation.page.anatomy import marked_if_large
from biomedjourney_monai.evaluation.systems.sources import Counterfactuals, read_picture
from biomedjourney_monai.radiographs.pictures.html import picture_uri

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
