"""Where a description acts: the difference that it makes to the denoiser's prediction, place by place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, max_pool2d, pad

from biomedjourney_monai.diffusion.schedule import to_clean_and_noise

NOISE_LEVELS = (0.6, 0.7, 0.8)
"""Of the timesteps: earlier the image is given away by what is seen of it, later nothing is placed yet."""

FEATHER = 1.0
"""Standard deviation of a region's soft edge, in latent positions."""


@torch.no_grad()
def relevance_map(
    denoiser: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    prior_latent: Tensor,
    text_states: Tensor,
    null_text_states: Tensor,
    noise: Tensor,
    alphas_cumprod: Tensor,
    *,
    scale_factor: float,
    prediction_type: str,
    levels: Sequence[float] = NOISE_LEVELS,
) -> Tensor:
    """Compare the clean latent that is predicted with the description with that without it.

    Each level has a noise of its own, the given one moved by a share of the grid: under one noise alone the denoiser
    may take the wrong side for the one that is meant.

    Args:
        denoiser: `denoiser(noisy_latent, timesteps, prior_latent, text_states)`.
        prior_latent: unscaled, shape (B, C, h, w).
        text_states: shape (B, L, W).
        null_text_states: of the empty description, shape (1, L, W).
        noise: standard normal, shape (B, C, h, w).
        alphas_cumprod: shape (T,).
        scale_factor: the latent multiplier.
        prediction_type: what the denoiser returns.
        levels: timesteps to look at, each in (0, 1) of T; the mean over them is taken.

    Returns:
        Shape (B, 1, h, w), at least 0, the largest value of each case 1; all 0 where the description does nothing.

    Source: Couairon et al. 2023, DiffEdit, section 3.2; with the prior as the condition no reference text is needed.
    """
    batch, total = len(prior_latent), torch.zeros_like(prior_latent[:, :1])
    states = torch.cat([null_text_states.expand(batch, -1, -1), text_states])
    height, width = prior_latent.shape[-2:]
    for number, level in enumerate(levels):
        moved = (number * height // len(levels), number * width // len(levels))
        timestep = min(round(level * len(alphas_cumprod)), len(alphas_cumprod) - 1)
        signal = alphas_cumprod[timestep].to(noise.device, torch.float32)
        noisy = signal.sqrt() * scale_factor * prior_latent + (1 - signal).sqrt() * noise.roll(moved, (-2, -1))
        twice = noisy.repeat(2, 1, 1, 1)
        timesteps = torch.full((2 * batch,), timestep, device=noise.device)
        prediction = denoiser(twice, timesteps, prior_latent.repeat(2, 1, 1, 1), states).float()
        clean, _ = to_clean_and_noise(prediction, twice, signal, prediction_type=prediction_type)
        without, with_text = clean.chunk(2)
        total += (with_text - without).abs().mean(dim=1, keepdim=True)
    highest = total.amax(dim=(1, 2, 3), keepdim=True)
    return torch.where(highest > 0, total / highest.clamp_min(1e-12), 0)


def region_of(relevance: Tensor, *, feather: float = FEATHER) -> Tensor:
    """Cut a relevance map into a region with a soft edge.

    The cut is Otsu's, case by case; the region is then grown by one latent position, so that the edge lies outside it.

    Args:
        relevance: shape (B, 1, h, w), of `relevance_map`.
        feather: of the edge, in latent positions; 0 for a hard one.

    Returns:
        Shape (B, 1, h, w), 1 where change is allowed and 0 where it is not.
    """
    cut = torch.stack([(case > otsu_threshold(case)).float() for case in relevance])
    return soften(max_pool2d(cut, 3, stride=1, padding=1), feather=feather)


def region_from_mask(mask: Tensor, *, latent_hw: tuple[int, int], feather: float = FEATHER) -> Tensor:
    """Bring a mask of pixels to latent positions, with a soft edge.

    Args:
        mask: shape (B, 1, H, W), 1 where change is allowed.
        latent_hw: (h, w).
        feather: of the edge, in latent positions.

    Returns:
        Shape (B, 1, h, w). A position that the mask touches is allowed in full.
    """
    factors = mask.shape[-2] // latent_hw[0], mask.shape[-1] // latent_hw[1]
    return soften(max_pool2d(mask.float(), factors), feather=feather)


def soften(region: Tensor, *, feather: float) -> Tensor:
    """Give a region a soft edge that falls off outside it; inside it stays 1."""
    if feather <= 0 or not region.any():
        return region
    reach = max(1, round(3 * feather))
    offsets = torch.arange(-reach, reach + 1, device=region.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / feather) ** 2)
    kernel = kernel / kernel.sum()
    blurred = pad(region.float(), (reach,) * 4, mode="replicate")
    blurred = conv2d(conv2d(blurred, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return torch.maximum((2 * blurred).clamp(0, 1), region.float())


def at_pixels(region: Tensor, hw: tuple[int, int]) -> Tensor:
    """Bring a region or a relevance map to pixels, shape (B, 1, H, W)."""
    return interpolate(region.float(), size=tuple(hw), mode="bilinear", align_corners=False)


def otsu_threshold(values: Tensor, *, bins: int = 64) -> float:
    """The value in [0, 1] that best parts `values` in two, by the variance between them (Otsu 1979)."""
    counts = torch.histc(values.float(), bins=bins, min=0.0, max=1.0).double().cpu()
    centres = (torch.arange(bins, dtype=torch.float64) + 0.5) / bins
    below = counts.cumsum(0)
    above = below[-1] - below
    sums = (counts * centres).cumsum(0)
    difference = sums / below.clamp_min(1) - (sums[-1] - sums) / above.clamp_min(1)
    return float((below * above * difference**2).argmax() + 1) / bins
