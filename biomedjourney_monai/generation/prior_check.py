"""Refuse unsuitable priors, each with a reason code.

The view check is sometimes wrong, and a chain of counterfactuals may be intended, so a refusal can be overruled. The
overruled reasons are returned, for the metadata of the counterfactual.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.read.dicom_header import OTHER_BODY_PART
from biomedjourney_monai.radiographs.read.marked_files import COUNTERFACTUAL, carries_mark
from biomedjourney_monai.radiographs.read.pixels import named_in_header
from biomedjourney_monai.radiographs.views.check import check_view
from biomedjourney_monai.radiographs.views.framing import BORDERED, STRETCHED, framing_fault

WRONG_RESOLUTION = "wrong_resolution"
REFUSALS = {
    COUNTERFACTUAL: (
        "a prior must be a radiograph, since a model's errors add up",
        "metadata of a picture that this package made",
        "Pass the image that it was made from",
    ),
    OTHER_BODY_PART: (
        "BodyPartExamined must be CHEST or blank",
        "another part of the body",
        "Pass a frontal chest radiograph",
    ),
    "lateral": ("a prior must be a frontal radiograph", "an apparently lateral one", "Pass the PA or AP image"),
    "not_a_chest": (
        "a prior must be a chest radiograph",
        "an image that does not look like one",
        "Pass a frontal chest radiograph",
    ),
    "mirrored": ("a prior must not be mirrored", "the heart apparently on the right", "Check its side marker"),
    "inverted": ("dense must be bright in a prior", "an apparently inverted image", "Invert it before"),
    "rotated": ("a prior must be upright", "an apparently rotated image", "Rotate it before"),
    BORDERED: (
        "a film must fill its picture",
        "a border around it, as on a photograph of a film",
        "Crop the picture to the film",
    ),
    STRETCHED: (
        "a prior must have its own proportions",
        "a picture too wide or too high for a chest",
        "Pass it unstretched, with one film in it",
    ),
    WRONG_RESOLUTION: (
        "images must be generated at the resolution that the weights were trained at",
        "another resolution, which duplicates ribs and organs",
        "Pass the configuration of these weights",
    ),
}
"""Reason code: the rule, what was found, what to do."""

DOUBTS = {
    "lateral": "a lateral radiograph",
    "not_a_chest": "no chest radiograph",
    "mirrored": "mirrored",
    "inverted": "inverted",
    "rotated": "rotated",
}
"""Doubt of the view check → what the prior may be."""

OVERRULE = "or overrule this check if you know better"
OVERRULED_KEY = "overruled"
"""The key of overruled reasons in the metadata of a prior and of its counterfactuals."""


def refuse(reason: str, *, found: str = "") -> ImageError:
    """The error for a reason code of `REFUSALS`."""
    rule, seen, action = REFUSALS[reason]
    return ImageError(rule, found=f"{found or seen} ({reason})", action=f"{action}, {OVERRULE}", reason=reason)


def check_prior(image: np.ndarray, *, is_marked: bool = False, other_body_part: str = "", force: bool = False) -> str:
    """Refuse a generated picture, another part of the body, and what is not an upright frontal chest film.

    The heart must be on the left, and the film must fill the picture with its own proportions.

    Args:
        image: float in [0, 1], shape (S, S), bright is dense.
        is_marked: `carries_mark` of its file; False for an image in memory.
        other_body_part: the part of the body that its header names; "" for the chest.
        force: overrule the check.

    Returns:
        "" for a usable prior; with `force` the overruled reasons, separated by commas, or "".

    Raises:
        ImageError: with a `reason` of `REFUSALS`, unless `force`.
    """
    looks = (framing_fault(image), check_view(image, mirror=True).reason)
    named = (COUNTERFACTUAL if is_marked else "", OTHER_BODY_PART if other_body_part else "", *looks)
    reasons = [reason for reason in named if reason]
    if reasons and not force:
        raise refuse(reasons[0], found=other_body_part if reasons[0] == OTHER_BODY_PART else "")
    return ", ".join(reasons)


def doubts_of_view(image: np.ndarray) -> tuple[str, ...]:
    """A sentence for the user if it is not certain that an image, shape (S, S), is an upright frontal chest film."""
    doubt = check_view(image).doubt
    return (f"The prior may be {DOUBTS[doubt]} ({doubt}). Look at it before you use the result.",) if doubt else ()


def check_resolution(size: int, trained_size: int | None, *, force: bool = False) -> str:
    """Refuse to generate images of another size, in pixels, than the weights were trained at (None if unknown).

    Returns:
        "", or with `force` the overruled reason.

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
    """`check_prior` on MONAI tensors of shape (1, S, S); overruled reasons become metadata.

    Args:
        keys: the priors, with their file as `filename_or_obj` in the metadata, or without one.
        force: overrule the check.
    """

    def __init__(self, keys: KeysCollection, *, force: bool = False) -> None:
        super().__init__(keys)
        self.force = force

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        for key in self.key_iterator(data):
            image, file = np.asarray(data[key], np.float32)[0], data[key].meta.get("filename_or_obj")
            is_marked, body_part = (carries_mark(file), named_in_header(file)[0]) if file else (False, "")
            data[key].meta[OVERRULED_KEY] = check_prior(
                image, is_marked=is_marked, other_body_part=body_part, force=self.force
            )
        return dict(data)


class DescribePriord(MapTransform):
    """Copy entries of a request, where it has them, into the metadata of its priors.

    Args:
        keys: the priors.
        sources: the entries.
    """

    def __init__(self, keys: KeysCollection, *, sources: tuple[str, ...] = ("description", "seed", "number")) -> None:
        super().__init__(keys)
        self.sources = sources

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        for key in self.key_iterator(data):
            data[key].meta |= {name: data[name] for name in self.sources if name in data}
        return dict(data)
