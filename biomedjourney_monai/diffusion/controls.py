"""What may change and how much: strength, the noise to start from, and the region, around any sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from biomedjourney_monai.diffusion.inferer import CounterfactualInferer, what_is_carried
from biomedjourney_monai.diffusion.inversion import add_noise, invert
from biomedjourney_monai.diffusion.relevance import at_pixels, region_from_mask, region_of, relevance_map, soften
from biomedjourney_monai.diffusion.sampler import draw_noise
from biomedjourney_monai.diffusion.schedule import trailing_timesteps
from biomedjourney_monai.errors import ConfigError

RANDOM, FROM_PRIOR = "random", "from-prior"
INIT_NOISE = (RANDOM, FROM_PRIOR)
AUTO = "auto"
MASK_EDGE = 2.0
"""Standard deviation of the soft edge inside a mask, in pixels."""


@dataclass(frozen=True)
class Made:
    """What came of a request.

    Attributes:
        images: counterfactuals, shape (B, 1, H, W), in [0, 1].
        relevance: where the descriptions act, shape (B, 1, H, W), in [0, 1]; None unless the region is "auto".
        region: where change was allowed, same shape; None where it was everywhere.
    """

    images: Tensor
    relevance: Tensor | None = None
    region: Tensor | None = None


class ControlledSampler:
    """A sampler that starts from the prior's latent, or may change a part of it only.

    Args:
        sampler: the sampler to control.
        strength: share of the noise to start from, in (0, 1]. At 1 the image starts as noise; below, as the prior under
            noise, and only the later steps are made.
        init_noise: "random" is the seed's; "from-prior" is found by inverting the prior without the description.
        region: None for everywhere, "auto" for the description's relevance map, or a mask of pixels (H, W) or
            (B, 1, H, W).

    Attributes:
        relevance: of the last call, shape (B, 1, h, w), or None.
        allowed: the region of the last call, shape (B, 1, h, w), or None.

    Raises:
        ConfigError: if a setting is out of range.
    """

    def __init__(self, sampler: Any, *, strength: float = 1.0, init_noise: str = RANDOM, region: Any = None) -> None:
        if not 0 < strength <= 1:
            raise ConfigError("strength must be in (0, 1]", found=str(strength))
        if init_noise not in INIT_NOISE:
            raise ConfigError(f"init_noise must be one of {', '.join(INIT_NOISE)}", found=str(init_noise))
        if isinstance(region, str) and region != AUTO:
            raise ConfigError("a region must be a mask or auto", found="another word")
        self.sampler, self.strength, self.init_noise, self.region = sampler, strength, init_noise, region
        self.relevance: Tensor | None = None
        self.allowed: Tensor | None = None

    @property
    def noise_scheduler(self) -> Any:
        return self.sampler.noise_scheduler

    @property
    def seed(self) -> int:
        return self.sampler.seed

    @property
    def keep_unchanged(self) -> float:
        return getattr(self.sampler, "keep_unchanged", 0.0)

    @property
    def first_expected(self) -> tuple[Tensor, Tensor] | None:
        return getattr(self.sampler, "first_expected", None)

    def settings(self) -> dict[str, Any]:
        """The settings that a picture's metadata name, beside seed and description."""
        inner = self.sampler
        content = {
            "steps": inner.steps,
            "solver": inner.solver,
            "text_guidance_scale": inner.text_guidance_scale,
            "image_guidance_scale": inner.image_guidance_scale,
        }
        if inner.guidance_interval != (0.0, 1.0):
            content["guidance_interval"] = list(inner.guidance_interval)
        if self.keep_unchanged:
            content["keep_unchanged"] = self.keep_unchanged
        if self.strength != 1:
            content["strength"] = self.strength
        return {**content, "init_noise": FROM_PRIOR} if self.init_noise != RANDOM else content

    @torch.no_grad()
    def __call__(
        self,
        denoiser: Any,
        prior_latent: Tensor,
        text_states: Tensor,
        null_text_states: Tensor,
        *,
        seeds: Sequence[int] | None = None,
    ) -> Tensor:
        """Draw latents; see `CounterfactualSampler`."""
        device = prior_latent.device
        text_states, null_text_states = text_states.to(device), null_text_states.to(device)
        seeds = [self.sampler.seed] * len(prior_latent) if seeds is None else list(seeds)
        self.relevance = self.allowed = None
        hooks: dict[str, Any] = {}
        if self.strength < 1 or self.init_noise != RANDOM or self.region is not None:
            noise = draw_noise(prior_latent.shape[1:], seeds).to(device)
            clean = denoiser.scale_factor * prior_latent
            hooks |= self._start(denoiser, prior_latent, clean, noise, null_text_states)
            hooks |= self._confine(denoiser, prior_latent, clean, noise, text_states, null_text_states)
        return self.sampler(denoiser, prior_latent, text_states, null_text_states, seeds=seeds, **hooks)

    def _start(
        self, denoiser: Any, prior_latent: Tensor, clean: Tensor, noise: Tensor, null_text_states: Tensor
    ) -> dict[str, Any]:
        """The latent to start from and the first step to make."""
        if self.strength == 1 and self.init_noise == RANDOM:
            return {}
        alphas = self.noise_scheduler.alphas_cumprod
        steps = self.sampler.steps
        timesteps = trailing_timesteps(train_timesteps=len(alphas), steps=steps)
        first = steps - max(1, round(self.strength * steps))
        if self.init_noise == RANDOM:
            return {"start_latent": add_noise(clean, noise, alphas[timesteps[first]]), "first_step": first}

        def predict(latent: Tensor, timestep: Tensor) -> Tensor:
            batch = len(latent)
            states = null_text_states.expand(batch, -1, -1)
            return denoiser(latent, timestep.to(latent.device).expand(batch), prior_latent, states)

        kind = str(self.noise_scheduler.prediction_type)
        rising = timesteps[first:].flip(0)
        return {
            "start_latent": invert(predict, clean, alphas, timesteps=rising, prediction_type=kind),
            "first_step": first,
        }

    def _confine(
        self,
        denoiser: Any,
        prior_latent: Tensor,
        clean: Tensor,
        noise: Tensor,
        text_states: Tensor,
        null_text_states: Tensor,
    ) -> dict[str, Any]:
        """The blend that puts the prior back outside the region after each step."""
        if self.region is None:
            return {}
        if isinstance(self.region, str):
            self.relevance = relevance_map(
                denoiser,
                prior_latent,
                text_states,
                null_text_states,
                noise,
                self.noise_scheduler.alphas_cumprod,
                scale_factor=float(denoiser.scale_factor),
                prediction_type=str(self.noise_scheduler.prediction_type),
            )
            allowed = region_of(self.relevance)
        else:
            allowed = region_from_mask(_as_batch(self.region, clean), latent_hw=tuple(clean.shape[-2:]))
        self.allowed = allowed

        def blend(latent: Tensor, signal: Tensor) -> Tensor:
            return allowed * latent + (1 - allowed) * add_noise(clean, noise, signal)

        return {"blend": blend}


