"""What was asked for in each journey: findings with side and severity, as a description names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from biomedjourney_monai.schema import FINDINGS

SIDES = ("left", "right")
SIDED = ("Atelectasis", "Pleural Effusion", "Pneumothorax")
"""The findings that have a side."""

WHOLE = ""
"""In place of a side: none is named."""


@dataclass(frozen=True)
class Request:
    """What a description says of one finding.

    Attributes:
        severities: side ("left", "right", or WHOLE) -> 0 not said, 1 small or mild, 2 moderate, 3 large or severe, of
            what is to be seen.
        denied: sides that are to be free of it; WHOLE for all.
        unchanged: sides that are said to stay as they are.
        uncertain: whether the description is in doubt.
    """

    severities: Mapping[str, int] = field(default_factory=dict)
    denied: frozenset[str] = frozenset()
    unchanged: frozenset[str] = frozenset()
    uncertain: bool = False


Requests = Mapping[str, Mapping[str, Request]]
"""journey_id -> finding -> request."""


def asked_severities(requests: Mapping[str, Request]) -> np.ndarray:
    """The severity that is asked for of each finding, the worse side's: shape (5,), 1 to 3, NaN where none is named."""
    grades = np.full(len(FINDINGS), np.nan)
    for place, finding in enumerate(FINDINGS):
        request = requests.get(finding)
        if request is not None and not request.uncertain and max(request.severities.values(), default=0):
            grades[place] = max(request.severities.values())
    return grades


def one_sided_onsets(requests: Mapping[str, Request], *, prior_labels: Mapping[str, float]) -> dict[str, str]:
    """Find the findings that are to appear on one side, where the prior image has them on neither.

    Args:
        requests: of one journey.
        prior_labels: finding -> the prior study's label; 0, or NaN for unmentioned, counts as absent.

    Returns:
        Finding -> "left" or "right" of the patient.
    """
    onsets = {}
    for finding in SIDED:
        request = requests.get(finding)
        if request is None or request.uncertain or not is_absent(prior_labels.get(finding, np.nan)):
            continue
        sides = set(request.severities)
        if len(sides) == 1 and sides <= set(SIDES) and not sides & request.unchanged:
            onsets[finding] = sides.pop()
    return onsets


def targets_of(requests: Mapping[str, Request], *, prior_labels: Mapping[str, float]) -> list[tuple[str, str]]:
    """Find what is to change: (finding, side), side WHOLE for a finding without sides.

    What is said to be unchanged is no target, and neither is the absence of what the prior did not have.
    """
    targets = []
    for finding in FINDINGS:
        request = requests.get(finding)
        if request is None:
            continue
        sides = set(request.severities) - request.unchanged
        if not is_absent(prior_labels.get(finding, np.nan)):
            sides |= request.denied
        if finding not in SIDED:
            sides = {WHOLE} if sides else set()
        elif WHOLE in sides:
            sides = set(SIDES)
        targets += [(finding, side) for side in sorted(sides)]
    return targets


def is_absent(label: float) -> bool:
    """Whether a label says, by denial or by silence, that a finding is not there."""
    return bool(np.isnan(label)) or label == 0
