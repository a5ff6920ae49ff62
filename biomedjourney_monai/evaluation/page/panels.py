"""The journeys that the report shows: chosen by what changed, never by the result; contours as in Fig. 5."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas
import torch

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.evaluation.judges.heat_map import draw_heat_map
from biomedjourney_monai.evaluation.judges.scores import Judges
from biomedjourney_monai.evaluation.metrics.auroc import PATHOLOGY_COLUMNS
from biomedjourney_monai.evaluation.metrics.labels import apply_label_policy, finding_labels
from biomedjourney_monai.evaluation.systems.scoring import valid_mask
from biomedjourney_monai.evaluation.systems.sources import Counterfactuals, read_picture
from biomedjourney_monai.preparation.descriptions.request import read_request
from biomedjourney_monai.radiographs import mark_synthetic
from biomedjourney_monai.radiographs.marking import MIN_SIDE
from biomedjourney_monai.radiographs.pictures.html import colour_difference, picture_uri
from biomedjourney_monai.schema import FINDINGS, STRUCTURES

FINE = 4
"""Points per pixel that a contour is drawn from."""

MIN_POINTS = 12
"""Contours of fewer fine points are specks."""


@dataclass(frozen=True)
class Outlined:
    """One image of size (H, W) with the SVG paths of `schema.STRUCTURES`, "" where the judge finds none.

    `goal` holds the reference's paths, drawn beneath; empty for the reference itself and for the prior. `dice` is the
    mean Dice with the reference; None where it is unknown.
    """

    caption: str
    uri: str
    size: tuple[int, int]
    paths: Sequence[str]
    goal: Sequence[str] = ()
    dice: float | None = None


def outline(
    images: Mapping[str, np.ndarray], judges: Judges, *, goal: str, compared: Sequence[str], dice: Mapping[str, float]
) -> list[Outlined]:
    """Segment the structures in images of one size, caption -> float32 (H, W) in [0, 1].

    `compared` names the images that systems made: they get the contours of `goal`, the reference, too, and are marked
    as synthetic after they are segmented. `dice` is the mean Dice with the reference by caption.
    """
    batch = torch.from_numpy(np.stack(list(images.values())).astype(np.float32))[:, None]  # (B, 1, H, W)
    masks = judges.score(batch.clamp(0, 1)).structures.numpy()  # (B, 6, H, W)
    paths = {caption: [contour_path(mask) for mask in own] for caption, own in zip(images, masks)}
    return [
        Outlined(
            caption=caption,
            uri=picture_uri(marked_if_large(image) if caption in compared else image),
            size=image.shape,
            paths=paths[caption],
            goal=paths[goal] if caption in compared else (),
            dice=dice.get(caption),
        )
        for caption, image in images.items()
    ]


def marked_if_large(image: np.ndarray) -> np.ndarray:
    """The image with the mark of synthetic images, unless it is too small for it."""
    return mark_synthetic(image) if min(image.shape) >= MIN_SIDE else image


def contour_path(mask: np.ndarray) -> str:
    """Draw a mask's outer contours as an SVG path.

    Args:
        mask: bool, shape (H, W).

    Returns:
        The path's `d`, in pixels, with the pixel (row, column) covering [column, column + 1] × [row, row + 1].

    Example:
        >>> contour_path(np.zeros((8, 8), bool))
        ''
    """
    height, width = mask.shape
    fine = cv2.resize(mask.astype(np.float32), (width * FINE, height * FINE), interpolation=cv2.INTER_LINEAR)
    fine = cv2.GaussianBlur(fine, (0, 0), FINE)
    contours, _ = cv2.findContours((fine > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    parts = []
    for contour in contours:
        if len(contour) < MIN_POINTS:
            continue
        points = (cv2.approxPolyDP(contour, 0.6, True)[:, 0] + 0.5) / FINE
        parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z")
    return "".join(parts)


def structure_classes() -> list[tuple[str, str]]:
    """CSS class and name of each structure."""
    return [(f"s{n}", name) for n, name in enumerate(STRUCTURES)]


CHOICE = (
    "chosen by what changed and not by the result: for each finding one journey where it appears and one where it"
    " resolves, then journeys without change, each drawn at random"
)


@dataclass(frozen=True)
class Picture:
    """One image of a panel: caption and data URI."""

    caption: str
    uri: str


@dataclass(frozen=True)
class Row:
    """One finding: labels of the reports, 0, 1 or None; the judge's probabilities or None."""

    finding: str
    before: int | None
    after: int | None
    probabilities: tuple[float | None, ...]

    @property
    def changed(self) -> bool:
        """Whether both labels are known and differ."""
        return self.before is not None and self.after is not None and self.before != self.after


@dataclass(frozen=True)
class Panel:
    """One journey of the report."""

    title: str
    description: str
    days_between: float
    pictures: list[Picture]
    rows: list[Row]


CHANGES = {"new": "appears", "resolved": "resolves", "worse": "increases", "better": "decreases"}
UNCHANGED, SEVERAL = "No finding changes", "Several changes"


def headline_of(description: str) -> str:
    """The changes that a description tells of, where the labels of both reports are alike.

    Example:
        >>> headline_of("The left pleural effusion has resolved. New small right pleural effusion.")
        'Pleural Effusion changes sides'
        >>> headline_of("Mild cardiomegaly is unchanged.")
        'No finding changes'
    """
    told = [
        f"{label} changes sides" if {"new", "resolved"} <= own else f"{label} {CHANGES[min(own)]}"
        for label, own in told_changes(description).items()
    ]
    return SEVERAL if len(told) > 1 else told[0] if told else UNCHANGED


