"""MONAI dictionary transforms from a generated square back to a marked picture on disk."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from biomedjourney_monai.radiographs.marking import NOT_FOR_DIAGNOSIS, mark_synthetic
from biomedjourney_monai.radiographs.saving import save_png
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


class SaveCounterfactuald(MapTransform):
    """Write marked pictures as PNG, named after a running number, so that no file name tells of a patient.

    Args:
        keys: pictures of shape (1, H, W) in [0, 1].
        output_dir: folder to write to.
        metadata: text chunks for the file, beside the synthetic mark.
    """

    def __init__(
        self, keys: KeysCollection, *, output_dir: str | Path, metadata: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(keys)
        self.output_dir = Path(output_dir)
        self.metadata = {name: str(value) for name, value in (metadata or {}).items()}
        self.written = 0

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        for key in self.key_iterator(data):
            path = self.output_dir / f"counterfactual-{self.written:04d}.png"
            picture = np.asarray(data[key], np.float32)[0]
            save_png(path, picture, metadata={"Comment": NOT_FOR_DIAGNOSIS, **self.metadata, **_own_facts(data[key])})
            self.written += 1
        return dict(data)


def _own_facts(picture: Any) -> dict[str, str]:
    """What the prior's meta data say of this picture: its own description, and a refusal that was overruled."""
    meta = getattr(picture, "meta", {})
    names = {"description": "progression_description", "overruled": "overruled"}
    return {name: str(meta[key]) for key, name in names.items() if meta.get(key)}
