"""A MONAI dictionary transform from a generated square back to a marked picture of the prior's size."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from biomedjourney_monai.radiographs.marking import mark_synthetic
from biomedjourney_monai.radiographs.scaling import restore


class RestoreAndMarkd(MapTransform):
    """Undo the letterbox, so that the picture has the prior's own size, and burn in the label.

    Args:
        keys: generated squares, tensors of shape (1, S, S) in [0, 1].
        reference: the key of the prior, whose meta data holds `original_size`.
    """

    def __init__(self, keys: KeysCollection, *, reference: str = "image") -> None:
        super().__init__(keys)
        self.reference = reference

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        changed = dict(data)
        meta = changed[self.reference].meta
        height, width = (int(side) for side in np.asarray(meta["original_size"]).ravel())
        for key in self.key_iterator(changed):
            square = np.asarray(changed[key], np.float32)[0]
            picture = mark_synthetic(restore(square, (height, width)))
            changed[key] = MetaTensor(torch.from_numpy(picture[None]), meta=dict(meta))  # (1, height, width)
        return changed
