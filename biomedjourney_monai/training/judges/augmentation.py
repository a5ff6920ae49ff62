"""Changes that a judge must tolerate: shifts and black wedges of registration, slight blur, noise, another exposure.

Images are never mirrored: left lung and right lung are different structures.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, pad

ROTATION_DEGREES = 5.0
LOG_SCALE = 0.10
SHIFT = 0.06  # of the image's side
BLUR_SIGMA_PX = 1.0
NOISE = 0.03  # of the full range
LOG_GAMMA = 0.2


def augment(
    images: Tensor, masks: Tensor | None = None, *, generator: torch.Generator, strength: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Vary images as registration and generation do.

    Args:
        images: shape (B, 1, H, W) in [0, 1].
        masks: shape (B, C, H, W), moved with the images; None for none.
        generator: the source of all randomness.
        strength: factor on the size of the moves and on the change of exposure.

    Returns:
        Images in [0, 1] and masks, same shapes; empty masks for None.
    """
    grid = _random_affine(images, generator, strength)
    images = grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    masks = images.new_empty(0) if masks is None else masks
    if len(masks):
        masks = grid_sample(masks.float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    images = _blur(images, generator)
    black = images <= 1e-4  # collimation and wedges stay black at any exposure
    images = images.clamp(0, 1) ** torch.exp(strength * LOG_GAMMA * _normal(images, generator))
    images = images * (1 + 0.06 * _normal(images, generator)) + 0.03 * _normal(images, generator)
    amount = NOISE * _uniform(images, generator) * (_uniform(images, generator) < 0.5)
    images = images + amount * torch.randn(images.shape, generator=generator)
    return torch.where(black, 0, images.clamp(0, 1)), masks


def _random_affine(images: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Draw a similarity transform per image, none for a fifth of them; returns the sampling grid, (B, H, W, 2)."""
    moves = strength * (torch.rand(len(images), generator=generator) < 0.8).float()
    angle = moves * math.radians(ROTATION_DEGREES) * torch.randn(len(images), generator=generator) / 1.5
    scale = torch.exp(moves * LOG_SCALE * torch.randn(len(images), generator=generator) / 1.5)
    shift = 2 * SHIFT * moves[:, None] * torch.randn((len(images), 2), generator=generator) / 1.5
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([cos, -sin, shift[:, 0]], dim=1), torch.stack([sin, cos, shift[:, 1]], dim=1)]
    return affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)


def _blur(images: Tensor, generator: torch.Generator) -> Tensor:
    """Blur half of the images with a Gaussian of up to BLUR_SIGMA_PX."""
    drawn = torch.rand((2, len(images)), generator=generator)
    sigma = BLUR_SIGMA_PX * drawn[0] * (drawn[1] < 0.5) + 1e-3
    taps = torch.arange(-3, 4).float()
    kernel = torch.exp(-0.5 * (taps / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)  # (B, 7)
    batch = pad(images.transpose(0, 1), (3, 3, 3, 3), mode="replicate")  # (1, B, H + 6, W + 6): one group per image
    batch = conv2d(batch, kernel[:, None, None, :], groups=len(images))
    return conv2d(batch, kernel[:, None, :, None], groups=len(images)).transpose(0, 1)


def _uniform(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand((len(images), 1, 1, 1), generator=generator)


def _normal(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn((len(images), 1, 1, 1), generator=generator)
