"""Refuse descriptions that the model cannot use, and warn about others."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.preparation.descriptions.request import NO_CHANGE, read_request
from biomedjourney_monai.preparation.reports.statements import read_statements
from biomedjourney_monai.preparation.reports.vocabulary import NOTHING_NEW
from biomedjourney_monai.preparation.reports.wording import is_foreign
from biomedjourney_monai.schema import FINDINGS

EMPTY, TOO_LONG, NO_FINDING = "empty_description", "description_too_long", "no_known_finding"
FOREIGN, CANNOT_DRAW = "description_not_english", "cannot_draw"


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
        prompt: what the text encoder gets.
        understood: one line that says what was understood and what was not; it quotes the description.
    """

    warnings: tuple[str, ...] = ()
    overruled: str = ""
    prompt: str = ""
    understood: str = ""


def check_description(
    text: str, encoder: CountsTokens, *, known: Collection[str] = FINDINGS, force: bool = False, verbatim: bool = False
) -> DescriptionCheck:
    """Check a description before an image is made of it, and write it in the words of the training descriptions.

    Args:
        encoder: the model's text encoder.
        known: the findings that the model knows.
        force: accept another language, and truncate a text that is too long.
        verbatim: give the text encoder the description as it is.

    Raises:
        DescriptionError: if the text is empty or, without `force`, in another language than English or longer than the
            encoder's context.
    """
    refuse_empty(text)
    read = read_request(text)
    prompt = text if verbatim else read.prompt
    warnings, overruled = [], ""
    if is_foreign(text):
        if not force:
            raise DescriptionError(
                "a description must be in English",
                found=f"common words of another language ({FOREIGN})",
                action='Write for example "New moderate left pleural effusion."',
                reason=FOREIGN,
            )
        overruled = FOREIGN
    count = encoder.count_tokens(prompt)
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
    if not read_statements(text).keys() & set(known) and not NOTHING_NEW.search(text):
        names = ", ".join(known)
        warnings.append(
            f"the description names no finding that the model knows ({names}): expect little change ({NO_FINDING})"
        )
    if read.undrawable:
        rest = "; nothing else is asked for, so the picture stays the prior's" if prompt == NO_CHANGE else ""
        warnings.append(f"the model cannot draw: {', '.join(read.undrawable)} ({CANNOT_DRAW}){rest}")
    return DescriptionCheck(tuple(warnings), overruled, prompt, read.line)


def refuse_empty(text: str) -> None:
    """Raise a DescriptionError for a description without words."""
    if not text.strip():
        found = f"no words ({EMPTY})"
        action = "Describe what changes"
        raise DescriptionError("a description must not be empty", found=found, action=action, reason=EMPTY)
