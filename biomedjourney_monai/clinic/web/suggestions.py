"""Suggested descriptions by finding, side, severity and change, in the words of the training descriptions."""

from dataclasses import dataclass

from biomedjourney_monai.preparation.descriptions.progression import NOUNS, write_change
from biomedjourney_monai.preparation.reports.states import Change
from biomedjourney_monai.preparation.reports.vocabulary import UNSIDED
from biomedjourney_monai.schema import FINDINGS as LABELS

SIDES = {"left": ("left",), "right": ("right",), "bilateral": ("left", "right")}
WHOLE = {"": ("",)}
"""The side of findings without sides."""

CHANGES = {"new": "new", "worse": "worse", "better": "better", "unchanged": "same", "resolved": "resolved"}
"""Changes of a finding, in the order of the page, and their kind."""


@dataclass(frozen=True)
class Finding:
    """The words for a finding.

    Attributes:
        label: one of `schema.FINDINGS`.
        words: its name in a sentence, singular.
        sided: whether it has a side.
        severities: words for its severity, rising.
    """

    label: str
    words: str
    sided: bool
    severities: tuple[str, ...]


FINDINGS = tuple(Finding(label, NOUNS[label][0], label not in UNSIDED, NOUNS[label][2][1:]) for label in LABELS)


@dataclass(frozen=True)
class Suggestion:
    """A sentence and the choices that it was written from."""

    finding: str
    side: str
    severity: str
    change: str
    sentence: str


def suggest(label: str, *, side: str = "", severity: str = "", change: str = "new") -> str:
    """Write one sentence.

    Args:
        label: of a finding in `FINDINGS`.
        side: "left", "right" or "bilateral" of the patient; "" for a finding without sides.
        severity: the new severity, one of the finding's words; "" for "resolved".
        change: one of `CHANGES`.

    Example:
        >>> suggest("Pleural Effusion", side="left", severity="large")
        'New large left pleural effusion.'

    Raises:
        ValueError: if a choice is not one of these.
    """
    finding = next((finding for finding in FINDINGS if finding.label == label), None)
    if finding is None or change not in CHANGES or side not in (SIDES if finding.sided else WHOLE):
        raise ValueError("a suggestion must name a finding, a side it has and a change")
    if change != "resolved" and severity not in finding.severities:
        raise ValueError("a suggestion must name a severity of the finding")
    grade = 0 if change == "resolved" else 1 + finding.severities.index(severity)
    return write_change(Change(label, CHANGES[change], dict.fromkeys((SIDES | WHOLE)[side], grade)))


def all_suggestions() -> list[Suggestion]:
    """Every sentence that the page can write."""
    choices = [
        (finding.label, side, severity, change)
        for finding in FINDINGS
        for side in (SIDES if finding.sided else WHOLE)
        for change in CHANGES
        for severity in (("",) if change == "resolved" else finding.severities)
    ]
    return [
        Suggestion(label, side, severity, change, suggest(label, side=side, severity=severity, change=change))
        for label, side, severity, change in choices
    ]
