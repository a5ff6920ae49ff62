"""Detail transfer: add the model's change to the film, and keep every pixel of the film that did not change.

The model works on a small square. Enlarging its picture would blur a film of thousands of pixels and garble its letters
and wires, so only the *change* is enlarged and added. Where the change hides or moves structure, the film's fine
structure fades with it; where nothing changed, the film's own values are returned, bit for bit.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from biomedjourney_monai.errors import SettingError
from biomedjourney_monai.radiographs.scaling import content_box

TRANSFER, NONE = "transfer", "none"
DETAILS = (TRANSFER, NONE)

THRESHOLD = 0.01
"""Mean absolute change, in the model's grey scale of 0 to 1, up to which a pixel counts as unchanged."""

FULL = 0.02
"""Mean absolute change from which all of it is shown."""

PEAK = 0.1
"""A part of the picture that changed nowhere by more than this is left as it was: of 40 rendered validation journeys,
the weakest true change reaches 0.12, and what the model redraws without being asked mostly stays below 0.09."""

WINDOW = 5
"""Side of the window, in pixels of the model, over which changes and fine structure are compared."""

FINE_SIGMA, FINE_FLOOR = 1.2, 5e-4
"""Fine structure is what a Gaussian of this width removes; variance below the floor is noise. Both were chosen on
rendered truth, where the share computed with them is the share that is left (`scripts/benchmarks/detail.py`)."""

BORDER = 3
"""Pixels of the model over which a change fades towards the border and the collimator's edge."""

DARK = 0.02
"""Grey value up to which an area at the border lies outside the collimated field."""

OBJECT_SIDE, OBJECT_HEIGHT = 9, 0.3
"""Markers and metal are narrower than this, in pixels of a model of 128, and brighter than what surrounds them."""


@dataclass(frozen=True)
class Change:
    """What a counterfactual changes, on the model's pixels that the film covers.

    Attributes:
        amount: in the model's grey scale, float32, shape (h, w); 0 where nothing changed.
        kept: share of the film's fine structure that still shows, float32 in [0, 1], shape (h, w).
    """

    amount: np.ndarray
    kept: np.ndarray


def check_detail(detail: str) -> str:
    """Raise a SettingError for another value than those of `DETAILS`."""
    if detail not in DETAILS:
        raise SettingError("detail", f"must be {' or '.join(DETAILS)}", found=repr(detail)[:20])
    return detail


