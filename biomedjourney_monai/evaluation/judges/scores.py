"""What judges are and what they return: one interface for the judges of rendered and of clinical radiographs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class JudgeScores:
    """The judges' scores of B images.

    Attributes:
        pathology: probability of each finding of `schema.FINDINGS`, shape (B, 5).
        race: probability of each group of `RACE_GROUPS`, shape (B, 3); rows sum to 1. NaN if the judges cannot tell.
        age: years, shape (B,).
        structures: masks of `schema.STRUCTURES`, bool, shape (B, 6, H, W).
        sex: probability of male sex, shape (B,); NaN if the judges cannot tell.
    """

    pathology: Tensor
    race: Tensor
    age: Tensor
    structures: Tensor
    sex: Tensor = field(default_factory=lambda: torch.empty(0))

    def __post_init__(self) -> None:
        if len(self.sex) != len(self.age):
            object.__setattr__(self, "sex", torch.full(self.age.shape, torch.nan))

    def as_columns(self) -> Tensor:
        """Pathology, race and age in columns, shape (B, 9): the `y_pred` of `CMIGMetric`."""
        return torch.cat([self.pathology, self.race, self.age[:, None]], dim=1)


@runtime_checkable
class HasSquares(Protocol):
    """A result with its images as the model made them: `squares`, shape (B, S, S) or (B, 1, S, S), in [0, 1]."""

    squares: Any


class Judges(Protocol):
    """The interface of every set of judges."""

    def score(self, images: Tensor | HasSquares) -> JudgeScores:
        """Score images of shape (B, 1, H, W) in [0, 1], bright = dense, or the images of a result."""

    def features(self, images: Tensor) -> Tensor:
        """The classifier's pooled features of such images, shape (B, D)."""

    def provenance(self) -> dict[str, Any]:
        """Name of the judges, and the SHA-256 of each weights file."""


def as_batch(images: Tensor | HasSquares) -> Tensor:
    """Images as judges take them, float32 (B, 1, H, W).

    Raises:
        ValueError: if the shape is another.
    """
    if isinstance(images, HasSquares):
        squares = torch.as_tensor(images.squares, dtype=torch.float32)
        images = squares[:, None] if squares.ndim == 3 else squares
    if images.ndim != 4 or images.shape[1] != 1:
        raise ValueError(f"images must be of shape (B, 1, H, W); found {tuple(images.shape)}.")
    return images


def on_grid(images: Tensor, shape: Sequence[int]) -> Tensor:
    """Resample (B, C, H, W) to another height and width; unchanged if it has that size."""
    if tuple(images.shape[-2:]) == tuple(shape):
        return images
    return interpolate(images, size=tuple(shape), mode="bilinear", antialias=True, align_corners=False)
