"""Check that the two studies support a description: every finding, side, severity and trend in it is looked up.

The same patterns read descriptions and reports. They cannot check what they cannot read, so a side without a known
finding, or a disease that neither report names, is also a reason to reject a description.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from biomedjourney_monai.preparation.reports import vocabulary as words
from biomedjourney_monai.preparation.reports.identifiers import find_identifiers
from biomedjourney_monai.preparation.reports.statements import (
    WHOLE,
    Segment,
    Statement,
    read_segments,
    read_statements,
    split_sentences,
)
from biomedjourney_monai.preparation.reports.states import DESCRIBED, Change, State, StudyState, compare_states


@dataclass(frozen=True)
class Evidence:
    """Labels and text of one study.

    Args:
        state: read from its labels and text.
        text: the whole text that the state was read from; may be empty.
    """

    state: StudyState
    text: str = ""
    _nothing: Statement = field(default_factory=Statement, repr=False)

    @cached_property
    def statements(self) -> Mapping[str, Statement]:
        return read_statements(self.text)

    def shows(self, label: str) -> bool:
        """Whether the finding is present or uncertain."""
        return label in self.state.findings or self._statement(label).is_present

    def denies(self, label: str) -> bool:
        """Whether labels or text deny the finding."""
        return not self.shows(label) and (label in self.state.denied or bool(self._statement(label).denied))

    def is_in_doubt(self, label: str) -> bool:
        """Whether the finding is uncertain in labels or text."""
        statement = self._statement(label)
        return self._state(label).uncertain or (statement.is_present and statement.uncertain)

    def sides(self, label: str) -> set[str]:
        """Sides on which the finding is present or uncertain; empty if none is known."""
        return {side for side in {*self._state(label).severities, *self._statement(label).severities} if side != WHOLE}

    def severities(self, label: str, side: str) -> set[int]:
        """Known severities on a side, or of the finding as a whole."""
        found = set()
        for severities in (self._state(label).severities, self._statement(label).severities):
            sides = severities if side == WHOLE else {side, WHOLE}
            found |= {severities.get(where, 0) for where in sides}
        return found - {0}

    def trends(self, label: str, sides: set[str]) -> set[str]:
        """The trends that the report states for these sides, "" for all: "worse", "better", "same"."""
        found = (*self._state(label).trends.items(), *self._statement(label).trends.items())
        return {trend for side, trend in found if side == WHOLE or WHOLE in sides or side in sides}

    def _statement(self, label: str) -> Statement:
        return self.statements.get(label, self._nothing)

    def _state(self, label: str) -> State:
        return self.state.findings.get(label, State({}))


MIN_CHARACTERS, MAX_CHARACTERS = 12, 600
"""The paper's descriptions have 146 characters on average."""

TOO_SHORT, TOO_LONG = "too short", "too long"
IDENTIFIER = "holds an identifier"
NOT_SHOWN = "names a finding that neither study shows"
NEGATED = "states a finding that the new study denies"
GONE = "states a finding that the new study no longer shows"
WRONG_SIDE = "wrong side"
UNCLEAR_SIDE = "gives a side in words that cannot be checked"
WRONG_SEVERITY = "wrong severity"
WRONG_TREND = "wrong direction of change"
DENIES = "denies a finding that the new study shows"
NEVER_THERE = "calls a finding gone that was not there"
PASSED_OVER = "calls a finding gone that the new study says nothing of"
NOT_NEW = "calls a finding new that was there before"
CERTAIN = "states for certain what is in doubt"
UNSUPPORTED_DENIAL = "denies a finding that neither study mentions"
NO_CHANGE = "denies that anything changed"
MISSES_CHANGE = "names none of the changes"

_UNCLEAR_SIDES = re.compile(r"\b(?:[RL](?!\d)|(?i:rt|lt|contralateral|ipsilateral|opposite|other side))\b")
_DOUBTED_LIST = re.compile(r"(?:possible|questionable|probable|suspected)\b")
_NEW_WORDS = re.compile(r"\b(?:new(?:ly)?|developed|development|there (?:is|are) now)\b")
_NO_CHANGE = re.compile(r"\b(?:no (?:\w+ ){0,3}change|unchanged|stable|remains? clear)\b")
_OTHER_DISEASES = re.compile(
    r"\b(hernia|tubercul|granulom|emphysem|copd|fibros|abscess|empyem|embol|aneurysm|hemothora|haemothora"
    r"|pneumomediastin|pneumoperiton|scolio|adenopath|malignan|cancer|sarcoid|infarct|bronchiect|interstitial lung"
    r"|pericardial|hiatal|dissect|calcif|scar)\w*"
)
_TRENDS = {"worse": {"worse", "possible"}, "better": {"better", "resolved", "possible"}}
"""Written trend → the kinds of change, on one of the sides, that support it."""


def check_description(description: str, prior: Evidence, new: Evidence) -> list[str]:
    """List the reasons to reject a description, without text or identifiers; empty if it is supported."""
    reasons = list(_check_form(description))
    changes = compare_states(prior.state, new.state)
    for sentence in split_sentences(description):
        segments = read_segments(sentence)
        for segment in segments:
            reasons += _check_segment(segment, changes, prior, new)
        reasons += _check_rest(sentence, segments, prior, new)
    reasons += _check_others(description, prior, new)
    reasons += _check_whole(description, changes)
    return list(dict.fromkeys(reasons))


