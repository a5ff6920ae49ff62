"""The sampler that the generator calls: a solver under two-scale guidance, from seeded noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from biomedjourney_monai.diffusion.guidance import Guidance
from biomedjourney_monai.diffusion.schedule import to_clean_and_noise
from biomedjourney_monai.diffusion.solvers import DDIM, SOLVERS, solve
from biomedjourney_monai.errors import ConfigError


def draw_noise(shape: Sequence[int], seeds: Sequence[int]) -> Tensor:
    """Standard normal noise in which each case depends on its own seed alone.

    Args:
        shape: of one case, (C, h, w).
        seeds: one for each case.

    Returns:
        Shape (len(seeds), C, h, w), on the CPU, so that a seed means the same on every device.
    """
    return torch.stack([torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed)) for seed in seeds])


class CounterfactualSampler:
    """Draws the counterfactual's latent.

    Args:
        noise_scheduler: MONAI noise scheduler; gives `alphas_cumprod` and `prediction_type`.
        steps: denoising steps.
        solver: one of `solvers.SOLVERS`.
        guidance_interval: guide only between these two noise levels, as shares of the schedule's timesteps, 0 for clean
            and 1 for noise; outside, the prediction with both conditions is taken as it is, at a third of the cost.
        text_guidance_scale: pull toward the description; 1 is none beyond the condition itself.
        image_guidance_scale: pull toward the prior image.
        seed: for the noise where the call gives none.
        keep_unchanged: where the counterfactual differs from the prior by less than this grey value, in [0, 1], the
            generator puts the prior's own pixels back; 0 for nowhere. See `networks.unchanged`.
        on_step: called after each denoising step with its index.

    Attributes:
        first_expected: the clean scaled latents that the first guided step of the last call expected, without and with
            the description, shape (B, C, h, w) each; None where no step was guided.
    """

    def __init__(
        self,
        noise_scheduler: torch.nn.Module,
        *,
        steps: int = 10,
        text_guidance_scale: float = 1.0,
        image_guidance_scale: float = 1.0,
        seed: int = 0,
        solver: str = DDIM,
        guidance_interval: Sequence[float] = (0.0, 1.0),
        keep_unchanged: float = 0.0,
        on_step: Callable[[int], None] | None = None,
    ) -> None:
        low, high = guidance_interval
        if not 0 <= low < high <= 1:
            raise ConfigError("guidance_interval must be two rising numbers in [0, 1]", found=f"{low}, {high}")
        if solver not in SOLVERS:
            raise ConfigError(f"the solver must be one of {', '.join(SOLVERS)}", found=str(solver))
        if not 0 <= keep_unchanged <= 1:
            raise ConfigError("keep_unchanged must be in [0, 1]", found=str(keep_unchanged))
        self.keep_unchanged = float(keep_unchanged)
        self.solver, self.guidance_interval = solver, (float(low), float(high))
        self.noise_scheduler = noise_scheduler
        self.steps = steps
        self.text_guidance_scale = text_guidance_scale
        self.image_guidance_scale = image_guidance_scale
        self.seed = seed
        self.on_step = on_step
        self.first_expected: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def __call__(
        self,
        denoiser: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
        prior_latent: Tensor,
        text_states: Tensor,
        null_text_states: Tensor,
        *,
        seeds: Sequence[int] | None = None,
        start_latent: Tensor | None = None,
        first_step: int = 0,
        blend: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Draw latents.

        Args:
            denoiser: `denoiser(noisy_latent, timesteps, prior_latent, text_states)`.
            prior_latent: unscaled posterior mode of the prior image, shape (B, C, h, w).
            text_states: shape (B, L, W).
            null_text_states: of the empty description, shape (1, L, W).
            seeds: one for each case; default: `seed` for every case.
            start_latent: to start from instead of the seeds' noise, shape (B, C, h, w).
            first_step: leave out so many of the first steps (DDIM only).
            blend: `blend(latent, signal)` after each step; see `ddim_sample`.

        Returns:
            Clean scaled latents, shape (B, C, h, w).
        """
        seeds = [self.seed] * len(prior_latent) if seeds is None else list(seeds)
        if len(seeds) != len(prior_latent):
            raise ValueError(f"there must be one seed for each of {len(prior_latent)} cases, found {len(seeds)}")
        device = prior_latent.device
        text_states, null_text_states = text_states.to(device), null_text_states.to(device)

        last = len(self.noise_scheduler.alphas_cumprod) - 1
        guidance = Guidance(
            denoiser,
            prior_latent,
            text_states,
            null_text_states,
            image_scale=self.image_guidance_scale,
            text_scale=self.text_guidance_scale,
        )

        def predict(noisy_latent: Tensor, timestep: Tensor) -> Tensor:
            guided = self.guidance_interval[0] <= float(timestep) / last <= self.guidance_interval[1]
            return guidance(noisy_latent, timestep, guided=guided)

        latent = solve(
            predict,
            draw_noise(prior_latent.shape[1:], seeds).to(device) if start_latent is None else start_latent,
            self.noise_scheduler.alphas_cumprod,
            solver=self.solver,
            steps=self.steps,
            prediction_type=str(self.noise_scheduler.prediction_type),
            first_step=first_step,
            blend=blend,
            on_step=self.on_step,
        )
        self.first_expected = self._first_expected(guidance)
        return latent

    def _first_expected(self, guidance: Guidance) -> tuple[Tensor, Tensor] | None:
        if guidance.first is None:
            return None
        noisy_latent, timestep, *predictions = guidance.first
        alpha = self.noise_scheduler.alphas_cumprod.to(noisy_latent.device)[timestep]
        kind = str(self.noise_scheduler.prediction_type)
        without, within = (
            to_clean_and_noise(prediction, noisy_latent, alpha, prediction_type=kind)[0] for prediction in predictions
        )
        return without, within
