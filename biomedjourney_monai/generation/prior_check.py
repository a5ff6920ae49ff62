"""Which priors a model must not be asked about, each with a reason code.

The view check errs now and then, and a chain of counterfactuals may be meant, so a refusal can be overruled; what was
overruled is handed back, to be written into the metadata of what is made.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.read.marked_files import COUNTERFACTUAL, carries_mark
from biomedjourney_monai.radiographs.views.check import check_view

LATERAL, NOT_A_CHEST, MIRRORED = "lateral", "not_a_chest", "mirrored"
INVERTED, ROTATED, WRONG_RESOLUTION = "inverted", "rotated", "wrong_resolution"

REFUSALS = {
    COUNTERFACTUAL: (
        "a prior must be a radiograph, since a model's errors add up",
        "a picture that this package made, by its metadata",
        "Pass the image that it was made from",
    ),
    LATERAL: ("a prior must be a frontal radiograph", "a lateral one, as it seems", "Pass the PA or AP image"),
    NOT_A_CHEST: ("a prior must be a chest radiograph", "none, as it seems", "Pass a frontal chest radiograph"),
    MIRRORED: ("a prior must not be mirrored", "the heart on the wrong side, as it seems", "Look at its side marker"),
    INVERTED: ("dense must be bright in a prior", "an inverted image, as it seems", "Invert it before"),
    ROTATED: ("a prior must be upright", "a turned image, as it seems", "Turn it before"),
    WRONG_RESOLUTION: (
        "images must be made at the resolution that the weights were trained at",
        "another, which duplicates ribs and organs",
        "Pass the configuration of these weights",
    ),
}
"""Reason code: the rule, what was found, what to do."""

OVERRULE = "or overrule this check if you know better"
OVERRULED_KEY = "overruled"
"""Where a prior's meta data, and the metadata of what is made from it, name what was overruled."""


def refuse(reason: str, *, found: str = "") -> ImageError:
    """The error for a reason code of `REFUSALS`."""
    rule, seen, action = REFUSALS[reason]
    return ImageError(rule, found=f"{found or seen} ({reason})", action=f"{action}, {OVERRULE}", reason=reason)


def check_prior(image: np.ndarray, *, is_marked: bool = False, force: bool = False) -> str:
    """Refuse what this package made, and what is not an upright frontal chest with the heart on its own side.

    Args:
        image: float in [0, 1], shape (S, S), bright is dense.
        is_marked: `carries_mark` of its file; an image in memory, as between the rungs of a chain, has none.
        force: overrule the check.

    Returns:
        "" for a usable prior; with `force` the reasons that were overruled, with commas between, or "".

    Raises:
        ImageError: with a `reason` of `REFUSALS`, unless `force`.
    """
    view = check_view(image, mirror=True).reason
    reasons = [reason for reason in (COUNTERFACTUAL if is_marked else "", view) if reason]
    if reasons and not force:
        raise refuse(reasons[0])
    return ", ".join(reasons)


def check_resolution(size: int, trained_size: int | None, *, force: bool = False) -> str:
    """Refuse to make images of another size than the weights were trained at.

    Args:
        size: side of the square to be made, in pixels.
        trained_size: side in training; None where the weights do not say.
        force: overrule.

    Returns:
        "" or the reason that was overruled.

    Raises:
        ImageError: with reason "wrong_resolution", unless `force`.

    Source: Gu et al. 2023: 256 pixels in training and 512 in sampling gave duplicated ribs.
    """
    if trained_size is None or size == trained_size:
        return ""
    if not force:
        raise refuse(WRONG_RESOLUTION, found=f"{size} instead of {trained_size} pixels")
    return WRONG_RESOLUTION


class CheckPriord(MapTransform):
    """`check_prior` on MONAI tensors of shape (1, S, S); what was overruled goes into the meta data.

    Args:
        keys: the priors, with their file as `filename_or_obj` in the meta data, or without one.
        force: overrule the check.
    """

    def __init__(self, keys: KeysCollection, *, force: bool = False) -> None:
        super().__init__(keys)
        self.force = force

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        for key in self.key_iterator(data):
            image, file = np.asarray(data[key], np.float32)[0], data[key].meta.get("filename_or_obj")
            is_marked = bool(file) and carries_mark(file)
            data[key].meta[OVERRULED_KEY] = check_prior(image, is_marked=is_marked, force=self.force)
        return dict(data)


class DescribePriord(MapTransform):
    """Let each prior carry in its meta data what a request says of it.

    Args:
        keys: the priors.
        sources: the entries to carry, where the request has them.
    """

    def __init__(self, keys: KeysCollection, *, sources: tuple[str, ...] = ("description", "seed", "number")) -> None:
        super().__init__(keys)
        self.sources = sources

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        for key in self.key_iterator(data):
            data[key].meta |= {name: data[name] for name in self.sources if name in data}
        return dict(data)
