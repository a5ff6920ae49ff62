"""Read findings from a short report: present, absent or uncertain; side, severity and trend.

These are patterns for the plain sentences of an impression, not a language model: a sentence is cut into one segment
for each finding it names, and negation, uncertainty, side, severity and trend are searched for in that segment.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, TypeVar

from biomedjourney_monai.preparation.reports import vocabulary as words
from biomedjourney_monai.preparation.reports.wording import (
    expand_abbreviations,
    is_foreign,
    join_abbreviations,
    plain_words,
)

T = TypeVar("T")

LEFT, RIGHT, WHOLE = "left", "right", ""
OTHER = ""
"""The label of what a sentence names besides findings: a device, a bone, a nodule."""


@dataclass
class Statement:
    """Everything that a text says about one finding.

    Args:
        severities: side ("left", "right", or "" if no side is named) → 0 not stated, 1 small or mild, 2 moderate,
            3 large or severe; of present and uncertain findings.
        denied: sides on which the finding is absent or resolved; "" for all.
        trends: side → "worse", "better" or "same".
        uncertain: whether the finding is never stated with certainty.
        changes: side → "new", "worse", "better", "same" or "resolved", where a change is stated; other sides are
            missing or "".
    """

    severities: dict[str, int] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    trends: dict[str, str] = field(default_factory=dict)
    uncertain: bool = False
    changes: dict[str, str] = field(default_factory=dict)

    @property
    def is_present(self) -> bool:
        return bool(self.severities)


_PATTERNS = {label: re.compile(term, re.ASCII) for label, term in (words.TERMS | words.OTHER_TERMS).items()}
_NAMES_OTHERS = re.compile("|".join(words.OTHER_TERMS.values()))
_SENTENCE_END = re.compile(r"[\s;](?:(?<=;)|(?<=[.?!]\s)\s*)", re.ASCII)
_LONE_MARK = re.compile(r"(^|[.;?!]\s+)\?\s+")  # "? left effusion"
_TWICE = re.compile(r"\b(\w+) \1\b", re.ASCII)  # "the the"


@lru_cache(maxsize=16384)
def read_statements(text: str) -> Mapping[str, Statement]:
    """Read what a text says about the findings in `vocabulary.TERMS` and `vocabulary.OTHER_TERMS`; do not change it.

    Example:
        >>> read_statements("Small left pleural effusion. No edema.")["Pleural Effusion"].severities
        {'left': 1}
    """
    if is_foreign(text):
        return {}
    sentences = split_sentences(text)
    others = _join([segment for sentence in sentences for segment in read_segments(sentence, True)])
    named = _join([segment for sentence in sentences for segment in read_segments(sentence)])
    return named | {label: others[label] for label in words.OTHER_TERMS if label in others}


def _join(segments: "Sequence[Segment]") -> dict[str, Statement]:
    """Join the segments of a text by finding."""
    if not segments:
        return {}
    statements: dict[str, Statement] = {}
    certain: set[str] = set()
    for segment in segments:
        statement = statements.get(segment.label)
        if statement is None:
            statement = statements[segment.label] = Statement()
        if segment.is_negated:
            sides = segment.sides or {WHOLE}
            statement.denied.update(sides)
            if segment.says_gone:
                statement.changes = dict.fromkeys(sides, "resolved") | statement.changes
            continue
        for side, severity in segment.severities.items():
            change = segment.changes[side]
            statement.severities[side] = max(severity, statement.severities.get(side, 0))
            statement.changes[side] = change or statement.changes.get(side, "")
            trend = segment.trend if change in ("", "new") else change
            if trend:
                statement.trends[side] = trend
        if not segment.is_uncertain:
            certain.add(segment.label)
    for label, statement in statements.items():
        _drop_unnamed_side(statement)
        statement.uncertain = statement.is_present and label not in certain
    return statements


def says_something(text: str) -> bool:
    """Whether a text says anything about a chest that the patterns can read: a finding, a device, or no abnormality."""
    if is_foreign(text) or not text.strip():
        return False
    lower = text.lower()
    said = words.CLEAR.search(lower) or words.CHEST.search(lower) or words.DEVICE.search(lower)
    return bool(said or read_statements(text))


def read_devices(text: str) -> list[str]:
    """List the devices in a text, in the order of `vocabulary.DEVICES`, except those that were removed."""
    named = {name for sentence in split_sentences(text) for name in _named_devices(sentence)}
    return [name for name in words.DEVICES if name in named]


@lru_cache(maxsize=65536)
def _named_devices(sentence: str) -> list[str]:
    if not words.ANY_DEVICE.search(sentence) or re.search(r"\bremov|\bno ", sentence):
        return []
    return [name for name, pattern in words.DEVICES.items() if re.search(pattern, sentence)]


def split_sentences(text: str) -> list[str]:
    """Split a text into lower-case sentences without full stops, in the words that the patterns know."""
    return [sentence for line in text.split("\n") for sentence in _split_line(line)]


@lru_cache(maxsize=32768)
def _split_line(line: str) -> tuple[str, ...]:
    parts = _SENTENCE_END.split(_LONE_MARK.sub(r"\1?", join_abbreviations(line)))
    return tuple(_read_sentence(part) for part in parts if part.strip(" .;?!"))


@lru_cache(maxsize=65536)
def _read_sentence(part: str) -> str:
    sentence = expand_abbreviations(part.strip())
    if len(set(sentence.split())) < sentence.count(" ") + 1:
        sentence = _TWICE.sub(r"\1", sentence)
    return plain_words(f"{'possible ' if '?' in sentence else ''}{sentence.strip(' .;?!')}")


class _once(Generic[T]):  # noqa: N801 - a decorator
    """`functools.cached_property` without its lock, which takes longer than the patterns of a short segment."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute, self.name = compute, compute.__name__

    def __get__(self, segment: Any, _owner: type) -> T:
        value = segment.__dict__[self.name] = self.compute(segment)
        return value


