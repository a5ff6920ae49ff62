"""The registration as a MONAI dictionary transform."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.preparation.registration.register import PairRegistrar, Registration, register
from biomedjourney_monai.preparation.registration.sitk_transform import rebuild_transform, record_transform, undo_linear
from biomedjourney_monai.radiographs.transforms import array_of, content_of


class RegisterToPriord(MapTransform, InvertibleTransform):
    """Register the new image onto the prior image.

    Reads two images of float in [0, 1], shape (1, S, S), as `LoadRadiographd` makes them, with their content masks in
    the meta data under `content` (without it, everything is content). Replaces the new image by the registered one,
    on the prior's grid, and adds a bool mask of its content, shape (1, S, S). Score, motion and transform are in the
    new image's meta data under `registration`, as plain numbers; see `registration_of`.

    The motion is traced: the inverse brings an image on the prior's grid back into the new image's own frame, black
    where it had left the prior's frame, and removes the mask.

    Args:
        prior_key: entry of the fixed image.
        new_key: entry of the moving image.
        valid_key: entry for the mask.
        transform, toolkit, check_mirrored, accept_erased_disease, seed: as for `PairRegistrar`; a deformable transform
            has no inverse.
        allow_missing_keys: leave a row unchanged if it lacks one of the two images.

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
        result = register(array_of(prior), array_of(new), content_of(prior), content_of(new), **vars(self.register))
        meta = dict(getattr(new, "meta", {}))
        content = meta.pop("content", None)  # of the image before it moved; the mask replaces it
        meta["registration"] = {**result.measures, "transform": record_transform(result.transform)}
        moved = MetaTensor(torch.from_numpy(result.image[None]), meta=meta)
        self.push_transform(moved, extra_info={"content": content})
        return {**data, self.new_key: moved, self.valid_key: torch.from_numpy(result.valid[None])}

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        restored = dict(data)
        moved = restored[self.new_key]
        content = self.pop_transform(moved)[TraceKeys.EXTRA_INFO]["content"]
        meta = dict(moved.meta)
        image = undo_linear(array_of(moved), rebuild_transform(meta.pop("registration")["transform"]))
        if content is not None:
            image, meta["content"] = image * np.asarray(content, bool)[0], content
        restored[self.new_key] = MetaTensor(torch.from_numpy(image[None]), meta=meta)
        restored.pop(self.valid_key, None)
        return restored


def registration_of(data: Mapping[str, Any]) -> Registration:
    """Return the `Registration` that `RegisterToPriord` stored in a row under its default keys.

    Raises:
        ImageError: if the row has not been registered.
    """
    measures = dict(getattr(data.get("new_image"), "meta", {}).get("registration") or {})
    if not measures or "valid_mask" not in data:
        raise ImageError("a row must have been registered", action="Compose RegisterToPriord")
    found = rebuild_transform(measures.pop("transform"))
    valid = np.asarray(data["valid_mask"], bool)[0]
    return Registration(image=array_of(data["new_image"]), valid=valid, transform=found, **measures)
