"""Read a request: the findings that a description asks for, in words that the text encoder was trained on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from biomedjourney_monai.preparation.descriptions import progression
from biomedjourney_monai.preparation.reports import vocabulary as words
from biomedjourney_monai.preparation.reports.sections import clean
from biomedjourney_monai.preparation.reports.statements import WHOLE, Segment, read_segments, split_sentences
from biomedjourney_monai.preparation.reports.states import DESCRIBED, Change
from biomedjourney_monai.preparation.reports.wording import is_foreign
from biomedjourney_monai.schema import FINDINGS

DEFAULT_SEVERITY = {"new": 2, "worse": 3, "better": 1}
"""Change → severity where a description states none: a worse finding is drawn large, whatever the prior shows."""

NO_CHANGE = "Unchanged."
"""Keeps the film best: in training it stood beside pairs of one film, where other sentences of that meaning also stood
beside pairs of two films."""


@dataclass(frozen=True)
class ReadRequest:
    """What was read from a description.

    Attributes:
        changes: the changes that the model can draw or that are denied, in the order of the description.
        by_default: labels whose severity is `DEFAULT_SEVERITY`'s.
        prompt: the same in the words of the training descriptions; the description itself if it is written in them
            already, or if nothing was understood; `NO_CHANGE` if it says only that nothing changed, or if everything
            that was understood cannot be drawn.
        left_out: parts without a known finding, in lower case.
        undrawable: names of findings and things that the model cannot draw.
    """

    changes: tuple[Change, ...]
    by_default: frozenset[str]
    prompt: str
    left_out: tuple[str, ...] = ()
    undrawable: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """One line for the user; empty if there is nothing to say."""
        parts = []
        if self.changes:
            parts.append(f"understood: {'; '.join(self._name(change) for change in self.changes)}")
        elif self.prompt == NO_CHANGE and not self.undrawable:
            parts.append("understood: nothing changes")
        if self.left_out:
            parts.append(f"not understood: {', '.join(repr(part) for part in self.left_out)}")
        return "; ".join(parts)

    def _name(self, change: Change) -> str:
        singular, plural, adjectives = progression.NOUNS[change.label]
        severities = dict.fromkeys(adjectives[severity] for severity in change.severities.values() if severity)
        default = " (by default)" if change.label in self.by_default else ""
        side = "bilateral" if len(change.severities) > 1 else next(iter(change.severities))
        severity = f"{' and '.join(severities)}{default}" if severities else ""
        noun = plural if len(change.severities) > 1 else singular
        listed = ", ".join(part for part in (_KINDS[change.kind], side, severity) if part)
        return f"{listed} {noun}"


_VIEW = re.compile(r"\b(AP|PA) (?:view|film|projection|radiograph)\b", re.IGNORECASE)
_STAYS = re.compile(
    rf"{words.UNCHANGED}|\b(?:no (?:\w+ )?new (?!or\b)\w+|nothing new"
    r"|(?:looks?|appears?|is|are) the same|similar to)\b"
)
_CLEAR = re.compile(r"\b(?:clear|normal|unremarkable|acute|active)\b")
_ORDINARY = re.compile(
    rf"{_STAYS.pattern}|{words.NOTHING_NEW.pattern}|\b(?:unremarkable|normal|well (?:expanded|inflated))\b"
)
_KINDS = {"same": "unchanged", "absent": "no"} | {k: k for k in ("new", "worse", "better", "resolved", "possible")}


@lru_cache(maxsize=512)
def read_request(description: str) -> ReadRequest:
    """Read what a description asks for.

    Example:
        >>> read_request("L PTX has enlarged, nodule in the RUL.").prompt
        'The left pneumothorax has increased and is now large.'
        >>> read_request("New L pl eff, moderate.").line
        'understood: new, left, moderate pleural effusion'
    """
    asked: dict[tuple[str, str], Change] = {}
    left_out: list[str] = []
    undrawable: list[str] = []
    sentences = () if is_foreign(description) else split_sentences(clean(description))
    for sentence in sentences:
        segments = read_segments(sentence)
        for segment in segments:
            if segment.label in FINDINGS or (segment.is_negated and segment.label in DESCRIBED):
                for change in _changes_of(segment):
                    _join(asked, change)
            else:
                undrawable.append(segment.label.lower())
        named = words.OTHER_THINGS.finditer(sentence)
        undrawable += [match[0] for match in named if not words.DENIAL.search(sentence, 0, match.start())]
        left_out += _left_out(sentence, segments)
    stays = [bool(_STAYS.search(s) and not _CLEAR.search(s)) for s in sentences if not _VIEW.fullmatch(s)]
    changes, by_default, prompt = list(asked.values()), frozenset[str](), description
    if changes and not is_canonical(description):
        changes, by_default = _fill_in(changes)
        prompt = " ".join(progression.write_change(change) for change in changes)
    elif not changes and (undrawable or (stays and all(stays))):
        prompt = NO_CHANGE
    view = _VIEW.search(description)
    if view and prompt not in (description, NO_CHANGE):
        prompt += f" {view[1].upper()} view."
    return ReadRequest(tuple(changes), by_default, prompt, tuple(left_out), tuple(dict.fromkeys(undrawable)))


def _changes_of(segment: Segment) -> list[Change]:
    """The changes that one mention asks for, with both sides in one if they change alike."""
    if segment.is_negated:
        kind = "resolved" if segment.says_gone else "absent"
        return [Change(segment.label, kind, dict.fromkeys(sorted(segment.sides) or (WHOLE,), 0))]
    groups: dict[str, dict[str, int]] = {}
    for side, severity in segment.severities.items():
        kind = "possible" if segment.is_uncertain else segment.changes[side] or "new"
        groups.setdefault(kind, {})[side] = severity
    return [Change(segment.label, kind, severities) for kind, severities in groups.items()]


def _join(asked: dict[tuple[str, str], Change], change: Change) -> None:
    """Add a change; what is said of one finding and side in several sentences is one change."""
    where = "/".join(change.severities)
    known = [key for key in asked if key[0] == change.label and (WHOLE in (where, key[1]) or where == key[1])]
    if not known:
        asked[change.label, where] = change
        return
    before = asked[known[0]]
    if change.kind in ("absent", "possible"):
        return
    severities = {side: max(change.severities.get(side, 0), n) for side, n in before.severities.items()}
    if where != WHOLE:
        severities = {side: n or max(before.severities.values()) for side, n in change.severities.items()}
    elif not any(severities.values()):
        severities = dict.fromkeys(severities, max(change.severities.values()))
    kind = change.kind if before.kind in ("new", "same", "possible", "absent") and change.kind != "new" else before.kind
    asked[known[0]] = Change(change.label, kind, severities)


def _fill_in(changes: list[Change]) -> tuple[list[Change], frozenset[str]]:
    """Fill in the severities that are not stated."""
    filled, by_default = [], set()
    for change in changes:
        severity = DEFAULT_SEVERITY.get(change.kind, 0)
        if severity and not all(change.severities.values()):
            by_default.add(change.label)
            stated = max(change.severities.values()) or severity
            change = replace(change, severities={side: n or stated for side, n in change.severities.items()})
        filled.append(change)
    return filled, frozenset(by_default)


def _left_out(sentence: str, segments: tuple[Segment, ...]) -> list[str]:
    if not segments:
        ordinary = _ORDINARY.search(sentence) or _VIEW.search(sentence)
        return [] if not re.search("[a-z]", sentence) or ordinary else [sentence]
    pieces = words.SEPARATOR.split(sentence)
    return [piece.strip() for piece in pieces if words.OTHER_THINGS.search(piece) and not read_segments(piece)]


def is_canonical(description: str) -> bool:
    """Whether every sentence is one that the rule-based writer can write."""
    sentences = re.split(r"(?<=\.)\s+", description.strip())
    return all(_CANONICAL.fullmatch(sentence) for sentence in sentences)


def _grammar() -> re.Pattern[str]:
    nouns = "|".join(sorted({noun for row in progression.NOUNS.values() for noun in row[:2]}, key=len, reverse=True))
    degrees = "|".join(sorted({word for row in progression.NOUNS.values() for word in row[2] if word}))
    sides = "left|right|bilateral"
    place = rf"(?:{degrees}) left and (?:{degrees}) right |(?:(?:{degrees}) )?(?:(?:{sides}) )?"
    name = rf"(?:(?:an?|the) )?(?:{place})(?:{nouns})"
    listed = rf"{name}(?:, {name})*(?:,? (?:and|or) {name})?"
    degree = rf"(?:{degrees})(?: on the left and (?:{degrees}) on the right)?"
    slots = dict.fromkeys(("list", "a_list", "the_list", "A_list", "The_list"), listed)
    slots |= {"is": "(?:is|are)", "has": "(?:has|have)", "adjectives": degree}
    tables: tuple[Mapping[str, tuple[str, ...]], ...]
    tables = (progression.FRAMES, progression.GRADED_FRAMES, progression.UNGRADED_FRAMES)
    frames = [frame for table in tables for row in table.values() for frame in row]
    plain = [*progression.CLEAR_FRAMES, *progression.NO_CHANGE_FRAMES, *progression.CLEARED_FRAMES]
    plain += ("No acute cardiopulmonary process.", "AP view.", "PA view.")
    sentences = [frame.removesuffix(".").format(**slots) for frame in frames] + [
        text.removesuffix(".") for text in plain
    ]
    devices = "|".join(words.DEVICES)
    sentences += [f"New (?:{devices})", f"an? (?:{devices}) is now in place", f"The (?:{devices}) has been removed"]
    return re.compile(rf"(?:{'|'.join(sentences)})\.?", re.IGNORECASE)


_CANONICAL = _grammar()