@dataclass(frozen=True)
class Segment:
    """One finding in one sentence: its own words, and those before and after it up to the neighbouring findings."""

    label: str
    before: str
    term: str
    after: str
    negated_by_list: bool  # "no edema, effusion or pneumothorax"
    sentence: str
    is_alone: bool
    is_a_doubted_cause: bool
    is_one_of_two: bool = False  # "atelectasis versus pneumonia at the left base"

    @_once
    def is_negated(self) -> bool:
        if self.label in words.NAMED_WITH_PREDICATE and words.NEGATED_WITHIN.search(self.term):
            return True
        if self.negated_by_list or words.NEGATED_BEFORE.search(self.before):
            return True
        return bool(words.NEGATED_AFTER.search(self.after))

    @_once
    def is_uncertain(self) -> bool:
        if self.is_a_doubted_cause or (self.is_one_of_two and " rather than " not in self.sentence):
            return True
        after = (
            "" if self.label == "Lung Opacity" else words.DOUBT_OF_THE_NEXT.sub("", self.after)
        )  # uncertainty of its cause
        return bool(words.UNCERTAIN.search(f"{self.before} {self.term} | {after}"))

    @_once
    def trend(self) -> str:
        return _trend(f"{self.before} {self.term} {self.after}")

    @_once
    def says_gone(self) -> bool:
        """Whether a denied finding is said to have been present before, by its own words or by those of its list."""
        if words.GONE.search(f"{self.before} {self.term} {self.after}"):
            return True
        return bool(words.GONE.search(self.sentence)) and not words.DENIAL.search(self.before)

    @_once
    def changes(self) -> dict[str, str]:
        """Side → "new", "worse", "better", "same" or "" of a finding that is present."""
        sides = self.sides or {WHOLE}
        pieces = self.before.split(" and ")
        if sides == {LEFT, RIGHT} and len(pieces) == 2:  # "increasing left and decreasing right effusion"
            paired = {side: _trend(piece) for piece in pieces for side in _sides(piece)}
            if all(len(_sides(piece)) == 1 for piece in pieces) and all(paired.values()) and len(paired) == 2:
                return paired
        return dict.fromkeys(sides, self._change())

    def _change(self) -> str:
        text = f"{self.before} {self.term} {self.after}"
        if words.NEW.search(text):
            return "new"
        return self.trend or ("new" if words.NOW.search(text) else "")

    @_once
    def sides(self) -> set[str]:
        if self.label in words.UNSIDED:
            return set()
        found = _sides(f"{self.before} | {self.term} | {self.after}")
        shares = self.is_alone or self.is_a_doubted_cause or self.is_one_of_two
        return found or (_sides(self.sentence) if shares else set())

    @_once
    def severities(self) -> dict[str, int]:
        """Side → severity, as in "small left and large right effusions" or "effusions, small on the left, …"."""
        sides = [WHOLE] if self.label in words.UNSIDED else sorted(self.sides or {WHOLE})
        if not words.SEVERITY.search(f"{self.before} {self.term} {self.after}"):
            return dict.fromkeys(sides, 0)
        before, after = (words.SEVERITY_RANGE.sub("", text) for text in (self.before, self.after))
        whole = _severity(after) or _severity(f"{before} {self.term}")
        paired = _paired(before) | _paired(after) if sides != [WHOLE] else {}
        return {side: paired.get(side, whole) for side in sides}


