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
    on_step: Callable[[int], None] | None = None,
) -> Tensor:
    """Denoise from pure noise with DDIM (eta = 0).

    MONAI's own DDIM steps from t to t - T // N while its timesteps are spaced by `linspace`; here each step goes to
    the next timestep of the list, and the last one to the clean latent: diffusers' DDIM with
    `timestep_spacing="trailing"` and `set_alpha_to_one=True`.

    Args:
        predict: `predict(noisy_latent, timestep)` with an int64 scalar tensor as timestep.
        noise: standard normal, shape (B, C, h, w).
        alphas_cumprod: shape (T,), falling.
        steps: number of steps, in [1, T].
        prediction_type: what `predict` returns: epsilon, v_prediction or sample.
        on_step: called with the index of each finished step.

    Returns:
        The clean latent, shape (B, C, h, w).

    Source: Song et al. 2021, DDIM, equation 12.
    """
    alphas_cumprod = alphas_cumprod.to(noise.device, torch.float32)
    timesteps = trailing_timesteps(train_timesteps=len(alphas_cumprod), steps=steps).to(noise.device)
    latent = noise
    for index, timestep in enumerate(timesteps):
        following = alphas_cumprod[timesteps[index + 1]] if index + 1 < steps else alphas_cumprod.new_ones(())
        clean, direction = to_clean_and_noise(
            predict(latent, timestep).float(), latent, alphas_cumprod[timestep], prediction_type=prediction_type
        )
        latent = following.sqrt() * clean + (1 - following).sqrt() * direction
        if on_step:
            on_step(index)
    return latent
