"""Which descriptions a model must not be asked for, and what is said aloud about the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.schema import FINDINGS

EMPTY, TOO_LONG, NO_FINDING = "empty_description", "description_too_long", "no_known_finding"

_NOTHING_FOUND = re.compile(
    r"\bno (?:evidence of )?(?:acute|active|new)\b|\b(?:is|are|remain|now|lungs) clear\b|\bclear (?:lungs|chest)\b"
    r"|\b(?:normal|unremarkable) (?:chest|study|radiograph|examination)\b|\b(?:unchanged|no change|stable)\b"
    r"|\bno (?:\w+ ){0,2}change\b",
    re.IGNORECASE,
)
"""What is said of a chest without naming a finding."""


class CountsTokens(Protocol):
    """The text encoder, as far as it is needed here."""

    context_length: int

    def count_tokens(self, text: str) -> int: ...


class DescriptionError(BiomedJourneyError):
    """A description that cannot be used; `reason` is its code."""

    def __init__(self, rule: str, *, found: str = "", action: str = "", reason: str) -> None:
        super().__init__(rule, found=found, action=action)
        self.reason = reason


@dataclass(frozen=True)
class DescriptionCheck:
    """What is to be said about a usable description.

    Args:
        warnings: sentences for the user, without the description's text.
        overruled: the reason code that `force` overruled, or "".
    """

    warnings: tuple[str, ...] = ()
    overruled: str = ""


def check_description(
    text: str,
    encoder: CountsTokens,
    *,
    name_findings: Callable[[str], Collection[Any]],
    known: Collection[str] = FINDINGS,
    force: bool = False,
) -> DescriptionCheck:
    """Check a description before an image is made of it.

    Args:
        text: the description.
        encoder: the model's text encoder.
        name_findings: a text to the findings that it names, present or denied.
        known: the findings that the model knows.
        force: let a text that is too long be cut.

    Returns:
        Warnings, and what was overruled.

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
                action="Shorten it, or let its end be cut off by force",
                reason=TOO_LONG,
            )
        overruled = TOO_LONG
        warnings.append(f"the description is cut: {lost}; what comes later in it has no effect ({TOO_LONG})")
    if not set(name_findings(text)) & set(known) and not _NOTHING_FOUND.search(text):
        warnings.append(
            f"the description names no finding that the model knows ({', '.join(known)}): expect little ({NO_FINDING})"
        )
    return DescriptionCheck(tuple(warnings), overruled)


def refuse_empty(text: str) -> None:
    """Refuse a description without a word.

    Raises:
        DescriptionError: with reason "empty_description".
    """
    if not text.strip():
        raise DescriptionError(
            "a description must not be empty",
            found=f"no word in it ({EMPTY})",
            action="Say what changes",
            reason=EMPTY,
        )
