"""Where a description acts: the difference that it makes to the denoiser's prediction at each position."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, max_pool2d, pad

from biomedjourney_monai.diffusion.guidance import Conditions
from biomedjourney_monai.diffusion.schedule import NoiseSchedule, to_clean_and_noise

NOISE_LEVELS = (0.6, 0.7, 0.8)
"""As shares of the timesteps: with less noise the visible image determines the prediction, with more noise nothing has
a position yet."""

FEATHER = 1.0
"""Standard deviation of a region's soft edge, in latent positions."""


@torch.no_grad()
def relevance_map(
    conditions: Conditions, schedule: NoiseSchedule, *, noise: Tensor, levels: Sequence[float] = NOISE_LEVELS
) -> Tensor:
    """Compare the clean latents that are predicted with and without the description.

    Each level uses another noise, the given one shifted by a share of the grid: under a single noise the denoiser may
    confuse the sides.

    Args:
        noise: standard normal, shape (B, C, h, w).
        levels: timesteps, each in (0, 1) of T, over which the mean is taken.

    Returns:
        Shape (B, 1, h, w), at least 0, the largest value of each case 1; all 0 where the description has no effect.

    Source: Couairon et al. 2023, DiffEdit, section 3.2; with the prior as the condition no reference text is needed.
    """
    denoiser, prior_latent, alphas_cumprod = conditions.denoiser, conditions.prior_latent, schedule.alphas_cumprod
    scale_factor, kind = float(denoiser.scale_factor), str(schedule.prediction_type)
    batch, total = len(prior_latent), torch.zeros_like(prior_latent[:, :1])
    states = torch.cat([conditions.null_states, conditions.text_states])
    height, width = prior_latent.shape[-2:]
    for number, level in enumerate(levels):
        moved = (number * height // len(levels), number * width // len(levels))
        timestep = min(round(level * len(alphas_cumprod)), len(alphas_cumprod) - 1)
        signal = alphas_cumprod[timestep].to(noise.device, torch.float32)
        noisy = signal.sqrt() * scale_factor * prior_latent + (1 - signal).sqrt() * noise.roll(moved, (-2, -1))
        twice = noisy.repeat(2, 1, 1, 1)
        timesteps = torch.full((2 * batch,), timestep, device=noise.device)
        prediction = denoiser(twice, timesteps, prior_latent.repeat(2, 1, 1, 1), states).float()
        clean, _ = to_clean_and_noise(prediction, twice, signal, prediction_type=kind)
        without, with_text = clean.chunk(2)
        total += (with_text - without).abs().mean(dim=1, keepdim=True)
    highest = total.amax(dim=(1, 2, 3), keepdim=True)
    return torch.where(highest > 0, total / highest.clamp_min(1e-12), 0)


def region_of(relevance: Tensor, *, feather: float = FEATHER) -> Tensor:
    """Cut a relevance map into a region with a soft edge.

    The threshold is Otsu's, case by case; the region is then dilated by one latent position, so that its edge lies
    outside what was found.

    Args:
        relevance: shape (B, 1, h, w), of `relevance_map`.
        feather: standard deviation of the edge, in latent positions; 0 for a hard edge.

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
        feather: standard deviation of the edge, in latent positions.

    Returns:
        Shape (B, 1, h, w). A position that the mask touches is fully allowed.
    """
    factors = mask.shape[-2] // latent_hw[0], mask.shape[-1] // latent_hw[1]
    return soften(max_pool2d(mask.float(), factors), feather=feather)


def soften(region: Tensor, *, feather: float) -> Tensor:
    """Give a region a soft edge outside it; inside it stays 1."""
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
    """Resize a region or a relevance map to pixels, shape (B, 1, H, W)."""
    return interpolate(region.float(), size=tuple(hw), mode="bilinear", align_corners=False)


def otsu_threshold(values: Tensor, *, bins: int = 64) -> float:
    """The threshold in [0, 1] with the largest variance between the two classes of `values` (Otsu 1979)."""
    counts = torch.histc(values.float(), bins=bins, min=0.0, max=1.0).double().cpu()
    centres = (torch.arange(bins, dtype=torch.float64) + 0.5) / bins
    below = counts.cumsum(0)
    above = below[-1] - below
    sums = (counts * centres).cumsum(0)
    difference = sums / below.clamp_min(1) - (sums[-1] - sums) / above.clamp_min(1)
    return float((below * above * difference**2).argmax() + 1) / bins
