"""Controls of sampling: the latent to start from, and the region in which change is allowed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from biomedjourney_monai.diffusion.guidance import Conditions
from biomedjourney_monai.diffusion.relevance import at_pixels, region_from_mask, region_of, relevance_map, soften
from biomedjourney_monai.diffusion.schedule import NoiseSchedule, add_noise, trailing_timesteps
from biomedjourney_monai.diffusion.solvers import invert
from biomedjourney_monai.errors import SettingError
from biomedjourney_monai.networks.generator import CounterfactualGenerator, LatentSampler

AUTO = "auto"
MASK_EDGE = 2.0
"""Standard deviation of the soft edge inside a mask, in pixels."""

RegionLike = np.ndarray | Tensor | str
"""Where change is allowed: "auto" for where the description acts, or a mask of pixels, (H, W) or (B, 1, H, W)."""


@dataclass(frozen=True)
class Region:
    """Where change is allowed while a latent is sampled.

    Attributes:
        allowed: shape (B, 1, h, w), in [0, 1]; None for everywhere.
        relevance: where the descriptions act, same shape; None unless the region was "auto".
        blend: `blend(latent, signal)` restores the prior outside the region after each step; None for everywhere.
    """

    allowed: Tensor | None = None
    relevance: Tensor | None = None
    blend: Callable[[Tensor, Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Generated:
    """Counterfactuals of a batch.

    Attributes:
        images: shape (B, 1, H, W), in [0, 1].
        relevance: where the descriptions act, same shape, in [0, 1]; None unless the region is "auto".
        region: where change was allowed, same shape; None for everywhere.
    """

    images: Tensor
    relevance: Tensor | None = None
    region: Tensor | None = None


def start_from_prior(
    conditions: Conditions, schedule: NoiseSchedule, *, noise: Tensor | None, strength: float, steps: int
) -> tuple[Tensor, int]:
    """Find the latent to start from, and the index of the first of `steps` steps.

    Args:
        noise: added to the prior, shape (B, C, h, w); None inverts the prior without the description.
        strength: share of the noise to start from, in (0, 1].
    """
    alphas = schedule.alphas_cumprod
    timesteps = trailing_timesteps(train_timesteps=len(alphas), steps=steps)
    first = steps - max(1, round(strength * steps))
    if noise is not None:
        return add_noise(conditions.clean, noise, alphas[timesteps[first]]), first

    def predict(latent: Tensor, timestep: Tensor) -> Tensor:
        timesteps = timestep.to(latent.device).expand(len(latent))
        return conditions.denoiser(latent, timesteps, conditions.prior_latent, conditions.null_states)

    rising, kind = timesteps[first:].flip(0), str(schedule.prediction_type)
    return invert(predict, conditions.clean, alphas, timesteps=rising, prediction_type=kind), first


def confine(region: RegionLike, conditions: Conditions, schedule: NoiseSchedule, *, noise: Tensor) -> Region:
    """Confine the change to a mask, or to where the descriptions act, under noise of shape (B, C, h, w).

    Raises:
        SettingError: if the region is a text other than "auto".
    """
    check_region(region)
    clean, relevance = conditions.clean, None
    if isinstance(region, str):
        relevance = relevance_map(conditions, schedule, noise=noise)
        allowed = region_of(relevance)
    else:
        allowed = region_from_mask(_as_batch(region, clean), latent_hw=(clean.shape[-2], clean.shape[-1]))

    def blend(latent: Tensor, signal: Tensor) -> Tensor:
        return allowed * latent + (1 - allowed) * add_noise(clean, noise, signal)

    return Region(allowed, relevance, blend)


def check_region(region: RegionLike | None) -> None:
    """Raise a SettingError for a text other than "auto"."""
    if isinstance(region, str) and region != AUTO:
        raise SettingError("region", "must be a mask or auto", found=f"a text of {len(region)} characters")


def generate(
    generator: CounterfactualGenerator,
    priors: Tensor,
    descriptions: str | Sequence[str] | None = None,
    *,
    seeds: Sequence[int] | None = None,
    sampler: LatentSampler | None = None,
    region: RegionLike | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Generated:
    """Make counterfactuals, with change confined to a region.

    Outside the region the prior's own pixels are restored, so that the autoencoder's losses do not appear as changes of
    the patient. The region of a relevance map fades out beyond its edge, that of a mask within it.

    Args:
        priors: shape (B, 1, H, W), in [0, 1].
        descriptions: one for all or one for each; None for the generator's default.
        seeds: one for each; None for the sampler's own.
        sampler: used instead of the generator's own.
        region: where change is allowed; None for everywhere.
        on_step: called after each denoising step with its index.
    """
    check_region(region)
    images, sampled = generator.generate(
        priors, descriptions, seeds=seeds, sampler=sampler, region=region, on_step=on_step
    )
    if sampled.region is None or region is None:
        return Generated(images)
    hw = (images.shape[-2], images.shape[-1])
    if isinstance(region, str):
        allowed = at_pixels(sampled.region, hw)
    else:  # nothing changes outside a mask, not even under the edge that the latent's coarse grid needs
        allowed = 1 - soften(1 - _as_batch(region, images), feather=MASK_EDGE)
    relevance = None if sampled.relevance is None else at_pixels(sampled.relevance, hw)
    allowed = allowed.to(images.device)
    pixels = priors.as_tensor() if hasattr(priors, "as_tensor") else priors
    mixed = allowed * images + (1 - allowed) * pixels.to(images.device, images.dtype)
    return Generated(mixed, relevance, allowed)


def _as_batch(region: np.ndarray | Tensor, like: Tensor) -> Tensor:
    """A mask as float (B, 1, H, W)."""
    mask = torch.as_tensor(region).to(like.device).float()
    mask = mask if mask.ndim == 4 else mask[None, None]
    return mask.expand(len(like), -1, -1, -1)
