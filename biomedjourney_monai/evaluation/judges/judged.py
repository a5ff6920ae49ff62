"""A batch of one system's images with what the judges say of them, and what may be measured on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor
from torch.nn.functional import interpolate

from biomedjourney_monai.evaluation.judges.loading import Judges, JudgeScores


@dataclass(frozen=True)
class Judged:
    """One system's images of B journeys, and what the judges say of them.

    Attributes:
        system: the system's name.
        images: float32, shape (B, 1, H, W), in [0, 1]; black where there is none.
        scores: of the judges.
        good: bool, shape (B,): whether the image could be read and judged.
    """

    system: str
    images: Tensor
    scores: JudgeScores
    good: np.ndarray

    def images_on(self, shape: Sequence[int]) -> Tensor:
        """The images on another grid, shape (B, 1, *shape)."""
        return on_grid(self.images, shape)

    def structures_on(self, shape: Sequence[int]) -> Tensor:
        """The judges' masks on another grid, bool, shape (B, 6, *shape)."""
        masks = self.scores.structures
        return masks if tuple(masks.shape[-2:]) == tuple(shape) else on_grid(masks.float(), shape) > 0.5


@dataclass(frozen=True)
class Batch:
    """B journeys and what every system's image is compared with.

    Attributes:
        rows: of pairs.parquet.
        prior: the prior images.
        reference: the real next images.
        judges: the judges, for what has to be judged besides.
    """

    rows: list[dict[str, Any]]
    prior: Judged
    reference: Judged
    judges: Judges

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the prior images."""
        return tuple(self.prior.images.shape[-2:])


class Measure(Protocol):
    """Something that is measured on each image beside the judges' own scores.

    Attributes:
        columns: names of the numbers, each a metric and, after a space, its part.
    """

    columns: Sequence[str]

    def begin(self, batch: Batch) -> None:
        """Prepare what is the same for all systems of the batch."""

    def measure(self, judged: Judged, batch: Batch) -> np.ndarray:
        """Measure a system's images, float64, shape (B, len(columns)); NaN where a number cannot be computed."""


def on_grid(images: Tensor, shape: Sequence[int]) -> Tensor:
    """Resample (B, C, H, W) to another height and width; as it is if it has them."""
    if tuple(images.shape[-2:]) == tuple(shape):
        return images
    return interpolate(images, size=tuple(shape), mode="bilinear", antialias=True, align_corners=False)
