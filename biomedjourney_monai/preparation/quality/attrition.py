"""How many images, studies and pairs each step keeps, why others were dropped, and the paper's numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PAPER_IMAGES = 377_110
PAPER_STUDIES = 227_827
PAPER_PA_IMAGES = 157_148
PAPER_SINGLES = 69_846
PAPER_TRIPLES = {"train": 9_354, "validate": 1_056, "test": 1_214}

_PA_NOTE = (
    "the paper's number; MIMIC-CXR-JPG's ViewPosition says PA of 96,161 images, so the paper must count differently"
)
_SINGLES_NOTE = "one image per study here"


@dataclass(frozen=True)
class Step:
    """What is left after a step.

    Args:
        name: of what is counted.
        here: the number; None if the step has not run.
        paper: the paper's number; None if it gives none.
        note: on the comparison of the two.
    """

    name: str
    here: int | None
    paper: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Losses:
    """What one step dropped: reason → number, the most frequent first."""

    name: str
    reasons: Mapping[str, int]

    @property
    def total(self) -> int:
        """Number of everything that the step dropped."""
        return sum(self.reasons.values())


def count_steps(
    cohort: Mapping[str, Any] | None, journeys: Mapping[str, Any] | None, pairs: Mapping[str, Any] | None
) -> list[Step]:
    """Count what is left, step by step, from cohort_drops.json, journeys_drops.json and register_drops.json."""
    splits = (cohort or {}).get("kept_by_split", {})
    singles = splits.get("train", 0) + splits.get("validate", 0) if cohort else None
    steps = [
        Step("images in the source", _get(cohort, "images"), PAPER_IMAGES),
        Step("studies in the source", _get(cohort, "studies"), PAPER_STUDIES),
        Step("images that are PA", _get(cohort, "pa_images"), PAPER_PA_IMAGES, _PA_NOTE),
        Step("eligible studies", _get(cohort, "kept")),
        Step("of these in train and validate, for pretraining", singles, PAPER_SINGLES, _SINGLES_NOTE),
    ]
    if journeys or pairs:
        found = _get(journeys, "kept") if journeys else _get(pairs, "journeys")
        steps.append(Step("journeys: two consecutive studies", found))
    if pairs:
        kept = pairs["kept_by_split"]
        steps.append(Step("pairs kept", pairs["kept"], sum(PAPER_TRIPLES.values())))
        steps += [Step(f"pairs kept: {split}", kept.get(split, 0), paper) for split, paper in PAPER_TRIPLES.items()]
    return steps


def count_losses(
    cohort: Mapping[str, Any] | None, journeys: Mapping[str, Any] | None, pairs: Mapping[str, Any] | None
) -> list[Losses]:
    """Count what each step dropped and why; arguments as for `count_steps`."""
    parts = [
        ("images left out by cohort", _get(cohort, "images_dropped")),
        ("studies left out by cohort", _get(cohort, "studies_dropped")),
        ("images kept, but flagged", _get(cohort, "images_flagged")),
        ("pairs of studies left out by journeys", _get(journeys, "dropped")),
        ("journeys left out by register", _get(pairs, "dropped")),
    ]
    return [Losses(name, _most_frequent_first(reasons)) for name, reasons in parts if reasons is not None]


def _get(counts: Mapping[str, Any] | None, key: str) -> Any:
    return None if counts is None else counts.get(key)


def _most_frequent_first(reasons: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
