"""MONAI dictionary transforms: load and scale, check the view."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.loading import load_unscaled, load_with_content
from biomedjourney_monai.radiographs.read.pixels import original_size
from biomedjourney_monai.radiographs.scaling import intensity_limits, scale_intensity
from biomedjourney_monai.radiographs.views.check import MAX_FAULT, check_view


class LoadRadiographd(MapTransform):
    """Load JPEG, PNG, NIfTI or DICOM radiographs as MONAI tensors, for training and inference.

    Each value is a path; it becomes a `MetaTensor` of float32 in [0, 1], shape (1, size, size), bright = dense, with
    `filename_or_obj`, `original_size` (height, width) and `content` (bool, shape (1, size, size)) in its metadata.

    Args:
        size: side of the square in pixels.
        normalize: False keeps the file's own intensity scale, for a later `NormalizeRadiographd` or a local step.
        any_body_part: also read DICOM files that name another part of the body, for a later `CheckPriord`.
        allow_missing_keys: skip absent entries.

    Raises:
        ImageError: as `load_radiograph`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        size: int = 128,
        normalize: bool = True,
        any_body_part: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.size, self.normalize, self.any_body_part = size, normalize, any_body_part

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        loaded = dict(data)
        load = load_with_content if self.normalize else load_unscaled
        for key in self.key_iterator(loaded):
            path: str | Path = loaded[key]
            image, content = load(path, size=self.size, any_body_part=self.any_body_part)
            meta = {
                "filename_or_obj": str(path),
                "original_size": np.array(original_size(path, any_body_part=self.any_body_part)),
                "content": torch.from_numpy(content[None]),
            }
            loaded[key] = MetaTensor(torch.from_numpy(image[None]), meta=meta)  # (1, size, size)
        return loaded


class NormalizeRadiographd(MapTransform, InvertibleTransform):
    """Scale the content's 1st and 99th percentiles to 0 and 1, clip, and black out the letterbox.

    `LoadRadiographd(normalize=False)` followed by this equals `LoadRadiographd`. The limits are traced, so the inverse
    restores the file's scale; what was clipped stays at the limits, and the letterbox is 0.

    Args:
        keys: images of shape (1, H, W), with the mask `content` in their metadata; without it all is content.
        allow_missing_keys: skip absent entries.

    Raises:
        ImageError: if the content is constant.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        scaled = dict(data)
        for key in self.key_iterator(scaled):
            image, content = array_of(scaled[key]), content_of(scaled[key])
            low, high = intensity_limits(image, content)
            tensor = MetaTensor(torch.from_numpy(scale_intensity(image, content)[None]), meta=_meta(scaled[key]))
            self.push_transform(tensor, extra_info={"low": float(low), "high": float(high)})
            scaled[key] = tensor
        return scaled

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        restored = dict(data)
        for key in self.key_iterator(restored):
            limits = self.pop_transform(restored[key])[TraceKeys.EXTRA_INFO]
            scaled = array_of(restored[key]) * (limits["high"] - limits["low"]) + limits["low"]
            original = np.where(content_of(restored[key]), scaled, 0).astype(np.float32)
            restored[key] = MetaTensor(torch.from_numpy(original[None]), meta=_meta(restored[key]))
        return restored


class FilterViewd(MapTransform):
    """Check from the pixels that radiographs are upright frontal chest films; see `check_view`.

    Adds `KEY_view` ("" or the reason for refusal), `KEY_view_doubt` and `KEY_view_probability` for each key. The images
    are not changed: nothing is rotated, inverted or mirrored.

    Args:
        keys: images of float in [0, 1], shape (1, H, W), bright is dense.
        refuse: raise for an image that does not pass; False only reports it in the added entries.
        mirror: also look for mirrored chests; see `check_view` for its errors.
        max_fault: as in `check_view`.
        allow_missing_keys: skip absent entries.

    Raises:
        ImageError: if `refuse` is on and an image does not pass; `reason` is "view check: …".
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        refuse: bool = True,
        mirror: bool = False,
        max_fault: float = MAX_FAULT,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.refuse, self.mirror, self.max_fault = refuse, mirror, max_fault

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        checked = dict(data)
        for key in self.key_iterator(checked):
            view = check_view(array_of(checked[key]), mirror=self.mirror, max_fault=self.max_fault)
            if view.reason and self.refuse:
                raise ImageError(
                    "a radiograph must be an upright frontal chest",
                    found=view.reason.replace("_", " "),
                    action="Leave it out, or pass refuse=False",
                    reason=f"view check: {view.reason}",
                )
            found = {"": view.reason, "_doubt": view.doubt, "_probability": view.probability}
            checked |= {f"{key}_view{name}": value for name, value in found.items()}
        return checked


def array_of(image: torch.Tensor | np.ndarray) -> np.ndarray:
    """The pixels of an image of shape (1, H, W), float32, shape (H, W)."""
    return np.asarray(image, np.float32)[0]


def _meta(image: torch.Tensor | np.ndarray) -> dict[str, Any]:
    return dict(getattr(image, "meta", {}))


def content_of(image: torch.Tensor | np.ndarray) -> np.ndarray:
    """The content mask in an image's meta data, bool, shape (H, W); without one, everything is content."""
    content = _meta(image).get("content")
    return np.ones(array_of(image).shape, bool) if content is None else np.asarray(content, bool)[0]
