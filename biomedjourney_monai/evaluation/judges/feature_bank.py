"""Keeps a network's features of every image of every system, so that the images need not be kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from biomedjourney_monai.evaluation.judges.equal_groups import equal_groups
from biomedjourney_monai.evaluation.judges.judged import Batch, Judged, Scorer

Extractor = Callable[[Tensor], Tensor]
"""From images (B, 1, H, W) in [0, 1] to features (B, D)."""


class FeatureBank(Scorer):
    """A scorer without columns that gathers features, float32: about 1 kB for each image and system.

    Args:
        extract: the network; None for the judges' own features.
    """

    def __init__(self, extract: Extractor | None = None) -> None:
        self.extract = extract
        self._blocks: dict[str, list[np.ndarray]] = {}

    def measure(self, judged: Judged, batch: Batch) -> np.ndarray:
        """Keep the features; rows of NaN where there is no image or the network fails on it."""
        extract = self.extract or batch.judges.features
        self._blocks.setdefault(judged.system, []).append(extract_known(extract, judged.images, judged.good))
        return np.zeros((len(batch.rows), 0))

    def of(self, system: str) -> np.ndarray:
        """A system's features in the order of the journeys, shape (N, D)."""
        width = max(block.shape[1] for blocks in self._blocks.values() for block in blocks)
        blocks = self._blocks[system]
        return np.concatenate([block if block.shape[1] else np.full((len(block), width), np.nan) for block in blocks])


def extract_known(extract: Extractor, images: Tensor, good: np.ndarray) -> np.ndarray:
    """Features of the good images of a batch, float32, shape (B, D), NaN for the others; D is 0 if there is none."""
    places = np.flatnonzero(good)
    known = images[places]
    found: dict[int, np.ndarray] = {}
    for chosen, group in equal_groups(known):
        try:
            found |= zip(places[chosen], extract(group).numpy())  # padding of the group has no place
        except Exception:  # a third party's network: whatever it raises concerns one image
            for place in places[chosen]:
                try:
                    found[place] = extract(images[place][None]).numpy()[0]
                except Exception:
                    continue
    width = next((len(row) for row in found.values()), 0)
    rows = np.full((len(images), width), np.nan, np.float32)
    for place, row in found.items():
        rows[place] = row
    return torch.as_tensor(rows).numpy()
