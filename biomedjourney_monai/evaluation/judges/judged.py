"""One system's images of a batch of journeys with the judges' scores, and the interface of what scores them further."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from biomedjourney_monai.evaluation.judges.scores import Judges, JudgeScores, on_grid

Row = Mapping[str, Any]
"""A row of pairs.parquet."""


@dataclass(frozen=True)
class Judged:
    """One system's images of B journeys, float32 (B, 1, H, W) in [0, 1], and the judges' scores of them.

    `good`, bool (B,), is False where an image could not be read or judged; it is black then.
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
    """B journeys and the images that every system's image is compared with.

    Attributes:
        rows: of pairs.parquet.
        prior: the prior images.
        reference: the real next images.
        judges: for further images that must be judged.
        valid: bool, shape (B, 1, H, W): where the registered reference has content; None for everywhere.
    """

    rows: Sequence[Row]
    prior: Judged
    reference: Judged
    judges: Judges
    valid: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the prior images."""
        height, width = self.prior.images.shape[-2:]
        return height, width


class Scorer:
    """Adds columns to the scores of each image.

    Attributes:
        columns: their names, each a metric and, after a space, its part.
    """

    columns: Sequence[str] = ()

    def begin(self, batch: Batch) -> None:
        """Prepare what is the same for all systems of the batch."""

    def measure(self, judged: Judged, batch: Batch) -> np.ndarray:
        """Score a system's images, float64, shape (B, len(columns)); NaN where a number cannot be computed."""
        raise NotImplementedError
