"""MONAI's Inferer interface over the generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai.inferers import Inferer
from torch import Tensor

DESCRIPTION_META_KEY = "description"


class CounterfactualInferer(Inferer):
    """Call the generator with the description that travels with the image.

    Args:
        description: for every image, where neither the call nor the image's metadata brings one.
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
        if description is None:
            description = getattr(inputs, "meta", {}).get(DESCRIPTION_META_KEY)
        return network(inputs, description or self.description or None, **kwargs)
