"""Refuse descriptions that the model cannot use, and warn about others."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.schema import FINDINGS

EMPTY, TOO_LONG, NO_FINDING = "empty_description", "description_too_long", "no_known_finding"

_NOTHING_FOUND = re.compile(
    r"\bno (?:evidence of )?(?:acute|active|new)\b|\b(?:is|are|remain|now|lungs) clear\b|\bclear (?:lungs|chest)\b"
    r"|\b(?:normal|unremarkable) (?:chest|study|radiograph|examination)\b|\b(?:unchanged|no change|stable)\b"
    r"|\bno (?:\w+ ){0,2}change\b",
    re.IGNORECASE,
)
"""How reports describe a chest without naming a finding."""


class CountsTokens(Protocol):
    """The part of a text encoder that is needed here."""

    context_length: int

    def count_tokens(self, text: str) -> int: ...


class DescriptionError(BiomedJourneyError):
    """A description that cannot be used; `reason` is its code."""

    def __init__(self, rule: str, *, found: str = "", action: str = "", reason: str) -> None:
        super().__init__(rule, found=found, action=action)
        self.reason = reason


@dataclass(frozen=True)
class DescriptionCheck:
    """The result for a usable description.

    Attributes:
        warnings: sentences for the user, without the description's text.
        overruled: the reason code that `force` overruled, or "".
    """

    warnings: tuple[str, ...] = ()
    overruled: str = ""


def check_description(
    text: str,
    encoder: CountsTokens,
    *,
    name_findings: Callable[[str], Collection[str]],
    known: Collection[str] = FINDINGS,
    force: bool = False,
) -> DescriptionCheck:
    """Check a description before an image is generated from it.

    Args:
        encoder: the model's text encoder.
        name_findings: returns the findings that a text names, present or denied.
        known: the findings that the model knows.
        force: truncate a text that is too long.

    Raises:
        DescriptionError: if the text is empty or, without `force`, longer than the encoder's context.
    """
    refuse_empty(text)
    warnings, overruled = [], ""
    count = encoder.count_tokens(text)
    if count > encoder.context_length:
        lost = f"{count} tokens where the text encoder reads {encoder.context_length}"
        if not force:
            raise DescriptionError(
                "a description must fit the text encoder",
                found=f"{lost} ({TOO_LONG})",
                action="Shorten it, or truncate it by force",
                reason=TOO_LONG,
            )
        overruled = TOO_LONG
        warnings.append(f"the description is truncated: {lost}; the rest of it has no effect ({TOO_LONG})")
    if not set(name_findings(text)) & set(known) and not _NOTHING_FOUND.search(text):
        names = ", ".join(known)
        warnings.append(
            f"the description names no finding that the model knows ({names}): expect little change ({NO_FINDING})"
        )
    return DescriptionCheck(tuple(warnings), overruled)


def refuse_empty(text: str) -> None:
    """Raise a DescriptionError for a description without words."""
    if not text.strip():
        found = f"no words ({EMPTY})"
        action = "Describe what changes"
        raise DescriptionError("a description must not be empty", found=found, action=action, reason=EMPTY)
