"""Random sentences about change with a known meaning, and word pieces, to train and to probe the small text tower.

A story states for each of the five findings how it changed, on which side, and how severe it is now. The same story has
many wordings, of which the tower must keep the common meaning.
"""

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from biomedjourney_monai.schema import FINDINGS

STATUSES = ("unmentioned", "absent", "resolved", "present", "new", "worse", "better", "unchanged")
HAS_SEVERITY = STATUSES[3:]
SIDED = ("Atelectasis", "Pleural Effusion", "Pneumothorax")
NOT_STATED, NO_SIDE = 4, 5
"""Instead of a severity: present in an unknown severity; and, on the right only, on a side that is not stated."""

SEVERITY_CLASSES = 6
ATTRIBUTE_CLASSES = tuple(size for _ in FINDINGS for size in (len(STATUSES), SEVERITY_CLASSES, SEVERITY_CLASSES))
"""Number of classes of each of `story_targets`' 15 numbers."""

_STATUS_SHARES = (0.44, 0.06, 0.10, 0.08, 0.12, 0.07, 0.07, 0.06)

_LIST_SHARE, _NOT_STATED_SHARE, _NO_SIDE_SHARE, _SIGN_SHARE, _SHORT_SHARE = 0.5, 0.25, 0.12, 0.2, 0.25
_ASIDES = (0.55, 0.22, 0.12, 0.06, 0.05)
"""Shares of texts with none to four sentences about other things."""

_LETTERS = {"left": ("L", "lt", "Lt."), "right": ("R", "rt", "Rt.")}
_SMALL_FINDINGS = ("Pleural Effusion", "Pneumothorax")
WORDS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))
"""Alternatives by kind and key; words.yaml explains their slots."""


@dataclass(frozen=True)
class FindingChange:
    """What a story says about one finding.

    Args:
        status: one of `STATUSES`.
        left: current severity on the patient's left, 0 to 3, or `NOT_STATED`; the severity of a finding without sides.
        right: current severity on the patient's right, the same; 0 for a finding without sides; `NO_SIDE` if the side
            is not stated, and then `left` is the severity.
    """

    status: str = "unmentioned"
    left: int = 0
    right: int = 0


Story = dict[str, FindingChange]


def draw_story(rng: np.random.Generator) -> Story:
    """Draw the change of each of the five findings; at least one is mentioned."""
    while True:
        story = {finding: _draw_change(rng, finding) for finding in FINDINGS}
        if any(change.status != "unmentioned" for change in story.values()):
            return story


def tell_story(rng: np.random.Generator, story: Story) -> str:
    """Word a story, with random words and order.

    Returns:
        Sentences such as "New moderate left pleural effusion. Cardiomegaly has resolved."
    """
    return join_parts(tell_in_parts(rng, story))


def tell_in_parts(rng: np.random.Generator, story: Story) -> list[tuple[str, int]]:
    """Word a story in parts, each with its finding.

    Returns:
        Parts in order, for `join_parts`, each with the index of its finding in `schema.FINDINGS`; 5 for an aside, -1
        for punctuation and for words that several findings share.
    """
    sentences = [_tell_group(rng, story, group) for group in _draw_groups(rng, story)]
    for _ in range(rng.choice(len(_ASIDES), p=_ASIDES)):
        sentences.append([(_pick(rng, WORDS["asides"]), len(FINDINGS))])
    return [part for index in rng.permutation(len(sentences)) for part in (*sentences[index], (".", -1))]


def join_parts(parts: list[tuple[str, int]]) -> str:
    """Join the parts of `tell_in_parts` into sentences."""
    text = re.sub(r" +", " ", " ".join(part for part, _ in parts)).strip()
    sentences = re.sub(r" ([,.])", r"\1", text).replace("..", ".").split(". ")
    return ". ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences)


def story_targets(story: Story) -> np.ndarray:
    """Class numbers of a story: for each finding its status (index in `STATUSES`), severity left and severity right.

    Returns:
        int64, shape (15,).
    """
    numbers = [(STATUSES.index(story[name].status), story[name].left, story[name].right) for name in FINDINGS]
    return np.array(numbers, dtype=np.int64).reshape(-1)


def _draw_change(rng: np.random.Generator, finding: str) -> FindingChange:
    status = STATUSES[rng.choice(len(STATUSES), p=_STATUS_SHARES)]
    if status not in HAS_SEVERITY:
        return FindingChange(status)
    severities = rng.integers(1, 4, size=2)
    if rng.random() < _NOT_STATED_SHARE:
        severities[:] = NOT_STATED
    if finding not in SIDED:
        return FindingChange(status, int(severities[0]))
    if rng.random() < _NO_SIDE_SHARE:
        return FindingChange(status, int(severities[0]), NO_SIDE)
    sides = rng.choice(3, p=(0.4, 0.4, 0.2))  # left, right, both
    if sides == 2 and rng.random() < 0.6:
        severities[1] = severities[0]
    return FindingChange(status, int(severities[0]) * (sides != 1), int(severities[1]) * (sides != 0))


def _draw_groups(rng: np.random.Generator, story: Story) -> list[list[str]]:
    """Draw which findings share a sentence: one to three with the same status."""
    groups: list[list[str]] = []
    for index in rng.permutation(len(FINDINGS)):
        finding, status = FINDINGS[index], story[FINDINGS[index]].status
        mates = [group for group in groups if story[group[0]].status == status and len(group) < 3]
        if status in WORDS["lists"] and mates and rng.random() < _LIST_SHARE:
            mates[0].append(finding)
        elif status != "unmentioned":
            groups.append([finding])
    return groups


