"""The last step of generation, on every path: a generated square becomes a picture of the prior's size, marked."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from biomedjourney_monai.generation.detail import NONE, TRANSFER, check_detail, enlarge_change, find_change
from biomedjourney_monai.generation.detail import transfer_detail as transfer
from biomedjourney_monai.generation.prior import Prior
from biomedjourney_monai.radiographs import mark_synthetic, restore
from biomedjourney_monai.radiographs.film import read_film


def finished_picture(square: np.ndarray, prior: Prior, *, detail: str = TRANSFER) -> np.ndarray:
    """A generated square at the prior's own size, marked as synthetic, float32 in [0, 1], shape (H, W).

    Raises:
        ImageError: if the prior is too small for the mark.
    """
    return mark_synthetic(full_size(square, prior, detail=detail))


def full_size(square: np.ndarray, prior: Prior, *, detail: str = TRANSFER) -> np.ndarray:
    """A generated square, shape (S, S), at the prior's own size, without the mark, float32 in [0, 1], shape (H, W).

    `detail` is one of `detail.DETAILS`; without the prior's own pixels the square is enlarged in any case.
    """
    film = prior.film if detail == TRANSFER else None
    if film is None:
        return restore(square, prior.original_hw)
    return transfer(film.grey(), find_change(square, prior.image, film.hw), scale=film.scale)


def full_size_prior(prior: Prior, *, detail: str = TRANSFER) -> np.ndarray:
    """The prior on the grey scale of `full_size`, float32 in [0, 1], shape (H, W)."""
    film = prior.film if detail == TRANSFER else None
    return restore(prior.image, prior.original_hw) if film is None else film.grey()


def full_size_difference(square: np.ndarray, prior: Prior, *, detail: str = TRANSFER) -> np.ndarray:
    """What a square changes, at the prior's own size, smooth, float32 in [-1, 1], shape (H, W); positive is denser."""
    film = prior.film if detail == TRANSFER else None
    if film is None:
        return restore(square, prior.original_hw) - restore(prior.image, prior.original_hw)
    return enlarge_change(find_change(square, prior.image, film.hw), film.hw, scale=film.scale)


class FinishPictured(MapTransform):
    """`finished_picture` on MONAI tensors: generated squares become marked pictures of the prior's own size.

    Args:
        keys: generated squares, tensors of shape (1, S, S) in [0, 1].
        reference: the key of the prior's square, whose metadata hold `original_size` and `filename_or_obj`; without
            the file the square is enlarged.
        detail: one of `detail.DETAILS`.

    Raises:
        SettingError: for another `detail`.
    """

    def __init__(self, keys: KeysCollection, *, reference: str = "image", detail: str = TRANSFER) -> None:
        super().__init__(keys)
        self.reference, self.detail = reference, check_detail(detail)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        changed = dict(data)
        square, meta = np.asarray(data[self.reference], np.float32)[0], dict(data[self.reference].meta)
        height, width = (int(side) for side in np.asarray(meta["original_size"]).ravel())
        file = meta.get("filename_or_obj")
        film = read_film(Path(str(file)), size=len(square)) if file and self.detail == TRANSFER else None
        prior = Prior(square, (height, width), pixels=film)
        for key in self.key_iterator(changed):
            made = np.asarray(changed[key], np.float32)[0]
            picture = finished_picture(made, prior, detail=self.detail if film is not None else NONE)
            changed[key] = MetaTensor(torch.from_numpy(picture[None]), meta=meta)  # (1, height, width)
        return changed
