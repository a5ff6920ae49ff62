"""A first stage that was trained on images in [0, 1], for callers whose images are in [-1, 1]."""

from __future__ import annotations

from typing import Any

from monai.networks.nets import AutoencoderKL
from torch import Tensor


class UnitRangeAutoencoderKL(AutoencoderKL):
    """MONAI's AutoencoderKL between images in [0, 1], behind the images in [-1, 1] that this package passes.

    The models that came with monai-generative and those of MONAI's Model Zoo are trained so. Names of tensors and
    everything but `encode` and `decode` are MONAI's.

    Args:
        settings: those of MONAI's `AutoencoderKL`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.geometry = {"class": type(self).__name__, **settings}
        """Every setting, those that change what the weights compute among them; written beside them."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Image in [-1, 1], shape (B, 1, H, W), to the posterior's mean and deviation, shape (B, C, h, w)."""
        return super().encode((x + 1) / 2)

    def decode(self, z: Tensor) -> Tensor:
        """Latent, shape (B, C, h, w), to the image in [-1, 1], shape (B, 1, H, W)."""
        return super().decode(z) * 2 - 1