def told_changes(description: str) -> dict[str, set[str]]:
    """The findings that change by a description, and how: keys of `CHANGES`."""
    kinds: dict[str, set[str]] = {}
    for change in read_request(description).changes:
        if change.label in FINDINGS and change.kind in CHANGES:
            kinds.setdefault(change.label, set()).add(change.kind)
    return kinds


def choose_panels(
    journeys: pandas.DataFrame, *, count: int = 12, seed: int = 0, descriptions: Mapping[str, str] | None = None
) -> pandas.DataFrame:
    """Choose journeys so that every finding appears and resolves once, as far as there are such journeys.

    `descriptions` by journey_id tell of changes that the labels do not show, such as those of a side.

    Returns:
        `count` rows of the scored journeys, with a column `why`.
    """
    order = np.random.default_rng(seed).permutation(len(journeys))
    shuffled = journeys.iloc[order]
    before, after = finding_labels(shuffled)
    changes = np.nan_to_num(after - before)  # (N, 5): 1 appears, -1 resolves
    chosen: dict[int, str] = {}
    for sign, verb in ((1, "appears"), (-1, "resolves")):
        for f, finding in enumerate(FINDINGS):
            fitting = [n for n in np.flatnonzero(changes[:, f] == sign).tolist() if n not in chosen]
            if fitting and len(chosen) < count:
                chosen[min(fitting, key=lambda n: np.abs(changes[n]).sum())] = f"{finding} {verb}"
    texts = [(descriptions or {}).get(journey, "") for journey in shuffled["journey_id"]]
    titles = [SEVERAL if changes[n].any() else headline_of(text) for n, text in enumerate(texts)]
    changed = np.array([title != UNCHANGED for title in titles], bool)
    for wanted in (~changed, changed):
        for n in np.flatnonzero(wanted).tolist():
            if n not in chosen and len(chosen) < count:
                chosen[n] = titles[n]
    rows = shuffled.iloc[list(chosen)].copy()
    rows["why"] = list(chosen.values())
    return rows


def build_panel(
    journey: Mapping[str, Any],
    scores: Mapping[str, Mapping[str, Any]],
    counterfactuals: Counterfactuals | None,
    *,
    work: Path,
    judges: Judges | None = None,
    truth: np.ndarray | None = None,
) -> Panel:
    """Gather one journey's pictures, labels and probabilities.

    `scores` are the judge's scores of this journey by system; `judges` draw a heat map of the change; `truth` is the
    true counterfactual of a rendered patient, shape (H, W).

    Raises:
        ImageError: if a picture cannot be read.
    """
    systems = ["copy-prior", "counterfactual", "real reference"]
    systems = [name for name in systems if name in scores]
    rows = [_row(journey, n, [scores[name] for name in systems]) for n in range(len(FINDINGS))]
    pictures = _pictures(journey, counterfactuals, work, truth)
    if judges is not None and counterfactuals is not None:
        prior = read_picture(work, journey["prior_image"])
        finding = finding_to_look_at(journey["why"], rows)
        heat = draw_heat_map(prior, counterfactuals.image(journey), judges, finding=finding)
        pictures += [] if heat is None else [Picture(f"Judge: {heat.finding}, {heat.change:+.1f}", heat.uri)]
    return Panel(
        title=journey["why"],
        description="" if counterfactuals is None else counterfactuals.description(journey),
        days_between=float(journey["days_between"]),
        pictures=pictures,
        rows=rows,
    )


def finding_to_look_at(title: str, rows: list[Row]) -> str | None:
    """The finding that a panel is about: the one its title names, else the first that changed, else None."""
    named = [row.finding for row in rows if row.finding in title] + [row.finding for row in rows if row.changed]
    return named[0] if named else None


def _pictures(
    journey: Mapping[str, Any], counterfactuals: Counterfactuals | None, work: Path, truth: np.ndarray | None
) -> list[Picture]:
    prior, reference = (read_picture(work, journey[name]) for name in ("prior_image", "new_image"))
    valid = valid_mask(work, journey, prior.shape)[0].numpy()
    pictures = [Picture("Prior", picture_uri(prior))]
    if counterfactuals is not None:
        image = counterfactuals.image(journey)
        if image.shape != prior.shape or not np.isfinite(image).all():
            raise ImageError("a counterfactual must be finite and as large as its prior")
        pictures.append(Picture("Counterfactual", picture_uri(marked_if_large(image))))
    pictures.append(Picture("Real next image", picture_uri(reference)))
    if truth is not None:
        pictures.append(Picture("True counterfactual", picture_uri(marked_if_large(truth))))
    if counterfactuals is not None:
        pictures.append(Picture("Counterfactual − prior", picture_uri(colour_difference(image, prior))))
    pictures.append(Picture("Real − prior", picture_uri(colour_difference(reference, prior, valid=valid))))
    return pictures


def _row(journey: Mapping[str, Any], n: int, scores: list[Mapping[str, Any]]) -> Row:
    before, after = (_label(journey[f"{side}_{FINDINGS[n]}"]) for side in ("prior", "new"))
    values = [float(score[PATHOLOGY_COLUMNS[n]]) for score in scores]
    return Row(FINDINGS[n], before, after, tuple(value if np.isfinite(value) else None for value in values))


def _label(value: float) -> int | None:
    label = float(apply_label_policy(np.array(value, np.float64)))
    return int(label) if np.isfinite(label) else None
