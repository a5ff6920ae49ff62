"""MONAI dictionary transform over the registration."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.preparation.registration.register import Registration
from biomedjourney_monai.preparation.registration.recipe import PairRegistrar
from biomedjourney_monai.preparation.registration.sitk_transform import (
    rebuild_transform,
    record_transform,
    undo_linear,
)

_ARRAYS = ("image", "valid", "transform")


class RegisterToPriord(MapTransform, InvertibleTransform):
    """Register the new image onto the prior image.

    Reads two images of float in [0, 1], shape (1, S, S), as `LoadRadiographd` makes them; their letterboxes are taken
    from `content` in the meta data, or all is content. Replaces the new image by the registered one, on the prior's
    grid, and adds a bool mask of its content, shape (1, S, S). The score, the motion and the transform are in the new
    image's meta data under `registration`, as plain numbers; see `registration_of`.

    The motion is traced: the inverse brings the registered image, or whatever was made on the prior's grid, back into
    the new image's own frame, black where it had left the prior's frame, and takes the mask away.

    Args:
        prior_key: entry of the fixed image.
        new_key: entry of the moving image.
        valid_key: entry for the mask.
        transform: "similarity", "rigid" or "affine"; "none" leaves the new image where it is; "deformable" erases
            disease, and has no inverse.
        toolkit: "simpleitk" or "elastix".
        check_mirrored: also measure how well the new image fits mirrored, in twice the time.
        accept_erased_disease: must be True for "deformable".
        seed: of the metric's samples.
        allow_missing_keys: pass over a row without one of the two images.

    Raises:
        ConfigError: for "deformable" without `accept_erased_disease`.
        ImageError: if the shapes differ or are not square, or nothing overlaps.
    """

    def __init__(
        self,
        prior_key: str = "prior_image",
        new_key: str = "new_image",
        valid_key: str = "valid_mask",
        *,
        transform: str = "similarity",
        toolkit: str = "simpleitk",
        check_mirrored: bool = False,
        accept_erased_disease: bool = False,
        seed: int = 1,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__((prior_key, new_key), allow_missing_keys)
        self.prior_key, self.new_key, self.valid_key = prior_key, new_key, valid_key
        self.register = PairRegistrar(transform, toolkit, check_mirrored, accept_erased_disease, seed)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        if len(list(self.key_iterator(dict(data)))) < 2:
            return dict(data)
        prior, new = data[self.prior_key], data[self.new_key]
        result = self.register(_array(prior), _array(new), _content(prior), _content(new))
        measures = {part.name: getattr(result, part.name) for part in fields(result) if part.name not in _ARRAYS}
        meta = dict(getattr(new, "meta", {}))
        content = meta.pop("content", None)  # of the image before it moved; the mask replaces it
        meta["registration"] = {**measures, "transform": record_transform(result.transform)}
        moved = MetaTensor(torch.from_numpy(result.image[None]), meta=meta)
        self.push_transform(moved, extra_info={"content": content})
        return {**data, self.new_key: moved, self.valid_key: torch.from_numpy(result.valid[None])}

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        restored = dict(data)
        moved = restored[self.new_key]
        content = self.pop_transform(moved)[TraceKeys.EXTRA_INFO]["content"]
        meta = dict(moved.meta)
        image = undo_linear(_array(moved), rebuild_transform(meta.pop("registration")["transform"]))
        if content is not None:
            image, meta["content"] = image * np.asarray(content, bool)[0], content
        restored[self.new_key] = MetaTensor(torch.from_numpy(image[None]), meta=meta)
        restored.pop(self.valid_key, None)
        return restored


def registration_of(data: Mapping[Hashable, Any], *, new_key: str = "new_image", valid_key: str = "valid_mask"):
    """The `Registration` that `RegisterToPriord` left in a row.

    Raises:
        ImageError: if the row has not been registered.
    """
    measures = dict(getattr(data.get(new_key), "meta", {}).get("registration") or {})
    if not measures or valid_key not in data:
        raise ImageError("a row must have been registered", action="Compose RegisterToPriord")
    found = rebuild_transform(measures.pop("transform"))
    valid = np.asarray(data[valid_key], bool)[0]
    return Registration(image=_array(data[new_key]), valid=valid, transform=found, **measures)


def _array(image: Any) -> np.ndarray:
    return np.asarray(image, dtype=np.float32)[0]  # (S, S)


def _content(image: Any) -> np.ndarray:
    content = getattr(image, "meta", {}).get("content")
    return np.ones(_array(image).shape, bool) if content is None else np.asarray(content, dtype=bool)[0]
