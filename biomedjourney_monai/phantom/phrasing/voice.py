"""A radiologist's voice: expands templates, with personal preferences for words."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import numpy as np
import yaml

RADIOLOGISTS = 400
LOYALTY = 0.7
"""Probability of choosing from the preferred half."""

_CHOICE = re.compile(r"\{([^{}]*)\}")
_Option = TypeVar("_Option")


class Voice:
    """Chooses words for one report.

    Templates hold alternatives in braces, which nest, and slots in angle brackets:

        >>> voice = Voice(np.random.default_rng(0), radiologist=3)
        >>> voice.say("{a|one} <noun>", noun="heart") in ("a heart", "one heart")
        True

    Args:
        rng: of the wording.
        radiologist: number in [0, `RADIOLOGISTS`). Each prefers another half of every list of alternatives.
    """

    def __init__(self, rng: np.random.Generator, *, radiologist: int) -> None:
        self._rng = rng
        self.radiologist = radiologist

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return bool(self._rng.random() < probability)

    def habit(self, name: str, probability: float) -> bool:
        """Return whether this radiologist has a habit that occurs with this probability among radiologists."""
        return crc32(f"{self.radiologist}/{name}".encode()) / 2**32 < probability

    def pick(self, options: Sequence[_Option]) -> _Option:
        """Choose one option, preferably one of this radiologist's."""
        if len(options) > 2 and self._rng.random() < LOYALTY:
            ranked = sorted(options, key=lambda option: crc32(f"{self.radiologist}{option}".encode()))
            options = ranked[: (len(options) + 1) // 2]
        return options[int(self._rng.random() * len(options))]

    def shuffle(self, items: Sequence[_Option]) -> list[_Option]:
        """Return the items in random order."""
        return [items[int(place)] for place in self._rng.permutation(len(items))]

    def say(self, template: str, **slots: str) -> str:
        """Expand a template: choose among alternatives from the inside out, then fill the slots."""
        while match := _CHOICE.search(template):
            option = self.pick(match.group(1).split("|"))
            template = template[: match.start()] + option + template[match.end() :]
        for name, text in slots.items():
            template = template.replace(f"<{name}>", text)
        return re.sub(r" +", " ", template).strip().replace(" ,", ",")


def as_sentence(text: str) -> str:
    """Capitalise the first letter and end with a full stop."""
    return text[:1].upper() + text[1:].rstrip(". ") + "."


def with_article(text: str) -> str:
    """Add "a" or "an"."""
    return ("an " if text[:1].lower() in "aeio" else "a ") + text


def join_list(items: Sequence[str], *, word: str = "and") -> str:
    """Join a list in English: "a", "a and b", "a, b, and c"."""
    if len(items) < 3:
        return f" {word} ".join(items)
    return f"{', '.join(items[:-1])}, {word} {items[-1]}"


def _read(name: str) -> dict[str, Any]:
    return _with_tuples(yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8")))


def _with_tuples(content: Any) -> Any:
    """Replace lists by tuples, which cannot be changed by mistake."""
    if isinstance(content, dict):
        return {key: _with_tuples(value) for key, value in content.items()}
    return tuple(content) if isinstance(content, list) else content


_FINDINGS, _REPORT = _read("finding_words.yaml"), _read("report_words.yaml")

SEVERITY_WORDS: dict[str, dict[int, tuple[str, ...]]] = _FINDINGS["severity_words"]
PREDICATE_WORDS: dict[str, dict[int, tuple[str, ...]]] = _FINDINGS["predicate_words"]
ADVERBS: dict[int, tuple[str, ...]] = _FINDINGS["adverbs"]
NOUNS: dict[str, tuple[str, ...]] = _FINDINGS["nouns"]
PLURALS: dict[str, str] = _FINDINGS["plurals"]
COUNTABLE: tuple[str, ...] = _FINDINGS["countable"]
BILATERAL_ATELECTASIS: tuple[str, ...] = _FINDINGS["bilateral_atelectasis"]
PRIOR: tuple[str, ...] = _FINDINGS["prior"]
FRAMES: dict[str, dict[str, tuple[str, ...]]] = _FINDINGS["frames"]
RESOLVED: tuple[str, ...] = _FINDINGS["resolved"]
LEADS: dict[str, str] = _FINDINGS["leads"]
HEART_FRAMES: dict[str, tuple[str, ...]] = _FINDINGS["heart_frames"]
HEART_UNCERTAIN: tuple[str, ...] = _FINDINGS["heart_uncertain"]
HEART_RESOLVED: tuple[str, ...] = _FINDINGS["heart_resolved"]
DENIALS: dict[str, tuple[str, ...]] = _FINDINGS["denials"]
DENIAL_FRAMES: tuple[str, ...] = _FINDINGS["denial_frames"]
HEART_NORMAL: tuple[str, ...] = _FINDINGS["heart_normal"]
LUNGS_EXPANDED: tuple[str, ...] = _FINDINGS["lungs_expanded"]

EXAMINATIONS: dict[str, tuple[str, ...]] = _REPORT["examinations"]
TECHNIQUES: dict[str, tuple[str, ...]] = _REPORT["techniques"]
PEOPLE: dict[str, tuple[str, ...]] = _REPORT["people"]
COMPLAINTS: tuple[str, ...] = _REPORT["complaints"]
QUESTIONS: tuple[str, ...] = _REPORT["questions"]
HISTORIES: tuple[str, ...] = _REPORT["histories"]
COMPARISONS_FIRST: tuple[str, ...] = _REPORT["comparisons_first"]
COMPARISONS_LATER: tuple[str, ...] = _REPORT["comparisons_later"]
CLEAR_IMPRESSIONS: tuple[str, ...] = _REPORT["clear_impressions"]
NO_CHANGE: tuple[str, ...] = _REPORT["no_change"]
LUNG_VOLUMES: tuple[str, ...] = _REPORT["lung_volumes"]
CLEAR_LUNGS: tuple[str, ...] = _REPORT["clear_lungs"]
MEDIASTINUM: tuple[str, ...] = _REPORT["mediastinum"]
BONES: tuple[str, ...] = _REPORT["bones"]
DEVICE_STATEMENTS: dict[str, tuple[str, ...]] = _REPORT["device_statements"]
CLOSINGS: tuple[str, ...] = _REPORT["closings"]
WET_READS: tuple[str, ...] = _REPORT["wet_reads"]
TYPOS: dict[str, tuple[str, ...]] = _REPORT["typos"]
