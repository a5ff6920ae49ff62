"""Whether a radiograph fills its picture with its own proportions, judged on the very square that the model sees.

The limits were measured on 3,196 films of ChestX-ray14, of which they refuse 4: three with a border, one too wide.
"""

import numpy as np

FAULTS = BORDERED, STRETCHED = "bordered", "stretched"
BLACK = 0.02
"""Grey level up to which an edge counts as letterbox or unexposed film."""

MIN_ASPECT, MAX_ASPECT = 0.64, 1.55
"""Of width over height. Films as published have 0.70 to 1.43; one that is stretched to twice its width or height is
outside."""

MIN_FILLED = 0.4
"""Lowest share of the square that is not letterbox or unexposed film; real films fill 0.46 and more."""

MIN_BORDER, OPPOSITE_BORDER = 0.04, 0.15
"""Share of the picture from which a strip of one grey is a border: on three sides, or on two opposite ones."""

_ONE_GREY = 0.06
"""How far the pixels of a border may lie from its grey level."""


def framing_fault(square: np.ndarray) -> str:
    """Look for the border of a photographed film, and for a picture that was stretched.

    Args:
        square: float in [0, 1], shape (S, S), bright is dense, letterboxed in black.

    Returns:
        `BORDERED`, `STRETCHED` or "".
    """
    lit = square > BLACK
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if rows.size == 0:
        return ""
    content = square[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = content.shape
    if not MIN_ASPECT <= width / height <= MAX_ASPECT:
        return STRETCHED
    sides = [_border(side) for side in (content, content[::-1], content.T, content.T[::-1])]
    on_three = sum(share >= MIN_BORDER for share, _ in sides) >= 3
    if height * width < MIN_FILLED * square.size or on_three or _are_opposite(*sides[:2]) or _are_opposite(*sides[2:]):
        return BORDERED
    return ""


def _border(lines: np.ndarray) -> tuple[float, float]:
    """The share of lines, from the first on, that have one grey above black, and this grey level."""
    level, count = float(np.median(lines[0])), 0
    if level <= 5 * BLACK:
        return 0.0, level
    while count < len(lines) and _has_grey(lines[count], level):
        count += 1
    return count / len(lines), level


def _has_grey(line: np.ndarray, level: float) -> bool:
    low, middle, high = np.percentile(line, (5, 50, 95))
    return bool(high - low <= 2 * _ONE_GREY and abs(middle - level) <= _ONE_GREY)


def _are_opposite(first: tuple[float, float], second: tuple[float, float]) -> bool:
    return min(first[0], second[0]) >= OPPOSITE_BORDER and abs(first[1] - second[1]) <= _ONE_GREY
