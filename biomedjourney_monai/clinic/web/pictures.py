"""The pictures that the web page shows: prior, counterfactual, difference, the judge's heat map, the samples' spread.

All have one size and, except for the prior, the synthetic mark. The prior is shown at the model's resolution, so that
the details that a small model loses are not mistaken for a change.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from biomedjourney_monai.radiographs import mark_synthetic, restore
from biomedjourney_monai.radiographs.pictures.html import colour_difference, colour_signed, picture_uri
from biomedjourney_monai.radiographs.pictures.maps import colour_map

SHOWN_SIDE = 768
"""Longer side of a shown picture, in pixels."""

SAMPLE_SIDE = 256
FULL_HEAT_PERCENTILE = 99.5
HEAT_SIGMA = 5.0
"""Smoothing of the heat map, in pixels of the model's image: single pixels are not meaningful."""


def shown_hw(original_hw: tuple[int, int], side: int = SHOWN_SIDE) -> tuple[int, int]:
    """Height and width of a shown picture, with the original's aspect ratio."""
    height, width = original_hw
    longer = max(height, width)
    return max(96, round(height * side / longer)), max(96, round(width * side / longer))


_picture_uri = functools.partial(picture_uri, optimize=False)  # the user is waiting


def show_prior(prior: np.ndarray, original_hw: tuple[int, int]) -> str:
    """The prior as the model sees it, as a data URI; `prior` is the square, shape (S, S), in [0, 1]."""
    return _picture_uri(mark_synthetic(restore(prior, shown_hw(original_hw)), text="PRIOR"))


def show_counterfactual(image: np.ndarray, original_hw: tuple[int, int], *, side: int = SHOWN_SIDE) -> str:
    """A generated square, marked, as a data URI."""
    return _picture_uri(mark_synthetic(restore(image, shown_hw(original_hw, side))))


def show_difference(image: np.ndarray, prior: np.ndarray, original_hw: tuple[int, int]) -> str:
    """What became denser, red, and less dense, blue, over the dimmed prior, as a data URI."""
    hw = shown_hw(original_hw)
    return _picture_uri(mark_synthetic(colour_difference(restore(image, hw), restore(prior, hw))))


def show_heat(values: np.ndarray, image: np.ndarray, original_hw: tuple[int, int]) -> str:
    """Where the judge's score rises, red, and falls, blue, over the dimmed counterfactual, as a data URI.

    `values` are the attributions of each pixel, shape (S, S), shown relative to the largest.
    """
    hw = shown_hw(original_hw)
    smooth = cv2.GaussianBlur(np.asarray(values, np.float32), (0, 0), HEAT_SIGMA)
    full = float(np.percentile(np.abs(smooth), FULL_HEAT_PERCENTILE))
    shown = cv2.resize(smooth, (image.shape[1], image.shape[0])) / max(full, 1e-12)
    return _picture_uri(mark_synthetic(colour_signed(restore(shown, hw), restore(image, hw), full=1.0)))


def show_spread(mean: np.ndarray, deviation: np.ndarray, original_hw: tuple[int, int], *, highest: float) -> str:
    """The samples' standard deviation, from black over red to white, over their mean, as a data URI."""
    hw = shown_hw(original_hw)
    picture = colour_map(restore(mean, hw), restore(deviation, hw), highest=highest)
    return _picture_uri(picture / np.float32(255))
