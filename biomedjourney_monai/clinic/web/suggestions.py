"""Suggested descriptions by finding, side, severity and change."""

from __future__ import annotations

from dataclasses import dataclass

from biomedjourney_monai.schema import DEGREES, SIZES

LEFT, RIGHT, BOTH, WHOLE = "left", "right", "bilateral", ""

CHANGES = ("new", "worse", "better", "unchanged", "resolved")
"""Changes of a finding, in the order of the page."""


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


FINDINGS = (
    Finding("Pleural Effusion", "pleural effusion", True, SIZES),
    Finding("Pneumothorax", "pneumothorax", True, SIZES),
    Finding("Atelectasis", "atelectasis", True, DEGREES),
    Finding("Cardiomegaly", "cardiomegaly", False, DEGREES),
    Finding("Edema", "pulmonary edema", False, DEGREES),
)


@dataclass(frozen=True)
class Suggestion:
    """A sentence and the choices that it was written from."""

    finding: str
    side: str
    severity: str
    change: str
    sentence: str


def suggest(label: str, *, side: str = WHOLE, severity: str = "", change: str = "new") -> str:
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
    if finding is None or change not in CHANGES or (side in (LEFT, RIGHT, BOTH)) != finding.sided:
        raise ValueError("a suggestion must name a finding, a side it has and a change")
    if change != "resolved" and severity not in finding.severities:
        raise ValueError("a suggestion must name a severity of the finding")
    named = " ".join(word for word in (side, finding.words) if word)
    many = side == BOTH and label in ("Pleural Effusion", "Pneumothorax")
    if many:
        named = f"{named}s" if label == "Pleural Effusion" else f"{side} pneumothoraces"
    if change == "resolved":
        return f"{named[0].upper()}{named[1:]} {'have' if many else 'has'} resolved."
    verb = {"new": "New", "worse": "Increased", "better": "Decreased", "unchanged": "Unchanged"}[change]
    return f"{verb} {severity} {named}."


def all_suggestions() -> list[Suggestion]:
    """Every sentence that the page can write."""
    choices = [
        (finding.label, side, severity, change)
        for finding in FINDINGS
        for side in ((LEFT, RIGHT, BOTH) if finding.sided else (WHOLE,))
        for change in CHANGES
        for severity in (("",) if change == "resolved" else finding.severities)
    ]
    return [
        Suggestion(label, side, severity, change, suggest(label, side=side, severity=severity, change=change))
        for label, side, severity, change in choices
    ]
    return [
        Suggestion(label, side, severity, change, suggest(label, side=side, severity=severity, change=change))
        for label, side, severity, change in choices
    ]
