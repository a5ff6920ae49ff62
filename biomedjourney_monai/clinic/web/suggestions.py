"""Descriptions to choose from, by finding, side, severity and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass

from biomedjourney_monai.schema import DEGREES, SIZES

LEFT, RIGHT, BOTH, WHOLE = "left", "right", "bilateral", ""

CHANGES = ("new", "worse", "better", "unchanged", "resolved")
"""What may become of a finding, in the order of the page."""


@dataclass(frozen=True)
class Finding:
    """How a finding is spoken of.

    Attributes:
        label: one of `schema.FINDINGS`.
        words: in a sentence, singular.
        sided: whether it has a side.
        severities: its words, rising.
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
    """One sentence and what was chosen for it."""

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
        severity: now, one of the finding's words; for "resolved" there is none.
        change: one of `CHANGES`.

    Example:
        >>> suggest("Pleural Effusion", side="left", severity="large")
        'New large left pleural effusion.'

    Raises:
        ValueError: if the choice is none of these.
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
    severe = f"{severity} {named}"
    sentences = {
        "new": f"New {severe}.",
        "worse": f"Increased {severe}.",
        "better": f"Decreased {severe}.",
        "unchanged": f"Unchanged {severe}.",
        "resolved": f"{_capital(named)} {'have' if many else 'has'} resolved.",
    }
    return sentences[change]


def all_suggestions() -> list[Suggestion]:
    """Every sentence that the page can write."""
    made = []
    for finding in FINDINGS:
        for side in (LEFT, RIGHT, BOTH) if finding.sided else (WHOLE,):
            for change in CHANGES:
                for severity in ("",) if change == "resolved" else finding.severities:
                    sentence = suggest(finding.label, side=side, severity=severity, change=change)
                    made.append(Suggestion(finding.label, side, severity, change, sentence))
    return made


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
