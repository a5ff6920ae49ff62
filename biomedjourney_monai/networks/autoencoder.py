"""The small autoencoder: MONAI's AutoencoderKL with a patch encoder that starts as principal components."""

import math

import torch
from monai.networks.nets import AutoencoderKL
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut; the second starts at zero, so the block starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = _zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(nn.functional.silu(self.first(nn.functional.silu(x))))


class PatchDecoder(nn.Module):
    """A linear map from each latent position to its patch, plus a correction that depends on the neighbours.

    Args:
        latent_channels: C.
        patch: side of a patch in pixels.
        width: channels of the correction.
        blocks: residual blocks of the correction.
    """

    def __init__(self, *, latent_channels: int, patch: int, width: int, blocks: int) -> None:
        super().__init__()
        self.linear = nn.Conv2d(latent_channels, patch * patch, 1)
        last = _zeroed(nn.Conv2d(width, patch * patch, 1))
        self.correction = nn.Sequential(
            nn.Conv2d(latent_channels, width, 3, padding=1),
            *[ResidualBlock(width) for _ in range(blocks)],
            nn.SiLU(),
            last,
        )
        self.shuffle = nn.PixelShuffle(patch)

    def forward(self, z: Tensor) -> Tensor:
        return self.shuffle(self.linear(z) + self.correction(z))  # (B, 1, H, W)


class PatchAutoencoderKL(AutoencoderKL):
    """MONAI's AutoencoderKL with an encoder and a decoder that are fast on two CPU cores.

    The encoder maps each patch of pixels linearly to one latent position. `fit` sets it to the leading principal
    components of the training patches, each scaled to unit variance; 24 components of 8×8 patches reconstruct a
    rendered radiograph with about 36 dB in closed form. The decoder starts as the inverse map; training adds its
    convolutional correction. Everything else (`encode`, `sampling`, `decode`, …) is MONAI's.

    Args:
        latent_channels: components kept, C.
        patch: side of a patch in pixels, the factor between image and latent.
        width: channels of the decoder's correction.
        blocks: residual blocks of the decoder's correction.
        posterior_std: standard deviation of the posterior in units of the component's own, > 0.
    """

    encoder: nn.Sequential
    decoder: PatchDecoder

    def __init__(
        self,
        *,
        latent_channels: int = 24,
        patch: int = 8,
        width: int = 128,
        blocks: int = 3,
        posterior_std: float = 0.01,
    ) -> None:
        super().__init__(
            spatial_dims=2,
            channels=(8,),
            num_res_blocks=1,
            attention_levels=(False,),
            latent_channels=latent_channels,
            norm_num_groups=8,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        self.patch = patch
        self.encoder = nn.Sequential(nn.PixelUnshuffle(patch), nn.Conv2d(patch * patch, latent_channels, 1))
        self.decoder = PatchDecoder(latent_channels=latent_channels, patch=patch, width=width, blocks=blocks)
        for quantiser in (self.quant_conv_mu, self.post_quant_conv):
            nn.init.dirac_(quantiser.get_parameter("conv.weight"))
            nn.init.zeros_(quantiser.get_parameter("conv.bias"))
        nn.init.zeros_(self.quant_conv_log_sigma.get_parameter("conv.weight"))
        nn.init.constant_(self.quant_conv_log_sigma.get_parameter("conv.bias"), 2 * math.log(posterior_std))

    @torch.no_grad()
    def fit(self, images: Tensor) -> Tensor:
        """Set encoder and linear decoder to the principal components of the images' patches.

        Args:
            images: shape (N, 1, H, W), values in [-1, 1]; H and W multiples of the patch.

        Returns:
            Standard deviation of each component in pixel units, shape (C,), largest first.
        """
        patches = nn.functional.pixel_unshuffle(images, self.patch).movedim(1, -1).flatten(0, -2).double()  # (M, P²)
        mean = patches.mean(0)
        covariance = (patches - mean).T @ (patches - mean) / len(patches)
        values, vectors = torch.linalg.eigh(covariance)
        channels = self.latent_channels
        deviation = values[-channels:].flip(0).clamp_min(1e-10).sqrt()
        basis = vectors[:, -channels:].flip(1)  # (P², C)
        basis = basis * torch.where(basis.sum(0) < 0, -1.0, 1.0)  # the solver's sign differs between machines
        encode = (basis / deviation).T
        self.encoder.get_parameter("1.weight").copy_(encode[:, :, None, None])
        self.encoder.get_parameter("1.bias").copy_(-encode @ mean)
        self.decoder.get_parameter("linear.weight").copy_((basis * deviation)[:, :, None, None])
        self.decoder.get_parameter("linear.bias").copy_(mean)
        return deviation.float()

    @property
    def component_weight(self) -> Tensor:
        """How much one unit of each latent channel changes the pixels, relative to the mean channel; shape (C,)."""
        norm = self.decoder.linear.weight.detach().flatten(1).norm(dim=0)
        return norm / norm.mean()


@torch.no_grad()
def reconstruct(autoencoder: AutoencoderKL, images: Tensor) -> Tensor:
    """Encode images and decode the posterior's mode: the best that a perfect denoiser could reach.

    Args:
        autoencoder: on its own device and in its own mode.
        images: shape (B, 1, H, W), values in [0, 1].

    Returns:
        Same shape, values in [0, 1], on the CPU.
    """
    device = next(autoencoder.parameters()).device
    mode, _ = autoencoder.encode(images.to(device, torch.float32) * 2 - 1)
    return ((autoencoder.decode(mode) + 1) / 2).clamp(0, 1).float().cpu()


def _zeroed(convolution: nn.Conv2d) -> nn.Conv2d:
    for parameter in convolution.parameters():
        nn.init.zeros_(parameter)
    return convolution