def _tell_group(rng: np.random.Generator, story: Story, group: list[str]) -> list[tuple[str, int]]:
    if len(group) == 1:
        return [(_tell(rng, group[0], story[group[0]]), FINDINGS.index(group[0]))]
    status = story[group[0]].status
    before, after = _pick(rng, WORDS["lists"][status]).split("<list>")
    slot = {"absent": "name", "resolved": "sided"}.get(status, "full")
    article = _pick(rng, ["", "the "]) if status in ("resolved", "unchanged") else _pick(rng, ["", "", "a "])
    parts: list[tuple[str, int]] = [(before.strip(), -1)]
    for place, finding in enumerate(group):
        if place:
            joint = "or" if status == "absent" else "and"
            is_last = place == len(group) - 1
            parts.append((_pick(rng, [f", {joint}", joint]) if is_last else ",", -1))
        words = _fill_slots(rng, finding, story[finding])[slot].strip(" ,")
        parts.append(((article if status != "absent" else "") + words, FINDINGS.index(finding)))
    return [*parts, (after.strip(), -1)]


def _tell(rng: np.random.Generator, finding: str, change: FindingChange) -> str:
    if finding == "Cardiomegaly" and rng.random() < 0.35:
        adverb = _pick(rng, WORDS["adverbs"][change.left])
        return _pick(rng, WORDS["heart_size"][change.status]).replace("<adverb>", adverb)
    is_silent = change.left in (0, NOT_STATED) and change.right in (0, NOT_STATED, NO_SIDE)
    frames = WORDS["frames"][change.status]
    frame = _pick(rng, [frame for frame in frames if "<severity>" not in frame] if is_silent else frames)
    for slot, words in _fill_slots(rng, finding, change).items():
        frame = frame.replace(f"<{slot}>", words)
    return re.sub(r" +", " ", frame).replace(" ,", ",").replace(",,", ",").strip(" ,")


def _fill_slots(rng: np.random.Generator, finding: str, change: FindingChange) -> dict[str, str]:
    """Words for the slots of a frame: <name>, <sided> with its side, <full> also with severity, <severity> alone."""
    name = _pick(rng, WORDS["nouns"][finding])
    scale = WORDS["sizes" if finding in _SMALL_FINDINGS else "degrees"]
    left, right = (_pick(rng, scale.get(severity, [""])) for severity in (change.left, change.right))
    if finding not in SIDED or change.right == NO_SIDE:
        slots = {"severity": left, "sided": name, "full": f"{left} {name}"}
    elif change.status not in HAS_SEVERITY:
        slots = {"sided": f"{_pick(rng, ['left ', 'right ', 'bilateral ', ''])}{name}"}
    elif change.left and change.right:
        slots = _both_sides(rng, name, (left, right), same=change.left == change.right)
    else:
        slots = _one_side(rng, finding, name, "left" if change.left else "right", left or right)
    return {**slots, "name": name}


def _one_side(rng: np.random.Generator, finding: str, name: str, side: str, severity: str) -> dict[str, str]:
    if finding in WORDS["signs"] and rng.random() < _SIGN_SHARE:
        sided = _pick(rng, WORDS["signs"][finding]).replace("<place>", side)
    elif rng.random() < _SHORT_SHARE:
        sided = f"{_pick(rng, _LETTERS[side])} {name}"
    else:
        sided = _pick(rng, [f"{name} on the {side}", f"{side}-sided {name}", *[f"{side} {name}"] * 2])
    return {"severity": severity, "sided": sided, "full": f"{severity} {sided}"}


def _both_sides(rng: np.random.Generator, name: str, severities: tuple[str, str], *, same: bool) -> dict[str, str]:
    left, right = severities
    words = name.split()
    plural = " ".join([*words[:-1], WORDS["plurals"].get(words[-1], words[-1])]) if rng.random() < 0.6 else name
    bilateral = f"bilateral {plural}"
    if same:
        return {"severity": left, "sided": bilateral, "full": f"{left} {bilateral}"}
    sides = [(left, "left"), (right, "right")]
    if rng.random() < 0.5:
        sides.reverse()
    severity = " and ".join(f"{word} on the {side}" for word, side in sides)
    if rng.random() < 0.5:
        full = " and ".join(f"{word} {side}" for word, side in sides) + f" {plural}"
    else:
        full = f"bilateral {plural}, {severity},"
    return {"severity": severity, "sided": bilateral, "full": full}


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """Choose one of the options, then one of the words in each "{a|b}" of it."""
    chosen = options[int(rng.integers(len(options)))]
    while match := re.search(r"\{([^{}]*)\}", chosen):
        inner = match.group(1).split("|")
        chosen = chosen[: match.start()] + inner[int(rng.integers(len(inner)))] + chosen[match.end() :]
    return chosen


SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""BERT's, in BERT's order: padding is 0."""


def build_vocabulary(texts: Iterable[str], *, limit: int = 1500) -> list[str]:
    """Choose the word pieces, in a fixed order, so that equal texts give equal vocabularies.

    Every printable ASCII character is a piece, so no ASCII word is unknown. Suffixes and the most frequent words of
    `texts` follow, up to the limit: no word whose meaning no text teaches.

    Args:
        texts: that the tower is trained on.
        limit: largest number of pieces.

    Returns:
        The pieces, special tokens first; the index is the token id.
    """
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    normalizer, splitter = BertNormalizer(lowercase=True), BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    characters = string.ascii_lowercase + string.digits
    pieces = [*SPECIAL_TOKENS, *characters, *string.punctuation, *(f"##{character}" for character in characters)]
    pieces += [f"##{suffix}" for suffix in WORDS["suffixes"].split()]
    pieces += sorted((word for word in counts if word.isascii()), key=lambda word: (-counts[word], word))
    return list(dict.fromkeys(pieces))[:limit]