@lru_cache(maxsize=65536)
def read_segments(sentence: str, with_others: bool = False) -> tuple[Segment, ...]:
    """Cut a sentence of `split_sentences` into a segment for each finding that it names.

    Args:
        sentence: of `split_sentences`.
        with_others: find `vocabulary.OTHER_TERMS` too; no segment of a sentence that names none of them.
    """
    if with_others and not _NAMES_OTHERS.search(sentence):
        return ()
    mentions = _mentions(sentence, {**words.TERMS, **words.OTHER_TERMS} if with_others else words.TERMS)
    parts, doubted, joined, start = [], [], [False], 0
    for index, (label, match) in enumerate(mentions):
        following = mentions[index + 1][1].start() if index + 1 < len(mentions) else len(sentence)
        between = sentence[match.end() : following]
        cut = _last_cut(between) if index + 1 < len(mentions) else len(between)
        parts.append((label, sentence[start : match.start()], match.group(), between[:cut]))
        doubted.append(bool(words.DOUBT_OF_A_CAUSE.search(sentence, 0, match.start())))
        joined.append(bool(words.ONE_OF_TWO.fullmatch(between)) and index + 1 < len(mentions))
        start = match.end() + cut
    negated = _negated_by_list(parts)
    return tuple(
        Segment(
            *part,
            negated[index],
            sentence,
            is_alone=len(parts) == 1,
            is_a_doubted_cause=doubted[index],
            is_one_of_two=joined[index] or joined[index + 1],
        )
        for index, part in enumerate(parts)
        if part[0] != OTHER
    )


def _mentions(sentence: str, terms: Mapping[str, str]) -> list[tuple[str, re.Match[str]]]:
    """The findings of `terms` in a sentence, and the other things that it names, in order."""
    likely = [label for label in terms if label not in words.PARTS or words.PARTS[label].search(sentence)]
    found = [(label, match) for label in likely for match in _PATTERNS[label].finditer(sentence)]
    if words.OTHER_TERMS.keys() <= terms.keys():  # the words of the mediastinum do not count for the heart
        found = [item for item in found if item[0] != "Cardiomegaly"]
    found += [(OTHER, match) for match in words.OTHER_THINGS.finditer(sentence)] if found else []
    found.sort(key=lambda item: (item[1].start(), -item[1].end()))
    kept: list[tuple[str, re.Match[str]]] = []
    for label, match in found:
        if not kept or match.start() >= kept[-1][1].end():
            if kept and kept[-1][0] == label != OTHER and _explains(kept[-1][1], sentence, match):
                kept.pop()  # "blunting of the left costophrenic angle, consistent with an effusion"
            kept.append((label, match))
    return kept


