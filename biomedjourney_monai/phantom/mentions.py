"""The mention of each finding in a report: present, absent, uncertain, or none. The label tables follow from it.

A labeller reads text, not images. So mentions are drawn first, from the truth; the report is written to state exactly
these, and the label tables are filled from them.
"""

from dataclasses import dataclass

import numpy as np

from biomedjourney_monai.phantom.findings import Devices, FindingState
from biomedjourney_monai.schema import CHEXPERT_LABELS, FINDINGS

PRESENT, ABSENT, UNCERTAIN = 1, 0, -1

UNCERTAIN_IF_PRESENT = (0.0, 0.10, 0.03, 0.0)
"""Probability of an uncertain statement for a present finding, by severity."""

UNCERTAIN_IF_ABSENT = 0.02
DENIED_IF_ABSENT = 0.50
DENIED_IF_RESOLVED = 0.85

_DENIED_TOO = {"Consolidation": 0.30, "Pneumonia": 0.12}
"""Probability that an impression also denies these; the phantom has neither of them."""


@dataclass(frozen=True)
class Mentions:
    """The mentions of a report: 1 present, 0 absent, -1 uncertain, None not mentioned.

    Args:
        findings: one per `schema.FINDINGS`.
        denied_too: other CheXpert labels that the report denies.
    """

    findings: tuple[int | None, ...]
    denied_too: tuple[str, ...] = ()

    def of(self, finding: str) -> int | None:
        """Return the mention of one finding of `schema.FINDINGS`."""
        return self.findings[FINDINGS.index(finding)]

    @property
    def is_clear(self) -> bool:
        """Whether nothing is present and nothing is uncertain."""
        return all(stated in (ABSENT, None) for stated in self.findings)


def draw_mentions(rng: np.random.Generator, state: FindingState, prior: FindingState | None = None) -> Mentions:
    """Draw the mentions of a state; a finding that has resolved since the prior state is usually mentioned."""
    shares = rng.random(len(FINDINGS) + len(_DENIED_TOO))
    stated = tuple(
        _draw_mention(share, state.severity(finding), prior.severity(finding) if prior else 0)
        for finding, share in zip(FINDINGS, shares)
    )
    denied = tuple(label for (label, chance), share in zip(_DENIED_TOO.items(), shares[5:]) if share < chance)
    return Mentions(stated, denied)


def _draw_mention(share: float, severity: int, prior_severity: int) -> int | None:
    if severity:
        return UNCERTAIN if share < UNCERTAIN_IF_PRESENT[severity] else PRESENT
    if share < UNCERTAIN_IF_ABSENT:
        return UNCERTAIN
    denied = DENIED_IF_RESOLVED if prior_severity else DENIED_IF_ABSENT
    return ABSENT if share < UNCERTAIN_IF_ABSENT + denied else None


def chexpert_labels(mentions: Mentions, devices: Devices) -> dict[str, int | None]:
    """Return the 14 labels in the table's order; None is an empty cell."""
    labels: dict[str, int | None] = dict.fromkeys(CHEXPERT_LABELS)
    labels.update(zip(FINDINGS, mentions.findings))
    labels.update(dict.fromkeys(mentions.denied_too, ABSENT))
    labels["No Finding"] = 1 if mentions.is_clear else None
    labels["Support Devices"] = 1 if devices.any() else None
    return labels
