"""MONAI dictionary transform over the registration."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from biomedjourney_monai.preparation.registration import register


class RegisterToPriord(Transform):
    """Register the new image onto the prior image.

    Reads two images of float32 in [0, 1], shape (1, S, S), as `LoadRadiographd` makes them; their letterboxes are
    taken from `content` in the meta data, if it is there. Replaces the new image by the registered one, adds a bool
    mask of its content, shape (1, S, S), and puts the score and the motion into the new image's meta data under
    `registration`.

    Args:
        prior_key: entry of the fixed image.
        new_key: entry of the moving image.
        valid_key: entry for the mask.
        transform: "similarity", "rigid" or "affine".
        toolkit: "simpleitk" or "elastix".
    """

    def __init__(
        self,
        prior_key: str = "prior_image",
        new_key: str = "new_image",
        valid_key: str = "valid_mask",
        *,
        transform: str = "similarity",
        toolkit: str = "simpleitk",
    ) -> None:
        self.prior_key, self.new_key, self.valid_key = prior_key, new_key, valid_key
        self.transform, self.toolkit = transform, toolkit

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        prior, new = data[self.prior_key], data[self.new_key]
        result = register(
            _array(prior), _array(new), _content(prior), _content(new), transform=self.transform, toolkit=self.toolkit
        )
        names = ("gradient_correlation", "scale", "rotation_degrees", "shift_x_px", "shift_y_px", "overlap")
        meta = dict(getattr(new, "meta", {})) | {"registration": {name: getattr(result, name) for name in names}}
        meta.pop("content", None)  # of the image before it moved; the mask replaces it
        moved = MetaTensor(torch.from_numpy(result.image[None]), meta=meta)
        return {**data, self.new_key: moved, self.valid_key: torch.from_numpy(result.valid[None])}


def _array(image: Any) -> np.ndarray:
    return np.asarray(image, dtype=np.float32)[0]  # (S, S)


def _content(image: Any) -> np.ndarray | None:
    content = getattr(image, "meta", {}).get("content")
    return None if content is None else np.asarray(content, dtype=bool)[0]
