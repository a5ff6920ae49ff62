"""An autoencoder that was trained on images in [0, 1], for callers whose images are in [-1, 1]."""

from typing import Any

from monai.networks.nets import AutoencoderKL
from torch import Tensor


class UnitRangeAutoencoderKL(AutoencoderKL):
    """MONAI's AutoencoderKL with images in [0, 1] inside and in [-1, 1] outside.

    The models of monai-generative and of MONAI's Model Zoo are trained so. Only `encode` and `decode` differ from
    MONAI's.

    Args:
        settings: those of MONAI's `AutoencoderKL`.

    Attributes:
        geometry: the settings; saved with the weights.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.geometry = {"class": type(self).__name__, **settings}

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Image in [-1, 1], shape (B, 1, H, W), to the posterior's mean and deviation, shape (B, C, h, w)."""
        return super().encode((x + 1) / 2)

    def decode(self, z: Tensor) -> Tensor:
        """Latent, shape (B, C, h, w), to the image in [-1, 1], shape (B, 1, H, W)."""
        return super().decode(z) * 2 - 1
