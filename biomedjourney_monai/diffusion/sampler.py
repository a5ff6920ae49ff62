"""The generator's sampler: a solver under two-scale guidance, from seeded noise or from the prior."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from biomedjourney_monai.diffusion.controls import Region, RegionLike, confine, start_from_prior
from biomedjourney_monai.diffusion.guidance import Conditions, Guidance, LatentDenoiser
from biomedjourney_monai.diffusion.schedule import NoiseSchedule, to_clean_and_noise
from biomedjourney_monai.diffusion.settings import RANDOM, SamplingSettings
from biomedjourney_monai.diffusion.solvers import DDIM, solve
from biomedjourney_monai.networks.generator import Sampled

FULL_INTERVAL = (0.0, 1.0)
ALWAYS_NAMED = {"steps": 10, "solver": DDIM, "text_guidance_scale": 1.0, "image_guidance_scale": 1.0}
DEFAULTS = {
    "guidance_interval": FULL_INTERVAL,
    "keep_unchanged": 0.0,
    "strength": 1.0,
    "init_noise": RANDOM,
    "average": 1,
}
"""Settings that metadata name only where they differ from these values; those of `ALWAYS_NAMED` are always named."""


def draw_noise(shape: Sequence[int], seeds: Sequence[int], *, count: int = 1) -> Tensor:
    """Standard normal noise for cases of shape (C, h, w), `count` for each; each case depends on its own seed alone.

    Returns:
        Shape (len(seeds) · count, C, h, w), case by case, on the CPU, so that a seed means the same on every device.
    """
    generators = (torch.Generator().manual_seed(seed) for seed in seeds)
    return torch.stack([torch.randn(tuple(shape), generator=own) for own in generators for _ in range(count)])


class CounterfactualSampler:
    """Draws the counterfactual's latent. A call changes nothing on the sampler, so threads may share it.

    Args:
        noise_scheduler: a MONAI noise scheduler.
        seed: of the noise where a call gives none.
        settings: of `SamplingSettings`; the defaults are `ALWAYS_NAMED` and `DEFAULTS`.

    Raises:
        SettingError: if a setting is out of range.
    """

    steps: int
    solver: str
    text_guidance_scale: float
    image_guidance_scale: float
    guidance_interval: tuple[float, float]
    keep_unchanged: float
    strength: float
    init_noise: str
    average: int

    def __init__(self, noise_scheduler: NoiseSchedule, *, seed: int = 0, **settings: Any) -> None:
        self.noise_scheduler, self.seed = noise_scheduler, seed
        self._take(SamplingSettings(**{**ALWAYS_NAMED, **DEFAULTS, **settings}))

    def _take(self, settings: SamplingSettings) -> None:
        for name, value in settings.given().items():
            setattr(self, name, value)

    def with_settings(self, settings: SamplingSettings) -> CounterfactualSampler:
        """A sampler with other settings and the same noise scheduler; None keeps this sampler's value."""
        changed = copy.copy(self)
        changed._take(settings)
        return changed

    def settings(self) -> dict[str, Any]:
        """The settings that a picture's metadata name; see `DEFAULTS`."""
        changed = [name for name, default in DEFAULTS.items() if getattr(self, name) != default]
        named = {name: getattr(self, name) for name in (*ALWAYS_NAMED, *changed)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in named.items()}

    @torch.no_grad()
    def __call__(
        self,
        denoiser: LatentDenoiser,
        prior_latent: Tensor,
        text_states: Tensor,
        null_text_states: Tensor,
        *,
        seeds: Sequence[int] | None = None,
        region: RegionLike | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> Sampled:
        """Draw latents; denoiser, prior latent and text are those of `Conditions`.

        Args:
            seeds: one for each case; None takes `seed` for every case.
            region: where change is allowed; None for everywhere.
            on_step: called after each denoising step with its index.

        Raises:
            ValueError: if the number of seeds differs from the number of cases.
            SettingError: if the denoiser is a student that was not trained for a setting.
        """
        seeds = [self.seed] * len(prior_latent) if seeds is None else list(seeds)
        if len(seeds) != len(prior_latent):
            raise ValueError(f"there must be one seed for each of {len(prior_latent)} cases, found {len(seeds)}")
        device, schedule = prior_latent.device, self.noise_scheduler
        count = self.average if self.init_noise == RANDOM else 1
        if count > 1:
            prior_latent, text_states = (each.repeat_interleave(count, 0) for each in (prior_latent, text_states))
            if isinstance(region, Tensor) and region.ndim == 4 and len(region) > 1:
                region = region.repeat_interleave(count, 0)
        given = Conditions(denoiser, prior_latent, text_states.to(device), null_text_states.to(device))
        if given.distilled is not None:
            given.distilled.check({name: getattr(self, name) for name in SamplingSettings.names()})
        noise = draw_noise(prior_latent.shape[1:], seeds, count=count).to(device)
        start, first_step = noise, 0
        if self.strength < 1 or self.init_noise != RANDOM:
            added = noise if self.init_noise == RANDOM else None
            start, first_step = start_from_prior(given, schedule, noise=added, strength=self.strength, steps=self.steps)
        confined = Region() if region is None else confine(region, given, schedule, noise=noise)
        guidance = Guidance(given, image_scale=self.image_guidance_scale, text_scale=self.text_guidance_scale)
        last = len(schedule.alphas_cumprod) - 1

        def predict(noisy_latent: Tensor, timestep: Tensor) -> Tensor:
            guided = self.guidance_interval[0] <= float(timestep) / last <= self.guidance_interval[1]
            return guidance(noisy_latent, timestep, guided=guided)

        latent = solve(
            predict,
            start,
            schedule.alphas_cumprod,
            solver=self.solver,
            steps=self.steps,
            prediction_type=str(schedule.prediction_type),
            first_step=first_step,
            blend=confined.blend,
            on_step=on_step,
        )
        others = (*self._first_expected(guidance), confined.relevance, confined.allowed)
        return Sampled(_mean_of(latent, count), *(None if each is None else _mean_of(each, count) for each in others))

    def _first_expected(self, guidance: Guidance) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """The clean latents that the first guided step expects, without and with the description."""
        if guidance.first is None:
            return None, None
        noisy_latent, timestep, *predictions = guidance.first
        alpha = self.noise_scheduler.alphas_cumprod.to(noisy_latent.device)[timestep]
        kind = str(self.noise_scheduler.prediction_type)
        without, within = (
            to_clean_and_noise(prediction, noisy_latent, alpha, prediction_type=kind)[0] for prediction in predictions
        )
        return without, within


def _mean_of(values: Tensor, count: int) -> Tensor:
    """The mean over the `count` noises of each case."""
    return values if count == 1 else values.unflatten(0, (-1, count)).mean(dim=1)