def find_change(square: np.ndarray, prior: np.ndarray, film_hw: tuple[int, int]) -> Change:
    """Find what changed, without what the model redraws by the way: borders, side markers, small differences.

    Args:
        square: the counterfactual, float32 in [0, 1], shape (S, S).
        prior: the prior as the model saw it, same shape and range.
        film_hw: height and width of the film.
    """
    top, left, rows, columns = content_box(*film_hw, size=len(prior))
    before, after = (picture[top : top + rows, left : left + columns] for picture in (prior, square))
    amount = _without_objects(after - before, before, after, scale=len(prior) / 128) * _inside_field(before)
    for is_padded, lines in ((rows < len(prior), amount), (columns < len(prior), amount.T)):
        if is_padded:
            _hold_at_padding(lines, len(prior) // 16)  # one row of latents, in which the padding echoes
    size = _with_peak(_average(np.abs(amount)))
    weight = np.clip((size - THRESHOLD) / (FULL - THRESHOLD), 0, 1)
    amount = amount * weight * weight * (3 - 2 * weight)
    return Change(amount, _share_kept(before + amount, before))


def transfer_detail(film: np.ndarray, change: Change, *, scale: float = 1.0) -> np.ndarray:
    """Apply a change to a film.

    Args:
        film: float32 in [0, 1], shape (H, W).
        change: of `find_change`.
        scale: grey levels of the film in one of the model's scale.

    Returns:
        float32 in [0, 1], shape (H, W); exactly the film's values where nothing changed.
    """
    if not change.amount.any():
        return film
    height, width = film.shape
    added = enlarge_change(change, (height, width), scale=scale)
    added -= cv2.resize(_hidden(film, change), (width, height), interpolation=cv2.INTER_CUBIC)
    added += film
    np.clip(added, 0, 1, out=added)
    # the cubic's tails stay inside the model's changed pixels; the change is almost 0 at their border
    changed = cv2.resize((change.amount != 0).view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    np.copyto(added, film, where=changed == 0)
    return added


def enlarge_change(change: Change, film_hw: tuple[int, int], *, scale: float = 1.0) -> np.ndarray:
    """The change at the film's size, smooth, float32, shape (H, W); positive is denser."""
    enlarged: np.ndarray = cv2.resize(change.amount, film_hw[::-1], interpolation=cv2.INTER_CUBIC)
    enlarged *= np.float32(scale)
    return enlarged


def _with_peak(size: np.ndarray) -> np.ndarray:
    """The size of a change, 0 in connected parts above `THRESHOLD` that nowhere reach `PEAK`."""
    _, parts = cv2.connectedComponents((size > THRESHOLD).astype(np.uint8), connectivity=8)
    return np.where(np.isin(parts, parts[size >= PEAK]), size, 0)


def _hidden(film: np.ndarray, change: Change) -> np.ndarray:
    """The film's fine structure that a change hides, at up to four times the model's size.

    On rendered truth structure at half the model's finest scale fades as that scale does, and at a quarter by the
    square root of it; grain stays.
    """
    rows, columns = change.amount.shape
    coarse, kept = cv2.resize(film, (columns, rows), interpolation=cv2.INTER_AREA), change.kept
    hidden: np.ndarray = np.zeros((rows, columns), np.float32)
    for times, share in ((2, kept), (4, np.sqrt(kept))):
        shape = min(film.shape[0], times * rows), min(film.shape[1], times * columns)
        fine = cv2.resize(film, shape[::-1], interpolation=cv2.INTER_AREA)
        lost = 1 - np.clip(cv2.resize(share, shape[::-1], interpolation=cv2.INTER_LINEAR), 0, 1)
        band = (fine - cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)) * lost
        hidden = band + cv2.resize(hidden, shape[::-1], interpolation=cv2.INTER_CUBIC)
        coarse = fine
    return hidden


def _share_kept(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The regression slope of the counterfactual's fine structure on the prior's, in a window around each pixel."""
    new, old = (picture - _blur(picture, FINE_SIGMA) for picture in (after, before))
    return np.clip((_average(new * old) + FINE_FLOOR) / (_average(old * old) + FINE_FLOOR), 0, 1)


def _inside_field(prior: np.ndarray) -> np.ndarray:
    """1 inside the collimated field, 0 at its edge and outside, so that no halo is drawn along the edge."""
    dark = cv2.copyMakeBorder((prior <= DARK).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, parts = cv2.connectedComponents(dark, connectivity=4)
    distance = cv2.distanceTransform((parts != parts[0, 0]).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    share = np.clip((distance - 1) / BORDER, 0, 1)
    return share * share * (3 - 2 * share)


def _hold_at_padding(amount: np.ndarray, depth: int) -> None:
    """In place, let the first and the last `depth` rows change no more than the row inside of them."""
    if len(amount) > 2 * depth:
        for strip, inner in ((amount[:depth], amount[depth]), (amount[-depth:], amount[-depth - 1])):
            np.clip(strip, np.minimum(inner, 0), np.maximum(inner, 0), out=strip)


def _without_objects(change: np.ndarray, before: np.ndarray, after: np.ndarray, *, scale: float) -> np.ndarray:
    """Show no more change on markers and metal, which the model erases, moves or adds, than in their surroundings."""
    side = 2 * round(OBJECT_SIDE * scale / 2) + 1
    old, new, dark = (_bright_objects(picture, side) for picture in (before, after, 1 - before))
    parts, is_small = _parts(np.abs(change) > FULL, side)
    elsewhere = np.unique(parts[dark | (new & ~old)])  # a dark disc with a letter, a marker in another place
    objects = old | (np.isin(parts, elsewhere) & is_small[parts])
    if not objects.any():
        return change
    weight = 1 - cv2.dilate(objects.astype(np.float32), np.ones((3, 3), np.uint8))
    around = _blur(change * weight, side / 3) / np.maximum(_blur(weight, side / 3), 1e-3)
    around = np.where(np.abs(around) < np.abs(change), around, change)
    return weight * change + (1 - weight) * around


def _bright_objects(picture: np.ndarray, side: int) -> np.ndarray:
    """Where small bright objects are, bool; not the chest wall, which is as narrow but long."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    height = cv2.morphologyEx(picture, cv2.MORPH_TOPHAT, kernel)
    parts, is_small = _parts(height > OBJECT_HEIGHT / 2, side)
    high = np.isin(parts, np.unique(parts[height > OBJECT_HEIGHT]))
    return high & is_small[parts]


def _parts(mask: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The connected parts of a mask, numbered from 1, and whether each is at most twice `side` high and wide."""
    _, parts, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    is_small = np.maximum(boxes[:, cv2.CC_STAT_WIDTH], boxes[:, cv2.CC_STAT_HEIGHT]) <= 2 * side
    is_small[0] = False
    return parts, is_small


def _average(picture: np.ndarray) -> np.ndarray:
    return cv2.blur(picture, (WINDOW, WINDOW), borderType=cv2.BORDER_REPLICATE)


def _blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
