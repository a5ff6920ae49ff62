"""The course of findings over a patient's visits.

From one visit to the next a finding is usually replaced (onset, resolution, another side) by a new draw with realistic
correlations. Sometimes it continues, and grows, shrinks or stays. Replacement is common on purpose: a model must learn
the new image from its description, and must not be able to copy it from the prior image.
"""

from collections.abc import Sequence
from math import exp

import numpy as np

from biomedjourney_monai.phantom.findings import FindingState

CONTINUE_AT_ONCE = 0.20
"""Probability that a finding continues at a visit directly after another."""

CONTINUE_LATE = 0.03
"""The same after a long time: chronic disease."""

CONTINUE_DAYS = 60.0
"""Days after which the first has decayed by a factor e towards the second."""

SEVERITY_EDGES = (0.26, 0.66)
"""Cumulative shares of small, and of small or moderate, among present findings."""

_Slots = dict[str, tuple[int, int]]


def draw_course(rng: np.random.Generator, days: Sequence[float]) -> list[FindingState]:
    """Draw the findings at each visit, at rising times in days."""
    course: list[FindingState] = []
    for index, day in enumerate(days):
        fresh = _draw_situation(rng)
        if index:
            chance = CONTINUE_LATE + (CONTINUE_AT_ONCE - CONTINUE_LATE) * exp(-(day - days[index - 1]) / CONTINUE_DAYS)
            old = _as_slots(course[-1])
            fresh = {name: _evolve(rng, old[name]) if rng.random() < chance else fresh[name] for name in fresh}
        course.append(_as_state(fresh))
    return course


def _draw_situation(rng: np.random.Generator) -> _Slots:
    """Draw all findings of one visit, as finding → (left, right); findings without sides use the left only."""
    heart_failure, collapse = rng.standard_normal(2)
    own = rng.standard_normal(4)
    cardiomegaly = 0.80 * heart_failure + 0.60 * own[0] > 0.36
    edema = 0.75 * heart_failure + 0.66 * own[1] > 0.46
    effusion = 0.65 * heart_failure + 0.30 * collapse + 0.70 * own[2] > 0.40
    effusions = _draw_sides(rng, both=0.35) if effusion else (0, 0)
    pneumothoraces = _draw_sides(rng, both=0.04) if rng.random() < 0.28 else (0, 0)
    return {
        "atelectasis": _draw_atelectasis(rng, collapse, own[3], effusions),
        "cardiomegaly": (_draw_severity(rng) if cardiomegaly else 0, 0),
        "edema": (_draw_severity(rng) if edema else 0, 0),
        "effusion": effusions,
        "pneumothorax": pneumothoraces,
    }


def _draw_atelectasis(
    rng: np.random.Generator, collapse: float, own: float, effusions: tuple[int, int]
) -> tuple[int, int]:
    """Draw atelectasis; an effusion makes it more likely, and on the same side."""
    threshold = 0.20 if any(effusions) else 0.56
    if 0.45 * collapse + 0.89 * own <= threshold:
        return 0, 0
    if any(effusions) and not all(effusions) and rng.random() < 0.7:
        severity = _draw_severity(rng)
        return (severity, 0) if effusions[0] else (0, severity)
    return _draw_sides(rng, both=0.35)


def _draw_severity(rng: np.random.Generator) -> int:
    """Draw 1, 2 or 3."""
    share = rng.random()
    return 1 + (share > SEVERITY_EDGES[0]) + (share > SEVERITY_EDGES[1])


def _draw_sides(rng: np.random.Generator, *, both: float) -> tuple[int, int]:
    """Draw (left, right) severities of a present finding; `both` is the probability of two sides."""
    severity, share = _draw_severity(rng), rng.random()
    if share < both:
        other = severity if rng.random() < 0.5 else _draw_severity(rng)
        return severity, other
    return (severity, 0) if share < both + (1 - both) / 2 else (0, severity)


def _evolve(rng: np.random.Generator, severities: tuple[int, int]) -> tuple[int, int]:
    """Grow, shrink or keep a finding that continues; both sides change together, and none appears or resolves."""
    step = int(rng.integers(-1, 2))
    left, right = (min(max(severity + step, 1), 3) if severity else 0 for severity in severities)
    return left, right


def _as_slots(state: FindingState) -> _Slots:
    return {
        "atelectasis": (state.atelectasis_left, state.atelectasis_right),
        "cardiomegaly": (state.cardiomegaly, 0),
        "edema": (state.edema, 0),
        "effusion": (state.effusion_left, state.effusion_right),
        "pneumothorax": (state.pneumothorax_left, state.pneumothorax_right),
    }


def _as_state(slots: _Slots) -> FindingState:
    """Build the state; a large effusion leaves little room for a pneumothorax on its side, and the reverse."""
    effusion, air = list(slots["effusion"]), list(slots["pneumothorax"])
    for side in (0, 1):
        if effusion[side] == 3 and air[side] > 1:
            air[side] = 1
        elif air[side] == 3 and effusion[side] > 1:
            effusion[side] = 1
    return FindingState(
        *slots["atelectasis"], slots["cardiomegaly"][0], slots["edema"][0], effusion[0], effusion[1], air[0], air[1]
    )