def _explains(sign: re.Match[str], sentence: str, match: re.Match[str]) -> bool:
    return bool(words.SIGN.search(sign.group()) and words.EXPLAINS.fullmatch(sentence[sign.end() : match.start()]))


def _last_cut(between: str) -> int:
    """Find where the words between two findings stop belonging to the first."""
    denial = words.DENIAL_STARTS.search(between)
    if denial:  # "cardiomegaly with no evidence of failure or pneumonia"
        return denial.start()
    separators = list(words.SEPARATOR.finditer(between))
    while len(separators) > 1 and _joins_two_sides(between, separators[-1]):
        separators.pop()  # "effusion and small left and large right pneumothoraces"
    return separators[-1].start() if separators else 0


def _joins_two_sides(text: str, separator: re.Match[str]) -> bool:
    ahead, behind = text[: separator.start()], text[separator.end() :]
    return bool(re.search(r"\b(?:left|right)(?:-sided)?$", ahead) and words.SIDE.search(behind))


def _negated_by_list(parts: list[tuple[str, str, str, str]]) -> list[bool]:
    """Find which findings a sentence denies by a word before the first or after the last of a list."""
    negated = []
    pattern = None  # what may continue the list that is being denied
    for index, (_label, before, _term, _after) in enumerate(parts):
        if words.NEGATED_BEFORE.search(before):
            pattern = words.GONE_LIST_WORDS if words.GONE_BEFORE.search(before) else words.LIST_WORDS
        elif pattern is words.LIST_WORDS and any(words.LIST_CLOSES.match(later[1]) for later in parts[index:]):
            pass  # "no consolidation, large effusion, or pneumothorax"
        elif pattern is not None and not pattern.fullmatch(before.rstrip() + " "):
            pattern = None
        negated.append(pattern is not None)
    for index in range(len(parts) - 2, -1, -1):  # "the effusion and the atelectasis have resolved"
        _label, before, _term, after = parts[index + 1]
        is_gone = words.GONE_PLURAL.search(after) or (negated[index + 1] and index + 2 < len(parts))
        if is_gone and not parts[index][3].strip(" ,") and words.GONE_LIST_WORDS.fullmatch(before.rstrip() + " "):
            negated[index] = True
    return negated


def _sides(text: str) -> set[str]:
    sides: set[str] = set()
    for match in words.SIDE.finditer(text):
        sides |= {LEFT, RIGHT} if match["both"] else {LEFT} if match["left"] else {RIGHT}
    return sides


def _level(match: re.Match[str]) -> int:
    return int(str(match.lastgroup)[1:])  # the groups are named s1, s2, s3


def _severity(text: str) -> int:
    found = list(words.SEVERITY.finditer(text))
    return _level(found[-1]) if found else 0


def _trend(text: str) -> str:
    for trend, pattern in (("worse", words.WORSE), ("better", words.BETTER), ("same", words.SAME)):
        if pattern.search(text):
            return trend
    return ""


def _paired(text: str) -> dict[str, int]:
    """ "small left", "small on the left", "moderate in size on the left" → side → severity."""
    pairs: dict[str, int] = {}
    for match in words.SEVERITY.finditer(text):
        behind = text[match.end() :]
        side = re.match(r"(?: in size)?(?: (?:on|at) \w+)? (left|right)\b", behind)
        if side:
            pairs[side[1]] = _level(match)
    return pairs if len(pairs) == 2 else {}


def _drop_unnamed_side(statement: Statement) -> None:
    """If one sentence names sides and another does not, keep the sides only."""
    if len(statement.severities) > 1 and WHOLE in statement.severities:
        statement.severities.pop(WHOLE)
        statement.trends.pop(WHOLE, None)
        statement.changes.pop(WHOLE, None)
