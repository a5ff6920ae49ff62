"""MONAI dictionary transforms over the one load-and-scale path and the view check."""

from __future__ import annotations

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
from biomedjourney_monai.radiographs.loading import load_unscaled, load_with_content, original_size
from biomedjourney_monai.radiographs.scaling import intensity_limits, scale_intensity
from biomedjourney_monai.radiographs.views.check import MIN_CORRELATION, check_view


class LoadRadiographd(MapTransform):
    """Load JPEG, PNG, NIfTI or DICOM radiographs as MONAI tensors, as training and inference both need them.

    Each value is a path; it becomes a `MetaTensor` of float32 in [0, 1], shape (1, size, size), bright = dense, with
    `filename_or_obj`, `original_size` (height, width) and `content` (bool, shape (1, size, size)) in its meta data.

    Args:
        keys: the entries to load.
        size: side of the square in pixels.
        normalize: False leaves the file's own intensity scale, for `NormalizeRadiographd` or a step of a site's own
            to follow.
        allow_missing_keys: pass over absent entries.

    Raises:
        ImageError: as `load_radiograph`.
    """

    def __init__(
        self, keys: KeysCollection, *, size: int = 128, normalize: bool = True, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.size, self.normalize = size, normalize

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        loaded = dict(data)
        for key in self.key_iterator(loaded):
            loaded[key] = self._load(loaded[key])
        return loaded

    def _load(self, path: str | Path) -> MetaTensor:
        load = load_with_content if self.normalize else load_unscaled
        image, content = load(path, size=self.size)
        meta = {
            "filename_or_obj": str(path),
            "original_size": np.array(original_size(path)),
            "content": torch.from_numpy(content[None]),
        }
        return MetaTensor(torch.from_numpy(image[None]), meta=meta)  # (1, size, size)


class NormalizeRadiographd(MapTransform, InvertibleTransform):
    """Bring the content's 1st and 99th percentiles to 0 and 1, clip, and black out the letterbox.

    `LoadRadiographd(normalize=False)` and then this gives the bytes of `LoadRadiographd`. The limits are traced, so
    the inverse brings [0, 1] back to the file's scale; what was clipped stays at the limits, and the letterbox is 0.

    Args:
        keys: images of shape (1, H, W), with the mask `content` in their meta data, or all of them content.
        allow_missing_keys: pass over absent entries.

    Raises:
        ImageError: if the content is constant.
    """

    def __init__(self, keys: KeysCollection, *, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        scaled = dict(data)
        for key in self.key_iterator(scaled):
            image, content = _array(scaled[key]), _content(scaled[key])
            low, high = intensity_limits(image, content)
            tensor = MetaTensor(torch.from_numpy(scale_intensity(image, content)[None]), meta=_meta(scaled[key]))
            self.push_transform(tensor, extra_info={"low": float(low), "high": float(high)})
            scaled[key] = tensor
        return scaled

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        restored = dict(data)
        for key in self.key_iterator(restored):
            limits = self.pop_transform(restored[key])[TraceKeys.EXTRA_INFO]
            low, high = limits["low"], limits["high"]
            image, content = _array(restored[key]), _content(restored[key])
            original = np.where(content, image * (high - low) + low, 0).astype(np.float32)
            restored[key] = MetaTensor(torch.from_numpy(original[None]), meta=_meta(restored[key]))
        return restored


class FilterViewd(MapTransform):
    """Check by image that radiographs are upright frontal chests; see `check_view`.

    Adds `KEY_view` ("" or why not) and `KEY_view_correlation` for each key. The images stay as they are: nothing is
    turned, inverted or mirrored to make it fit.

    Args:
        keys: images of float in [0, 1], shape (1, H, W), bright is dense.
        refuse: raise for an image that does not pass; False only says so in the added entries.
        mirror: also look for mirrored chests, with its errors.
        min_correlation: as in `check_view`.
        allow_missing_keys: pass over absent entries.

    Raises:
        ImageError: if `refuse` is on and an image does not pass; `reason` is "view check: …".
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        refuse: bool = True,
        mirror: bool = False,
        min_correlation: float = MIN_CORRELATION,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.refuse, self.mirror, self.min_correlation = refuse, mirror, min_correlation

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        checked = dict(data)
        for key in self.key_iterator(checked):
            view = check_view(_array(checked[key]), mirror=self.mirror, min_correlation=self.min_correlation)
            if view.reason and self.refuse:
                raise ImageError(
                    "a radiograph must be an upright frontal chest",
                    found=view.reason.replace("_", " "),
                    action="Leave it out, or pass refuse=False",
                    reason=f"view check: {view.reason}",
                )
            checked[f"{key}_view"], checked[f"{key}_view_correlation"] = view.reason, view.correlation
        return checked


def _array(image: Any) -> np.ndarray:
    return np.asarray(image, np.float32)[0]  # (H, W)


def _meta(image: Any) -> dict[str, Any]:
    return dict(getattr(image, "meta", {}))


def _content(image: Any) -> np.ndarray:
    content = _meta(image).get("content")
    return np.ones(_array(image).shape, bool) if content is None else np.asarray(content, bool)[0]
