"""The generator as a MONAI inferer."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor

from biomedjourney_monai.diffusion.controls import RegionLike, check_region, generate
from biomedjourney_monai.networks.generator import CounterfactualGenerator

_PREPARING = threading.Lock()
DESCRIPTION_META_KEY, SEED_META_KEY = "description", "seed"


class CounterfactualInferer(Inferer):
    """Call the generator with the description and the seed in the image's metadata.

    Args:
        description: used where neither the call nor the image's metadata has one.
        region: where change is allowed: None for everywhere, "auto", or a mask, shape (H, W); see `controls.generate`.
        speed_up: arguments of the network's `speed_up`, called before its first use unless it was called already: a
            server that loads the weights itself then computes what the command line does, to the bit. None for never.

    Raises:
        SettingError: if the region is a text other than "auto".
    """

    def __init__(
        self,
        description: str | None = None,
        *,
        region: RegionLike | None = None,
        speed_up: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_region(region)
        self.description, self.region, self.speed_up = description, region, speed_up

    def __call__(  # type: ignore[override]
        self,
        inputs: Tensor,
        network: CounterfactualGenerator,
        description: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Make counterfactuals.

        Args:
            inputs: prior images, shape (B, 1, H, W), values in [0, 1]. A MetaTensor may carry its description in
                `meta["description"]` and its seed in `meta["seed"]`.
            network: the model.
            description: overrides that of the image.
            kwargs: see `controls.generate`.

        Returns:
            Counterfactuals, same shape, values in [0, 1].
        """
        if self.speed_up is not None:
            with _PREPARING:
                if not network.is_fast:
                    network.speed_up(**self.speed_up)
        meta = getattr(inputs, "meta", {})
        if description is None:
            description = meta.get(DESCRIPTION_META_KEY)
        seed = meta.get(SEED_META_KEY)
        if seed is not None and kwargs.get("seeds") is None:
            kwargs["seeds"] = [int(one) for one in torch.as_tensor(seed).reshape(-1)]
        return generate(
            network, inputs, description or self.description or None, **{"region": self.region, **kwargs}
        ).images
