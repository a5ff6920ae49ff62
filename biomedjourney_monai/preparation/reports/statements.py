"""Read findings from a short report: present, absent or uncertain; side, severity and trend.

These are patterns for the plain sentences of an impression, not a language model: a sentence is cut into one segment
for each finding it names, and negation, uncertainty, side, severity and trend are searched for in that segment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from biomedjourney_monai.preparation.reports import vocabulary as words

LEFT, RIGHT, WHOLE = "left", "right", ""


@dataclass
class Statement:
    """Everything that a text says about one finding.

    Args:
        severities: side ("left", "right", or "" if no side is named) → 0 not stated, 1 small or mild, 2 moderate,
            3 large or severe; of present and uncertain findings.
        denied: sides on which the finding is absent or resolved; "" for all.
        trends: side → "worse", "better" or "same".
        uncertain: whether the finding is never stated with certainty.
    """

    severities: dict[str, int] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    trends: dict[str, str] = field(default_factory=dict)
    uncertain: bool = False

    @property
    def is_present(self) -> bool:
        return bool(self.severities)


def read_statements(text: str) -> dict[str, Statement]:
    """Read what a text says about the findings in `vocabulary.TERMS` and `vocabulary.OTHER_TERMS`.

    Example:
        >>> read_statements("Small left pleural effusion. No edema.")["Pleural Effusion"].severities
        {'left': 1}
    """
    sentences = split_sentences(text)
    others = _read_terms(sentences, {**words.TERMS, **words.OTHER_TERMS})
    return _read_terms(sentences, words.TERMS) | {k: v for k, v in others.items() if k in words.OTHER_TERMS}


def _read_terms(sentences: list[str], terms: dict[str, str]) -> dict[str, Statement]:
    statements: dict[str, Statement] = {}
    certain: set[str] = set()
    for sentence in sentences:
        for segment in read_segments(sentence, terms):
            statement = statements.setdefault(segment.label, Statement())
            if segment.is_negated:
                statement.denied.update(segment.sides() or {WHOLE})
                continue
            for side, severity in segment.severities().items():
                statement.severities[side] = max(severity, statement.severities.get(side, 0))
                if segment.trend:
                    statement.trends[side] = segment.trend
            if not segment.is_uncertain:
                certain.add(segment.label)
    for label, statement in statements.items():
        _drop_unnamed_side(statement)
        statement.uncertain = statement.is_present and label not in certain
    return statements


def read_devices(text: str) -> list[str]:
    """List the devices in a text, in the order of `vocabulary.DEVICES`, except those that were removed."""
    sentences = [sentence for sentence in split_sentences(text) if not re.search(r"\bremov|\bno ", sentence)]
    return [name for name, pattern in words.DEVICES.items() if any(re.search(pattern, s) for s in sentences)]


def split_sentences(text: str) -> list[str]:
    """Split a text into lower-case sentences without full stops."""
    text = re.sub(r"\b(\w+) \1\b", r"\1", text.lower())  # "the the"
    parts = re.split(r"(?<=[.;?!])\s+|;|\n", text)
    return [part.strip(" .;?!") for part in parts if part.strip(" .;?!")]


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

    @property
    def is_negated(self) -> bool:
        if self.label in ("Cardiomegaly", "Enlarged Cardiomediastinum") and words.NEGATED_WITHIN.search(self.term):
            return True
        if self.negated_by_list or words.NEGATED_BEFORE.search(self.before):
            return True
        return bool(words.NEGATED_AFTER.search(self.after))

    @property
    def is_uncertain(self) -> bool:
        if self.is_a_doubted_cause:
            return True
        after = (
            "" if self.label == "Lung Opacity" else words.DOUBT_OF_THE_NEXT.sub("", self.after)
        )  # uncertainty of its cause
        return bool(words.UNCERTAIN.search(f"{self.before} {self.term} | {after}"))

    @property
    def trend(self) -> str:
        text = f"{self.before} {self.term} {self.after}"
        if words.WORSE.search(text):
            return "worse"
        if words.BETTER.search(text):
            return "better"
        return "same" if words.SAME.search(text) else ""

    def sides(self) -> set[str]:
        if self.label in words.UNSIDED:
            return set()
        found = _sides(self.before) | _sides(self.after)
        return found or (_sides(self.sentence) if self.is_alone or self.is_a_doubted_cause else set())

    def severities(self) -> dict[str, int]:
        """Side → severity, as in "small left and large right effusions" or "effusions, small on the left, …"."""
        before, after = (words.SEVERITY_RANGE.sub("", text) for text in (self.before, self.after))
        if self.label in words.UNSIDED:
            return {WHOLE: _severity(after, last=True) or _severity(f"{before} {self.term}", last=True)}
        paired = _paired(before) | _paired(after)
        whole = _severity(after, last=True) or _severity(before, last=True)
        sides = self.sides() or {WHOLE}
        return {side: paired.get(side, whole) for side in sorted(sides)}


def read_segments(sentence: str, terms: dict[str, str]) -> list[Segment]:
    """Cut a sentence of `split_sentences` into a segment for each finding that it names.

    Args:
        terms: label → pattern, such as `vocabulary.TERMS`.
    """
    mentions = _mentions(sentence, terms)
    parts, doubted, start = [], [], 0
    for index, (label, match) in enumerate(mentions):
        following = mentions[index + 1][1].start() if index + 1 < len(mentions) else len(sentence)
        between = sentence[match.end() : following]
        cut = _last_cut(between) if index + 1 < len(mentions) else len(between)
        parts.append((label, sentence[start : match.start()], match.group(), between[:cut]))
        doubted.append(bool(words.DOUBT_OF_A_CAUSE.search(sentence, 0, match.start())))
        start = match.end() + cut
    negated = _negated_by_list(parts)
    return [
        Segment(*part, is_negated, sentence, is_alone=len(parts) == 1, is_a_doubted_cause=is_doubted)
        for part, is_negated, is_doubted in zip(parts, negated, doubted)
    ]


def _mentions(sentence: str, terms: dict[str, str]) -> list[tuple[str, re.Match[str]]]:
    found = [(label, match) for label, term in terms.items() for match in re.finditer(term, sentence)]
    if words.OTHER_TERMS.keys() <= terms.keys():  # the words of the mediastinum do not count for the heart
        found = [item for item in found if item[0] != "Cardiomegaly"]
    found.sort(key=lambda item: (item[1].start(), -item[1].end()))
    kept: list[tuple[str, re.Match[str]]] = []
    for label, match in found:
        if not kept or match.start() >= kept[-1][1].end():
            kept.append((label, match))
    return kept


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


def _severity(text: str, *, last: bool) -> int:
    found = [_level(match) for match in words.SEVERITY.finditer(text)]
    return (found[-1] if last else found[0]) if found else 0


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
