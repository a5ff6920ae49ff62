"""Which findings a film gets: prior and new state of the cases that `phantom --onto` writes."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from biomedjourney_monai.phantom.findings import SIDES, FindingState
from biomedjourney_monai.schema import FINDINGS

SIDED = ("Atelectasis", "Pleural Effusion", "Pneumothorax")
KINDS = {"new": 0.34, "resolved": 0.28, "graded": 0.20, "same": 0.18}
"""Kinds of a case and their chances: a finding appears, goes, changes its severity, or nothing changes."""

FINDING_CHANCES = {
    "Atelectasis": 0.18,
    "Cardiomegaly": 0.15,
    "Edema": 0.13,
    "Pleural Effusion": 0.30,
    "Pneumothorax": 0.24,
}
BOTH_SIDES, COMPANION, CLEAR = 0.15, 0.20, 0.5
"""Chances that a finding has both sides, that an unchanged second one is rendered, and that "same" shows none."""


@dataclass(frozen=True)
class OntoCase:
    """One journey on one film: the kind, the finding that changes ("" for none), and what is rendered at both times."""

    kind: str
    finding: str
    prior: FindingState
    new: FindingState


def draw_case(rng: np.random.Generator, free: Collection[str]) -> OntoCase:
    """Draw a case for a film.

    Args:
        rng: the same state gives the same case.
        free: the findings of `schema.FINDINGS` that the film does not show; at least one.

    Raises:
        ValueError: if there is none.
    """
    names = [name for name in FINDINGS if name in free]
    if not names:
        raise ValueError("a case needs a finding that the film does not show; found none.")
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if kind == "same" and rng.random() < CLEAR:
        return OntoCase(kind, "", FindingState(), FindingState())
    finding = _draw_finding(rng, names)
    base = FindingState()
    if rng.random() < COMPANION and (others := [name for name in names if not _collide(name, finding)]):
        companion = _draw_finding(rng, others)
        base = _with(base, companion, _draw_sides(rng, companion), int(rng.integers(1, 4)))
    sides, severity = _draw_sides(rng, finding), int(rng.integers(1, 4))
    shown = _with(base, finding, sides, severity)
    if kind == "new":
        return OntoCase(kind, finding, base, shown)
    if kind == "resolved":
        return OntoCase(kind, finding, shown, base)
    if kind == "same":
        return OntoCase(kind, finding, shown, shown)
    other = int(rng.choice([level for level in (1, 2, 3) if level != severity]))
    return OntoCase("worse" if other > severity else "better", finding, shown, _with(base, finding, sides, other))


def _draw_finding(rng: np.random.Generator, names: list[str]) -> str:
    chances = np.array([FINDING_CHANCES[name] for name in names])
    return str(rng.choice(names, p=chances / chances.sum()))


def _draw_sides(rng: np.random.Generator, finding: str) -> tuple[str, ...]:
    if finding not in SIDED:
        return ("",)
    if finding != "Pneumothorax" and rng.random() < BOTH_SIDES:
        return SIDES
    return (SIDES[int(rng.integers(2))],)


def _collide(one: str, other: str) -> bool:
    """Fluid and free air of one side would fill the same place."""
    return one == other or {one, other} == {"Pleural Effusion", "Pneumothorax"}


def _with(state: FindingState, finding: str, sides: tuple[str, ...], severity: int) -> FindingState:
    for side in sides:
        state = state.with_severity(finding, side, severity)
    return state
