"""MONAI's Inferer interface over the generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor

DESCRIPTION_META_KEY, SEED_META_KEY = "description", "seed"


class CounterfactualInferer(Inferer):
    """Call the generator with the description that travels with the image.

    Args:
        description: for every image, where neither the call nor the image's metadata brings one.

    An image may also carry its seed, in `meta["seed"]`; without one the sampler's own is taken.
    """

    def __init__(self, description: str | None = None) -> None:
        super().__init__()
        self.description = description

    def __call__(
        self,
        inputs: Tensor,
        network: Callable[..., Tensor],
        description: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Make counterfactuals.

        Args:
            inputs: prior images, shape (B, 1, H, W), values in [0, 1]. A MetaTensor may carry its description in
                `meta["description"]`.
            network: a `CounterfactualGenerator`.
            description: overrides what the image carries.

        Returns:
            Counterfactuals, same shape, values in [0, 1].
        """
        description, kwargs = what_is_carried(inputs, description, kwargs)
        return network(inputs, description or self.description or None, **kwargs)


def what_is_carried(
    inputs: Tensor, description: str | Sequence[str] | None, kwargs: dict[str, Any]
) -> tuple[str | Sequence[str] | None, dict[str, Any]]:
    """The description, and `seeds` among the keywords, as the call has them, or else as the images carry them."""
    meta = getattr(inputs, "meta", {})
    if description is None:
        description = meta.get(DESCRIPTION_META_KEY)
    if meta.get(SEED_META_KEY) is not None and kwargs.get("seeds") is None:
        kwargs = {**kwargs, "seeds": [int(seed) for seed in torch.as_tensor(meta[SEED_META_KEY]).reshape(-1)]}
    return description, kwargs