def _check_form(description: str) -> Iterator[str]:
    if len(description) < MIN_CHARACTERS:
        yield TOO_SHORT
    if len(description) > MAX_CHARACTERS:
        yield TOO_LONG
    if find_identifiers(description):
        yield IDENTIFIER
    if _UNCLEAR_SIDES.search(description):
        yield UNCLEAR_SIDE


def _check_segment(segment: Segment, changes: Sequence[Change], prior: Evidence, new: Evidence) -> Iterator[str]:
    if segment.is_negated:
        yield from _check_denial(segment, prior, new)
    else:
        yield from _check_presence(segment, changes, prior, new)


def _check_denial(segment: Segment, prior: Evidence, new: Evidence) -> Iterator[str]:
    label, sides = segment.label, segment.sides
    is_gone = segment.says_gone
    if new.shows(label) and (not sides or not new.sides(label) or sides & new.sides(label)):
        yield DENIES
    if is_gone:
        if not prior.shows(label):
            yield NEVER_THERE
        elif label in new.state.passed_over:
            yield PASSED_OVER
        elif not sides <= prior.sides(label):
            yield WRONG_SIDE
    elif not (new.denies(label) or prior.denies(label) or prior.shows(label) or new.shows(label)) and _shows_any(new):
        yield UNSUPPORTED_DENIAL


def _check_presence(segment: Segment, changes: Sequence[Change], prior: Evidence, new: Evidence) -> Iterator[str]:
    label = segment.label
    if not new.shows(label):
        yield NEGATED if new.denies(label) else GONE if prior.shows(label) else NOT_SHOWN
        return
    if new.is_in_doubt(label) and not segment.is_uncertain and not _DOUBTED_LIST.match(segment.sentence):
        yield CERTAIN
    severities = segment.severities
    known = new.sides(label) or prior.sides(label)  # a report that names no side may mean the prior's
    if not {side for side in severities if side} <= known:
        yield WRONG_SIDE
        return
    for side, severity in severities.items():
        if severity and severity not in new.severities(label, side) | _prior_severity(prior, new, label, side):
            yield WRONG_SEVERITY
    yield from _check_trend(segment, set(severities), changes, prior, new)


def _check_trend(
    segment: Segment, sides: set[str], changes: Sequence[Change], prior: Evidence, new: Evidence
) -> Iterator[str]:
    label = segment.label
    kinds = {
        change.kind
        for change in changes
        if change.label == label and ("" in sides or "" in change.severities or sides & change.severities.keys())
    }
    kinds |= new.trends(label, sides)
    if segment.trend in _TRENDS and kinds and not kinds & _TRENDS[segment.trend]:
        yield WRONG_TREND
    if segment.trend == "same" and kinds and not kinds & {"same", "possible"}:
        yield WRONG_TREND
    if _NEW_WORDS.search(f"{segment.before} {segment.after}") and segment.trend != "same":
        before = prior.sides(label)
        if prior.shows(label) and not prior.is_in_doubt(label) and not (before and sides and not sides & before):
            yield NOT_NEW


def _check_rest(sentence: str, segments: Sequence[Segment], prior: Evidence, new: Evidence) -> Iterator[str]:
    """A side without a known finding must at least occur in one of the texts."""
    if segments or not words.SIDE.search(sentence):
        return
    texts = f"{prior.text} {new.text}".lower()
    for side in ("left", "right"):
        if re.search(rf"\b{side}\b", sentence) and not re.search(rf"\b{side}\b", texts):
            yield WRONG_SIDE
    if not words.DEVICE.search(sentence) and not _names_others(sentence):
        yield WRONG_SIDE


def _check_others(description: str, prior: Evidence, new: Evidence) -> Iterator[str]:
    """Check labels that descriptions rarely name, diseases without a label, and devices."""
    for label, statement in read_statements(description).items():
        if label in words.OTHER_TERMS:
            if statement.is_present and not (new.shows(label) or prior.shows(label)):
                yield NOT_SHOWN
            elif statement.is_present and new.denies(label):
                yield NEGATED
            elif statement.denied and new.shows(label):
                yield DENIES
    texts = f"{prior.text} {new.text}".lower()
    for match in _OTHER_DISEASES.finditer(description.lower()):
        if match[1] not in texts:
            yield NOT_SHOWN
    known = {*prior.state.devices, *new.state.devices}
    for device, pattern in words.DEVICES.items() if words.ANY_DEVICE.search(description.lower()) else ():
        if re.search(pattern, description.lower()) and device not in known and not re.search(pattern, texts):
            yield NOT_SHOWN


def _check_whole(description: str, changes: Sequence[Change]) -> Iterator[str]:
    changed = {change.label for change in changes if change.kind in ("new", "worse", "better", "resolved")}
    named = read_statements(description).keys()
    if changed and not named & changed:
        yield NO_CHANGE if _NO_CHANGE.search(description.lower()) else MISSES_CHANGE


def _prior_severity(prior: Evidence, new: Evidence, label: str, side: str) -> set[int]:
    """The prior's severity, if the new study gives none."""
    return set() if new.severities(label, side) else prior.severities(label, side)


def _shows_any(study: Evidence) -> bool:
    return any(study.shows(label) for label in DESCRIBED)


def _names_others(sentence: str) -> bool:
    return any(re.search(term, sentence) for term in words.OTHER_TERMS.values()) or bool(
        _OTHER_DISEASES.search(sentence)
    )