def control(generator: Any, *, strength: float = 1.0, init_noise: str = RANDOM, region: Any = None) -> Any:
    """Put a `ControlledSampler` into a generator, and return the generator.

    Raises:
        ConfigError: if a setting is out of range.
    """
    generator.sampler = ControlledSampler(generator.sampler, strength=strength, init_noise=init_noise, region=region)
    return generator


def make(
    generator: Any,
    priors: Tensor,
    descriptions: str | Sequence[str] | None,
    *,
    seeds: Sequence[int] | None = None,
    region: Any = None,
) -> Made:
    """Make counterfactuals under the generator's controls.

    Outside the region the prior's own pixels are put back: what the autoencoder loses of them is no change of the
    patient's. A relevance map's region fades out beyond its edge, a mask's within it.

    Args:
        generator: of `control`.
        priors: shape (B, 1, H, W), in [0, 1].
        descriptions: one for all or one for each; None for the generator's default.
        seeds: one for each; None for the sampler's own.
        region: for this call; None leaves the sampler's own.
    """
    sampler = generator.sampler
    own, chosen = sampler.region, sampler.region if region is None else region
    sampler.region = chosen
    try:
        images = generator(priors, descriptions, seeds=seeds)
    finally:
        sampler.region = own
    if sampler.allowed is None:
        return Made(images)
    hw = tuple(images.shape[-2:])
    if isinstance(chosen, str):
        allowed = at_pixels(sampler.allowed, hw)
    else:  # nothing changes outside a mask, not even under the edge that the latent's coarse grid needs
        allowed = 1 - soften(1 - _as_batch(chosen, images), feather=MASK_EDGE)
    relevance = None if sampler.relevance is None else at_pixels(sampler.relevance, hw)
    allowed = allowed.to(images.device)
    pixels = priors.as_tensor() if hasattr(priors, "as_tensor") else priors
    mixed = allowed * images + (1 - allowed) * pixels.to(images.device, images.dtype)
    return Made(mixed, relevance, allowed)


class ControlledInferer(CounterfactualInferer):
    """`make` as a MONAI Inferer: the description travels with the image, and the region keeps the rest as it was.

    The network must be a generator of `control`.
    """

    def __call__(
        self,
        inputs: Tensor,
        network: Any,
        description: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Make counterfactuals, shape (B, 1, H, W) in [0, 1]; see `CounterfactualInferer` and `make`."""
        description, kwargs = what_is_carried(inputs, description, kwargs)
        return make(network, inputs, description or self.description or None, **kwargs).images


def _as_batch(region: Any, like: Tensor) -> Tensor:
    """A mask as float (B, 1, H, W)."""
    mask = torch.as_tensor(region).to(like.device).float()
    mask = mask if mask.ndim == 4 else mask[None, None]
    return mask.expand(len(like), -1, -1, -1)
