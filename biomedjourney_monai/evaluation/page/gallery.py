"""Every picture of the report: the chosen journeys, drawn with the images of the systems, and their patients."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from tqdm import tqdm

from biomedjourney_monai.errors import ImageError, TableError
from biomedjourney_monai.evaluation.judges.scores import Judges
from biomedjourney_monai.evaluation.metrics.dice import DICE_REFERENCE_COLUMNS
from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS, race_group
from biomedjourney_monai.evaluation.page.cases import GivenAway, rank_cases, score_descriptions
from biomedjourney_monai.evaluation.page.journeys import Delta, Visit, draw_deltas, draw_strips
from biomedjourney_monai.evaluation.page.panels import (
    Outlined,
    Panel,
    Picture,
    build_panel,
    choose_panels,
    marked_if_large,
    outline,
    told_changes,
)
from biomedjourney_monai.evaluation.systems.scoring import SCORE_COLUMNS, SCORES_FILE, records
from biomedjourney_monai.evaluation.systems.sources import (
    COUNTERFACTUAL,
    Counterfactuals,
    System,
    read_baselines,
    read_counterfactuals,
    read_picture,
)
from biomedjourney_monai.evaluation.systems.true_counterfactuals import TrueCounterfactuals
from biomedjourney_monai.files import read_json, read_table
from biomedjourney_monai.preparation.quality.page import COHORT_COUNTS
from biomedjourney_monai.radiographs.pictures.html import picture_uri
from biomedjourney_monai.schema import PAIR_COLUMNS, PAIRS_FILE, SAMPLES_FOLDER, SPLITS

YOUNGEST, OLDEST = 20, 80
"""Years below which, and from which on, patients are not told apart by decade."""

UNKNOWN = "other or unknown"


@dataclass(frozen=True)
class Distribution:
    """Shares of the patients of each split.

    Attributes:
        attribute: "age" or "race".
        patients: by split.
        shares: by group, one for each split, in [0, 1].
    """

    attribute: str
    patients: dict[str, int]
    shares: dict[str, list[float]]


def count_people(pairs: pandas.DataFrame) -> list[Distribution]:
    """The distributions of a table of journeys; none of an attribute that no patient has.

    Args:
        pairs: with subject_id, split, anchor_age (years) and race; a patient counts once in a split.
    """
    people = pairs.drop_duplicates(["split", "subject_id"])
    splits = [split for split in SPLITS if split in set(people["split"])]
    patients = {split: int((people["split"] == split).sum()) for split in splits}
    groups = [race_group(name) for name in people["race"]]
    named = {"age": [_decade(age) for age in people["anchor_age"].astype(float)]}
    named["race"] = [UNKNOWN if group is None else RACE_GROUPS[group] for group in groups]
    orders = {"age": [_decade(age) for age in range(YOUNGEST - 1, OLDEST + 1)] + [UNKNOWN]}
    orders["race"] = [*RACE_GROUPS, UNKNOWN]
    found = []
    for attribute, own in named.items():
        if set(own) <= {UNKNOWN}:
            continue
        table = pandas.crosstab(pandas.Series(own, name="group"), people["split"].to_numpy(), normalize="columns")
        rows = [group for group in dict.fromkeys(orders[attribute]) if group in table.index]
        shares = dict(zip(rows, table.loc[rows, splits].to_numpy().tolist()))
        found.append(Distribution(attribute, patients, shares))
    return found


def _decade(age: float) -> str:
    if np.isnan(age):
        return UNKNOWN
    if age < YOUNGEST:
        return f"under {YOUNGEST}"
    if age >= OLDEST:
        return f"{OLDEST} and over"
    first = int(age) // 10 * 10
    return f"{first} to {first + 9}"


EXTREMES = 3
"""How many of the best and of the worst journeys are shown."""

OUTLINED = 4
"""Journeys with contours."""

COMPARED = 3
"""Journeys with the images of every system."""

STRIPS = 3
LADDER_PICTURE = "strip.png"
REFERENCE = "Real next image"


@dataclass(frozen=True)
class Sources:
    """Sources of the pictures: working folder, judges (None draws no contours and heat maps), truth and ladders."""

    work: Path
    judges: Judges | None = None
    truth: Path | None = None
    ladders: Sequence[Path] = ()


@dataclass
class Gallery:
    """The report's pictures; every list may be empty.

    Attributes:
        panels: journeys chosen by what changed.
        left_out: how many of `panels`, `best` and `worst` could not be drawn, by reason.
        best, worst: journeys chosen by their result, the best or the worst first.
        anatomy: for each journey its images with contours.
        deltas: pairs before and after registration.
        strips: patients over time.
        ladders: URIs of the strips of ladders.
        compared: journeys with the image that each system made of the prior.
        people: age and race of the patients by split.
        eligibility: the cohort's rule of eligible studies; "" if unknown.
        given_away: how much of the labels the descriptions give away; None if unknown.
    """

    panels: list[Panel] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    best: list[Panel] = field(default_factory=list)
    worst: list[Panel] = field(default_factory=list)
    anatomy: list[list[Outlined]] = field(default_factory=list)
    deltas: list[Delta] = field(default_factory=list)
    strips: list[list[Visit]] = field(default_factory=list)
    ladders: list[str] = field(default_factory=list)
    compared: "list[Compared]" = field(default_factory=list)
    people: list[Distribution] = field(default_factory=list)
    eligibility: str = ""
    given_away: GivenAway | None = None


def build_gallery(metrics: Mapping[str, Any], sources: Sources, *, count: int, seed: int) -> Gallery:
    """Choose journeys among the scored ones and draw their pictures.

    `count` is the number of `panels`; with 0 there are no pictures at all. `seed` is that of every draw.
    """
    gallery = Gallery(ladders=[_ladder_uri(folder) for folder in sources.ladders])
    if not count:
        return gallery
    work = sources.work
    scores = read_table(work / SCORES_FILE, columns=["system", "journey_id", *SCORE_COLUMNS], made_by="evaluate")
    pairs = read_table(work / PAIRS_FILE, columns=PAIR_COLUMNS, made_by="register")
    scored = pairs[pairs["journey_id"].isin(set(scores["journey_id"]))]
    has_model = any(system["name"] == COUNTERFACTUAL for system in metrics["systems"])
    counterfactuals = read_counterfactuals(work / SAMPLES_FOLDER) if has_model else None
    by_system = {str(name): rows.set_index("journey_id") for name, rows in scores.groupby("system")}
    drawn = _Drawn(sources, counterfactuals, by_system)

    told = {} if counterfactuals is None else counterfactuals.descriptions()
    gallery.given_away = score_descriptions(scored, told)
    chosen = choose_panels(scored, count=count, seed=seed, descriptions=told)
    gallery.panels = drawn.panels(chosen)
    names = {system["name"] for system in metrics["systems"]}
    gallery.anatomy = drawn.anatomy(chosen, names)
    gallery.compared = drawn.compared(scored, told, names, seed=seed)
    gallery.people, gallery.eligibility = count_people(pairs), _eligibility(work)
    if counterfactuals is not None:
        ranked = rank_cases(scored, scores[scores["system"] == COUNTERFACTUAL])
        extremes = min(EXTREMES, len(ranked) // 2)
        gallery.best = drawn.panels(_named(ranked.head(extremes), "Best"))
        gallery.worst = drawn.panels(_named(ranked.tail(extremes).iloc[::-1], "Worst"))
    gallery.deltas = draw_deltas(scored, work=work)
    gallery.strips = draw_strips(scored, counterfactuals, work=work, count=STRIPS, seed=seed)
    gallery.left_out = drawn.left_out
    return gallery


@dataclass(frozen=True)
class Compared:
    """One prior with the image that each system made of it, as in the paper's Fig. 4."""

    description: str
    pictures: list[Picture]


