"""Which judges fit a picture: each knows how far the picture's features lie from those that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from biomedjourney_monai.evaluation.judges.equal_groups import equal_groups
from biomedjourney_monai.evaluation.judges.scores import Judges

INSIDE = 0.995
"""Share of the validation images that count as inside the domain."""

SHRINKAGE = 0.1
"""Of the covariance towards its mean variance, so that directions that hardly vary do not decide alone."""


class FeatureDomain(nn.Module):
    """The Mahalanobis distance of a classifier's features from those of its training, relative to a limit.

    Args:
        width: D, of the features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.centre: Tensor
        self.whitening: Tensor
        self.limit: Tensor
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("whitening", torch.eye(width))
        self.register_buffer("limit", torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """Distances of features (B, D), shape (B,); up to 1 is inside."""
        whitened = (features.float() - self.centre) @ self.whitening
        return whitened.square().mean(dim=1).sqrt() / self.limit

    @classmethod
    def fitted(cls, features: Tensor, held_out: Tensor) -> FeatureDomain:
        """Fit to features of training images, (N, D); the limit is taken from other patients' images, (M, D)."""
        domain = cls(features.shape[1])
        features, domain.centre = features.double(), features.mean(dim=0)
        covariance = torch.cov(features.T)
        mean_variance = covariance.diagonal().mean()
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * mean_variance * torch.eye(len(covariance))
        values, axes = torch.linalg.eigh(covariance)
        domain.whitening = (axes / values.sqrt()).float()
        domain.limit = torch.quantile(domain(held_out), INSIDE)
        return domain


class KnowsDomain(Judges, Protocol):
    """Judges that know their domain."""

    name: str

    def distance(self, images: Tensor) -> Tensor:
        """How far images (B, 1, H, W) in [0, 1] lie from those of the training, shape (B,); up to 1 is like them."""


@dataclass(frozen=True)
class Fit:
    """The judges nearest to some pictures, and the pictures' median distance: up to 1, they are like the training."""

    judges: KnowsDomain
    distance: float

    @property
    def inside(self) -> bool:
        """Whether the judges know such pictures."""
        return self.distance <= 1


def nearest_judges(judges: Mapping[str, KnowsDomain], images: Tensor) -> Fit:
    """The judges whose training images are most like these, shape (B, 1, H, W) in [0, 1], by the median distance."""
    fits = [Fit(each, float(np.median(_distances(each, images)))) for each in judges.values()]
    return min(fits, key=lambda fit: fit.distance)


def judge_for(judges: Mapping[str, KnowsDomain], image: np.ndarray) -> KnowsDomain | None:
    """The judges that know pictures like this one, float32 (S, S) in [0, 1]; None if none does.

    Judge a counterfactual by the judges of its prior. Without judges, show no percentage.
    """
    fit = nearest_judges(judges, torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None])
    return fit.judges if fit.inside else None


def _distances(judges: KnowsDomain, images: Tensor) -> Sequence[float]:
    parts = [judges.distance(group)[: places.stop - places.start] for places, group in equal_groups(images)]
    return torch.cat(parts).tolist()
