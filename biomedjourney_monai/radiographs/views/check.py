"""Check from the pixels, without a network, that an image is an upright frontal chest film.

The image is cropped to its content, resized to 64 px and ranked, so that exposure and window do not matter. It is then
compared with a mean frontal and a mean lateral chest, upright, rotated and inverted; the nearest decides. The means are
of rendered patients (scripts/benchmarks/view_check.py). PA and AP are not told apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import cv2
import numpy as np

from biomedjourney_monai.errors import ImageError

TEMPLATE_SIZE = 64
TEMPLATES_FILE = "templates.png"
"""Frontal and lateral side by side, (64, 128), 8-bit."""

MIN_CORRELATION = 0.2
"""Lowest correlation with the nearest template; real frontal radiographs reach 0.3 and more."""

MIN_MIRROR_MARGIN = 0.02
"""By how much the mirrored image must correlate better than the image itself."""

MIN_DETAIL = 0.37
"""Lowest correlation without shading of an upright frontal chest; real ones reach 0.42 and more."""

REASONS = ("lateral", "inverted", "rotated", "mirrored", "not_a_chest")

_BLACK = 0.02
_DETAIL_SIGMA, _MIRROR_SIGMA = 10.0, 6.0
_SHIFTS_X, _SHIFTS_Y, _SCALES = (-6, -3, 0, 3, 6), (-8, -4, 0, 4, 8), (0.85, 1.0, 1.15)


@dataclass(frozen=True)
class ViewCheck:
    """The result of a view check.

    Attributes:
        reason: "" for an upright frontal chest, otherwise one of `REASONS`.
        correlation: with the upright frontal template, in [-1, 1].
    """

    reason: str
    correlation: float


def check_view(image: np.ndarray, *, mirror: bool = False, min_correlation: float = MIN_CORRELATION) -> ViewCheck:
    """Compare an image with frontal and lateral chests.

    Args:
        image: float in [0, 1], shape (H, W), bright is dense; a black letterbox is cropped.
        mirror: also look for a mirrored chest. The error rate is in bundle/docs/how-to/cohort.md. One patient in ten
            thousand has the heart on the right, so a person must look at the image; nothing is corrected.
        min_correlation: an image below this with every template is not a chest.

    Raises:
        ImageError: if the image is not 2-D or not finite.
    """
    if image.ndim != 2 or image.size == 0:
        raise ImageError("a radiograph must be a 2-D image with pixels", found=f"shape {image.shape}")
    if not np.isfinite(image).all():
        raise ImageError("an image must hold finite numbers", found="NaN or infinite pixels")
    square = _to_template_size(image)
    ranks = rank(square)
    fits: dict[str, float] = {}
    for reason, template in _appearances():
        fits[reason] = max(fits.get(reason, -1.0), _correlate(ranks, template))
    correlation = fits[""]
    nearest = max(fits, key=lambda reason: (fits[reason], reason == ""))
    if fits[nearest] < min_correlation:
        nearest = "not_a_chest"
    elif nearest == "" and _fit_of_detail(square, sigma=_DETAIL_SIGMA) < MIN_DETAIL:
        nearest = "not_a_chest"  # dark above and bright below, but without lungs
    elif nearest == "" and mirror and _fits_mirrored(square):
        nearest = "mirrored"
    return ViewCheck(nearest, correlation)


def rank(square: np.ndarray) -> np.ndarray:
    """Replace each pixel by its rank, 0 to 1, equal ones by their mean rank: independent of the window."""
    _, place, counts = np.unique(square, return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(counts) - (counts + 1) / 2
    return (mean_ranks / max(1, square.size - 1)).astype(np.float32)[place].reshape(square.shape)


def make_template(images: Iterable[np.ndarray]) -> np.ndarray:
    """Average images as `check_view` sees them: float32 in [0, 1], shape (64, 64)."""
    return np.asarray(np.mean([rank(_to_template_size(image)) for image in images], axis=0, dtype=np.float32))


def crop_to_content(image: np.ndarray) -> np.ndarray:
    """Crop the black rows and columns at the edges: the letterbox and unexposed film."""
    lit = image > _BLACK
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if rows.size == 0:
        return image
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _to_template_size(image: np.ndarray) -> np.ndarray:
    cropped = np.ascontiguousarray(crop_to_content(image), np.float32)
    return cv2.resize(cropped, (TEMPLATE_SIZE, TEMPLATE_SIZE), interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=1)
def _templates() -> tuple[np.ndarray, np.ndarray]:
    data = resources.files("biomedjourney_monai.radiographs.views").joinpath(TEMPLATES_FILE).read_bytes()
    both = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert both is not None
    frontal, lateral = np.hsplit(both.astype(np.float32) / 255, 2)
    return frontal, lateral


@lru_cache(maxsize=1)
def _appearances() -> tuple[tuple[str, np.ndarray], ...]:
    """The templates, each with the reason to refuse an image like it."""
    frontal, lateral = _templates()
    looks = [("", frontal), ("inverted", 1 - frontal), ("lateral", lateral), ("lateral", lateral[:, ::-1])]
    looks += [("rotated", np.rot90(frontal, turns)) for turns in (1, 2, 3)]
    looks += [("lateral", np.rot90(side, turns)) for side in (lateral, lateral[:, ::-1]) for turns in (1, 2, 3)]
    return tuple(looks)


def _correlate(a: np.ndarray, b: np.ndarray) -> float:
    a, b = (a - a.mean()).ravel(), (b - b.mean()).ravel()
    return float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b) + 1e-12))


def _fits_mirrored(square: np.ndarray) -> bool:
    as_it_is, mirrored = (_fit_of_detail(side, sigma=_MIRROR_SIGMA) for side in (square, square[:, ::-1]))
    return mirrored - as_it_is > MIN_MIRROR_MARGIN


def _fit_of_detail(square: np.ndarray, *, sigma: float) -> float:
    """The correlation with the upright frontal template, both without shading wider than `sigma` px."""
    return _best_fit(_without_shading(square, sigma), _without_shading(_templates()[0], sigma))


def _without_shading(square: np.ndarray, sigma: float) -> np.ndarray:
    square = np.ascontiguousarray(square)
    return square - cv2.GaussianBlur(square, (0, 0), sigma)


def _best_fit(square: np.ndarray, template: np.ndarray) -> float:
    """The best correlation over small shifts and scales, since the position of the heart decides."""
    best, outside = -1.0, -9.0
    for scale in _SCALES:
        for shift_x in _SHIFTS_X:
            for shift_y in _SHIFTS_Y:
                middle = TEMPLATE_SIZE / 2 * (1 - scale)
                matrix = np.array([[scale, 0, middle + shift_x], [0, scale, middle + shift_y]], np.float32)
                moved = cv2.warpAffine(
                    square, matrix, square.shape, borderMode=cv2.BORDER_CONSTANT, borderValue=outside
                )
                inside = moved > outside / 2
                best = max(best, _correlate(moved[inside], template[inside]))
    return best