class _Drawn:
    """Draws panels, and counts what cannot be drawn."""

    def __init__(
        self, sources: Sources, counterfactuals: Counterfactuals | None, by_system: Mapping[str, pandas.DataFrame]
    ) -> None:
        self.sources, self.counterfactuals, self.by_system = sources, counterfactuals, by_system
        self.left_out: Counter[str] = Counter()
        self._truth: TrueCounterfactuals | None = None

    def panels(self, journeys: pandas.DataFrame) -> list[Panel]:
        panels = []
        for journey in tqdm(records(journeys), desc="pictures", unit="journey"):
            mine = {name: rows.loc[journey["journey_id"]].to_dict() for name, rows in self.by_system.items()}
            try:
                panels.append(
                    build_panel(
                        journey,
                        mine,
                        self.counterfactuals,
                        work=self.sources.work,
                        judges=self.sources.judges,
                        truth=self._true_image(journey),
                    )
                )
            except ImageError as error:
                self.left_out[str(error)] += 1
            except KeyError:
                self.left_out["no counterfactual was sampled"] += 1
        return panels

    def anatomy(self, journeys: pandas.DataFrame, scored: set[str]) -> list[list[Outlined]]:
        """The first of the journeys with contours, for each system that has images."""
        if self.sources.judges is None:
            return []
        rows: list[list[Outlined]] = []
        for journey in records(journeys):
            if len(rows) == OUTLINED:
                break
            try:
                rows.append(self._outlined(journey, scored, self.sources.judges))
            except ImageError:
                continue
        return rows

    def _outlined(self, journey: Mapping[str, Any], scored: set[str], judges: Judges) -> list[Outlined]:
        images = self._images(journey, scored)
        dice = {
            name.capitalize(): float(np.nanmean(rows.loc[journey["journey_id"], DICE_REFERENCE_COLUMNS].astype(float)))
            for name, rows in self.by_system.items()
            if rows.loc[journey["journey_id"], DICE_REFERENCE_COLUMNS].notna().any()
        }
        compared = [caption for caption in images if caption not in ("Prior", REFERENCE)]
        return outline(images, judges, goal=REFERENCE, compared=compared, dice=dice)

    def compared(
        self, journeys: pandas.DataFrame, told: Mapping[str, str], scored: set[str], *, seed: int
    ) -> list[Compared]:
        """The journeys with the most changes in their descriptions, if several systems made an image of them."""
        shuffled = records(journeys.sample(frac=1, random_state=seed))
        changes = {row["journey_id"]: len(told_changes(told.get(row["journey_id"], ""))) for row in shuffled}
        rows: list[Compared] = []
        for journey in sorted(shuffled, key=lambda row: -changes[row["journey_id"]])[: 4 * COMPARED]:
            try:
                images = self._images(journey, scored)
            except ImageError:
                continue
            made = [caption for caption in images if caption not in ("Prior", REFERENCE)]
            if len(made) > 1 and len(rows) < COMPARED:
                order = ["Prior", *made[1:], made[0], REFERENCE]  # the model's own last of those that were made
                pictures = [
                    Picture(name, picture_uri(marked_if_large(images[name]) if name in made else images[name]))
                    for name in order
                ]
                rows.append(Compared(told.get(journey["journey_id"], ""), pictures))
        return rows

    def _images(self, journey: Mapping[str, Any], scored: set[str]) -> dict[str, np.ndarray]:
        """By caption: prior, real next image, and what each system made, the model's own first."""
        work = self.sources.work
        prior, reference = (read_picture(work, journey[name]) for name in ("prior_image", "new_image"))
        images = {"Prior": prior, REFERENCE: reference}
        systems: list[System] = [] if self.counterfactuals is None else [self.counterfactuals]
        systems += [system for system in read_baselines(work, size=prior.shape[0]) if system.name in scored]
        truth = self._open_truth(prior.shape[0])
        systems += [] if truth is None else [truth]
        for system in systems:
            try:
                image = system.image(journey)
            except ImageError:
                continue
            if image.shape == prior.shape and np.isfinite(image).all():
                images[system.name.capitalize()] = image
        return images

    def _true_image(self, journey: Mapping[str, Any]) -> np.ndarray | None:
        if self.sources.truth is None:
            return None
        truth = self._open_truth(read_picture(self.sources.work, journey["prior_image"]).shape[0])
        try:
            return None if truth is None else truth.image(journey)
        except ImageError:
            return None

    def _open_truth(self, size: int) -> TrueCounterfactuals | None:
        if self._truth is None and self.sources.truth is not None:
            self._truth = TrueCounterfactuals(self.sources.truth, size=size)
        return self._truth


def _named(ranked: pandas.DataFrame, word: str) -> pandas.DataFrame:
    titles = [f"{word}, {n} of {len(ranked)}: off by {off:.3f}" for n, off in enumerate(ranked["distance"], start=1)]
    return ranked.assign(why=titles)


def _eligibility(work: Path) -> str:
    try:
        return str(read_json(work / COHORT_COUNTS, made_by="cohort").get("eligibility", ""))
    except TableError:
        return ""


def _ladder_uri(folder: Path) -> str:
    """The strip of a ladder, which is already captioned and marked.

    Raises:
        ImageError: if the folder has none.
    """
    from PIL import Image

    try:
        with Image.open(folder / LADDER_PICTURE) as picture:
            return picture_uri(np.asarray(picture.convert("L"), np.float32) / 255)
    except (OSError, ValueError) as error:
        raise ImageError(
            "a ladder's folder must hold strip.png", found=type(error).__name__, action="Run `biomedjourney ladder`"
        ) from error
