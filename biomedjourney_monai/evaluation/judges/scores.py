"""What judges are and return, one interface for all of them, and how batches that they may fail on are scored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS
from biomedjourney_monai.schema import FINDINGS, STRUCTURES


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


GROUP = 8
"""Images at once: on a CPU no larger number is faster, and the peak of memory rises with it."""


def equal_groups(images: Tensor, *, size: int = GROUP) -> Iterator[tuple[slice, Tensor]]:
    """Divide images (B, C, H, W) into groups of one size; the last one is filled up with its last image.

    Yields:
        The positions of the group's images, and the group, shape (size, C, H, W). Outputs beyond the first
        `len(images[places])` of a group belong to no image.
    """
    for start in range(0, len(images), size):
        places = slice(start, min(start + size, len(images)))
        group = images[places]
        missing = size - len(group)
        yield places, torch.cat([group, group[-1:].expand(missing, -1, -1, -1)]) if missing else group


def score_safely(judges: Judges, images: Tensor) -> tuple[JudgeScores, dict[int, str]]:
    """Score a batch, shape (B, 1, H, W), in equal groups; where the judges fail on a group, image by image.

    Returns:
        The scores, NaN and empty masks where the judges failed, and the reason by position in the batch.
    """
    if not len(images):
        return judges.score(images), {}
    parts: list[JudgeScores] = []
    faults: dict[int, str] = {}
    for places, group in equal_groups(images):
        try:
            whole = judges.score(group)
            parts.append(JudgeScores(*(values[: places.stop - places.start] for values in vars(whole).values())))
        except Exception:  # a judge is a third party's network: whatever it raises concerns one image
            for place in range(places.start, places.stop):
                scores, fault = _score_alone(judges, images[place])
                parts.append(scores)
                faults |= {place: fault} if fault else {}
    scores = JudgeScores(*(torch.cat(columns) for columns in zip(*(vars(part).values() for part in parts))))
    told = torch.isfinite(scores.race).any()  # otherwise these judges know no groups
    unknown = ~torch.isfinite(scores.as_columns() if told else scores.pathology + scores.age[:, None]).all(dim=1)
    for place in unknown.nonzero().flatten().tolist():
        faults.setdefault(place, "the judges gave a number that is not finite")
    return scores, faults


def _score_alone(judges: Judges, image: Tensor) -> tuple[JudgeScores, str]:
    """Score one image, (1, H, W); where the judges fail, NaN and the reason."""
    try:
        return judges.score(image[None]), ""
    except Exception as error:
        return _no_scores(image.shape[-2:]), f"the judges failed ({type(error).__name__})"


def _no_scores(shape: Sequence[int]) -> JudgeScores:
    structures = torch.zeros((1, len(STRUCTURES), *shape), dtype=torch.bool)
    findings, groups = (torch.full((1, len(names)), torch.nan) for names in (FINDINGS, RACE_GROUPS))
    return JudgeScores(findings, groups, torch.full((1,), torch.nan), structures)
