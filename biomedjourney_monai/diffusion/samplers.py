"""Deterministic DDIM that lands on its own timesteps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from biomedjourney_monai.diffusion.schedule import to_clean_and_noise, trailing_timesteps


def ddim_sample(
    predict: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    alphas_cumprod: Tensor,
    *,
    steps: int,
    prediction_type: str,
    first_step: int = 0,
    blend: Callable[[Tensor, Tensor], Tensor] | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Tensor:
    """Denoise with DDIM (eta = 0).

    MONAI's own DDIM steps from t to t - T // N while its timesteps are spaced by `linspace`; here each step goes to
    the next timestep of the list, and the last one to the clean latent: diffusers' DDIM with
    `timestep_spacing="trailing"` and `set_alpha_to_one=True`.

    Args:
        predict: `predict(noisy_latent, timestep)` with an int64 scalar tensor as timestep.
        noise: the latent to start from, shape (B, C, h, w); standard normal unless `first_step` is above 0.
        alphas_cumprod: shape (T,), falling.
        steps: number of steps, in [1, T].
        prediction_type: what `predict` returns: epsilon, v_prediction or sample.
        first_step: leave out so many of the first steps; `noise` is then at the noise level of this step's timestep.
        blend: `blend(latent, signal)` after each step, with the share of signal variance that was reached, a scalar
            tensor in (0, 1]; what it returns goes on.
        on_step: called with the index of each finished step.

    Returns:
        The clean latent, shape (B, C, h, w).

    Source: Song et al. 2021, DDIM, equation 12.
    """
    alphas_cumprod = alphas_cumprod.to(noise.device, torch.float32)
    timesteps = trailing_timesteps(train_timesteps=len(alphas_cumprod), steps=steps).to(noise.device)
    latent = noise
    for index in range(first_step, steps):
        timestep = timesteps[index]
        following = alphas_cumprod[timesteps[index + 1]] if index + 1 < steps else alphas_cumprod.new_ones(())
        clean, direction = to_clean_and_noise(
            predict(latent, timestep).float(), latent, alphas_cumprod[timestep], prediction_type=prediction_type
        )
        latent = following.sqrt() * clean + (1 - following).sqrt() * direction
        if blend:
            latent = blend(latent, following)
        if on_step:
            on_step(index)
    return latent
