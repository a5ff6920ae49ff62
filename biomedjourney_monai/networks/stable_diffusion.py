"""The autoencoder of Stable Diffusion 1.5 as one of MONAI's."""

from collections.abc import Sequence
from typing import Any

from monai.networks.blocks import Convolution
from monai.networks.nets import AutoencoderKL
from monai.networks.nets.autoencoderkl import Decoder, Encoder
from torch import nn


class StableDiffusionAutoencoder(AutoencoderKL):
    """MONAI's AutoencoderKL with submodules that compute the same as Stable Diffusion's.

    MONAI's own lacks the activation before the last convolution of encoder and decoder, has one residual block less at
    each level of the decoder, and its quantising convolutions take half of the channels. Only submodules are replaced.
    The defaults are the sizes of Stable Diffusion 1.5, whose images have three channels. With one channel the network
    computes exactly the same on grey images: `weights.formats.channels.to_grey` folds the weights.

    Args:
        in_channels: of the image; 3, or 1 for grey.
        out_channels: of the reconstruction; 3, or 1 for grey.
        channels: of each level, finest first.
        num_res_blocks: of each level of the encoder; the decoder has one more.
        latent_channels: C.
        norm_num_groups: of every group norm.
        norm_eps: of every group norm.
        use_checkpoint: compute activations twice instead of keeping them, which saves memory in training.
        use_flash_attention: PyTorch's fused attention.

    Attributes:
        geometry: every setting that changes what the weights compute; saved with the weights.

    Source: Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        channels: Sequence[int] = (128, 256, 512, 512),
        num_res_blocks: int = 2,
        latent_channels: int = 4,
        norm_num_groups: int = 32,
        norm_eps: float = 1e-6,
        use_checkpoint: bool = False,
        use_flash_attention: bool = False,
    ) -> None:
        super().__init__(
            spatial_dims=2,
            channels=(norm_num_groups,),  # the smallest that MONAI accepts: it is replaced
            num_res_blocks=1,
            attention_levels=(False,),
            latent_channels=latent_channels,
            norm_num_groups=norm_num_groups,
            use_checkpoint=use_checkpoint,
        )
        self.channels, self.num_res_blocks = tuple(channels), num_res_blocks
        self.geometry = {
            "class": type(self).__name__,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "channels": list(channels),
            "num_res_blocks": num_res_blocks,
            "latent_channels": latent_channels,
            "norm_num_groups": norm_num_groups,
            "norm_eps": norm_eps,
        }
        shared: dict[str, Any] = {
            "spatial_dims": 2,
            "channels": self.channels,
            "norm_num_groups": norm_num_groups,
            "norm_eps": norm_eps,
            "attention_levels": (False,) * len(self.channels),
            "use_flash_attention": use_flash_attention,
        }
        self.encoder = Encoder(
            in_channels=in_channels,
            out_channels=2 * latent_channels,
            num_res_blocks=(num_res_blocks,) * len(self.channels),
            **shared,
        )
        self.decoder = Decoder(
            in_channels=latent_channels,
            out_channels=out_channels,
            num_res_blocks=(num_res_blocks + 1,) * len(self.channels),
            **shared,
        )
        for part in (self.encoder, self.decoder):
            part.blocks.insert(len(part.blocks) - 1, nn.SiLU())
        self.quant_conv_mu = _quantiser(2 * latent_channels, latent_channels)
        self.quant_conv_log_sigma = _quantiser(2 * latent_channels, latent_channels)


def _quantiser(in_channels: int, out_channels: int) -> Convolution:
    return Convolution(2, in_channels, out_channels, kernel_size=1, padding=0, conv_only=True)
