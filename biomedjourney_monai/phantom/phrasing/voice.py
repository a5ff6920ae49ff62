"""A radiologist's voice: expands templates, with personal preferences for words."""

import re
from collections.abc import Sequence
from typing import TypeVar
from zlib import crc32

import numpy as np

RADIOLOGISTS = 400

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
        loyalty: probability of choosing from the preferred half.
    """

    def __init__(self, rng: np.random.Generator, *, radiologist: int, loyalty: float = 0.7) -> None:
        self._rng = rng
        self.radiologist = radiologist
        self._loyalty = loyalty

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return bool(self._rng.random() < probability)

    def habit(self, name: str, probability: float) -> bool:
        """Return whether this radiologist has a habit that occurs with this probability among radiologists."""
        return crc32(f"{self.radiologist}/{name}".encode()) / 2**32 < probability

    def pick(self, options: Sequence[_Option]) -> _Option:
        """Choose one option, preferably one of this radiologist's."""
        if len(options) > 2 and self._rng.random() < self._loyalty:
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
