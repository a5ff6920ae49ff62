"""MONAI dictionary transform over the one load-and-scale path."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from biomedjourney_monai.radiographs.loading import load_with_content, original_size


class LoadRadiographd(MapTransform):
    """Load JPEG, PNG, NIfTI or DICOM radiographs as MONAI tensors, as training and inference both need them.

    Each value is a path; it becomes a `MetaTensor` of float32 in [0, 1], shape (1, size, size), bright = dense, with
    `filename_or_obj`, `original_size` (height, width) and `content` (bool, shape (1, size, size)) in its meta data.

    Args:
        keys: the entries to load.
        size: side of the square in pixels.
        allow_missing_keys: pass over absent entries.

    Raises:
        ImageError: as `load_radiograph`.
    """

    def __init__(self, keys: KeysCollection, *, size: int = 128, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.size = size

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        loaded = dict(data)
        for key in self.key_iterator(loaded):
            loaded[key] = self._load(loaded[key])
        return loaded

    def _load(self, path: str | Path) -> MetaTensor:
        image, content = load_with_content(path, size=self.size)
        meta = {
            "filename_or_obj": str(path),
            "original_size": np.array(original_size(path)),
            "content": torch.from_numpy(content[None]),
        }
        return MetaTensor(torch.from_numpy(image[None]), meta=meta)  # (1, size, size)
