"""Which judges fit a picture: each knows how far the picture's features lie from those that it was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from biomedjourney_monai.evaluation.judges.scores import GROUP, Judges, equal_groups

INSIDE, SLACK = 0.995, 1.1
"""The limit is 1.1 times the distance that this share of the validation images keeps to."""

RIDGE = 1e-4
"""Of the classifier that tells images apart."""

SHRINKAGE = 0.1
"""Of the covariance towards its mean variance, so that directions that hardly vary do not decide alone."""


class FeatureDomain(nn.Module):
    """How far a classifier's features lie from those of its training: up to 1 is inside.

    The larger of two: the Mahalanobis distance relative to a limit; and, where images of another kind were at hand
    (films for judges of rendered images, and the other way round), exp(-z) of a linear classifier's logit z, which is
    positive inside.

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
        self.direction: Tensor
        self.offset: Tensor
        self.register_buffer("direction", torch.zeros(width))
        self.register_buffer("offset", torch.zeros(()))

    @property
    def tells_apart(self) -> bool:
        """Whether a classifier tells its images from those of another kind."""
        return bool(self.direction.any())

    def forward(self, features: Tensor) -> Tensor:
        """Distances of features (B, D), shape (B,); up to 1 is inside."""
        whitened = (features.float() - self.centre) @ self.whitening
        distance = whitened.square().mean(dim=1).sqrt() / self.limit
        if not self.tells_apart:
            return distance
        return torch.maximum(distance, torch.exp(-self.logit(features).clamp(-10, 10)))

    def logit(self, features: Tensor) -> Tensor:
        """Log odds of one of its own images against one of another kind, shape (B,)."""
        return (features.float() - self.centre) @ self.whitening @ self.direction + self.offset

    @classmethod
    def fitted(cls, features: Tensor, held_out: Tensor) -> "FeatureDomain":
        """Fit to features of training images, (N, D); the limit is taken from other patients' images, (M, D)."""
        domain = cls(features.shape[1])
        features, domain.centre = features.double(), features.mean(dim=0)
        covariance = torch.cov(features.T)
        mean_variance = covariance.diagonal().mean()
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * mean_variance * torch.eye(len(covariance))
        values, axes = torch.linalg.eigh(covariance)
        domain.whitening = (axes / values.sqrt()).float()
        domain.limit = SLACK * torch.quantile(domain(held_out), INSIDE)
        return domain

    def tell_apart(self, own: Tensor, others: Tensor) -> None:
        """Learn to tell features of its own images, (N, D), from those of another kind, (M, D), at equal weight."""
        whitened = (torch.cat([own, others]).float() - self.centre) @ self.whitening
        labels = torch.cat([torch.ones(len(own)), torch.zeros(len(others))])
        weights = torch.where(labels == 1, 0.5 / len(own), 0.5 / len(others))
        direction, offset = torch.zeros(whitened.shape[1], requires_grad=True), torch.zeros((), requires_grad=True)
        optimizer = torch.optim.LBFGS([direction, offset], max_iter=200, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            errors = binary_cross_entropy_with_logits(whitened @ direction + offset, labels, reduction="none")
            loss = (weights * errors).sum() + RIDGE * direction.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        self.direction, self.offset = direction.detach(), offset.detach()


class KnowsDomain(Judges, Protocol):
    """Judges that know their domain."""

    name: str
    trusted: frozenset[str]
    """The findings of which it may give a user a probability."""

    @property
    def tells_apart(self) -> bool:
        """Whether a classifier was trained to put `distance` above 1 for images of another kind."""

    def distance(self, images: Tensor) -> Tensor:
        """How far images (B, 1, H, W) in [0, 1] lie from those of the training, shape (B,); up to 1 is like them."""

    def finding_logits(self, images: Tensor) -> Tensor:
        """The logit of each finding of such images, shape (B, 5)."""


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
    """The judges whose training images are most like these, shape (B, 1, H, W) in [0, 1], by the median distance.

    Judges that were trained to tell their images apart come first if the images are inside their domain: the distance
    alone hardly differs between films and rendered images.
    """
    fits = [Fit(each, float(np.median(_distances(each, images)))) for each in judges.values()]
    return min(fits, key=lambda fit: (not fit.inside, not fit.judges.tells_apart, fit.distance))


def judge_for(judges: Mapping[str, KnowsDomain], image: np.ndarray) -> KnowsDomain | None:
    """The judges that know pictures like this one, float32 (S, S) in [0, 1]; None if none does.

    Judge a counterfactual by the judges of its prior. Without judges, show no percentage.
    """
    if not judges:
        return None
    fit = nearest_judges(judges, torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None])
    return fit.judges if fit.inside else None


def _distances(judges: KnowsDomain, images: Tensor) -> Sequence[float]:
    groups = equal_groups(images, size=min(GROUP, len(images)))
    parts = [judges.distance(group)[: places.stop - places.start] for places, group in groups]
    return torch.cat(parts).tolist()
