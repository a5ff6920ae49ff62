"""The noise from which a prior image would have been sampled."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from biomedjourney_monai.diffusion.schedule import to_clean_and_noise


@torch.no_grad()
def invert(
    predict: Callable[[Tensor, Tensor], Tensor],
    clean: Tensor,
    alphas_cumprod: Tensor,
    *,
    timesteps: Tensor,
    prediction_type: str,
) -> Tensor:
    """Follow DDIM's path backwards, from a clean latent to a noisy one.

    Each step uses the noise that is predicted at the level reached so far, which is exact for infinitely small steps
    only: sampling from the result comes close to the clean latent.

    Args:
        predict: `predict(noisy_latent, timestep)` with an int64 scalar tensor as timestep.
        clean: scaled latent, shape (B, C, h, w).
        alphas_cumprod: shape (T,), falling.
        timesteps: to pass through, rising, int64, shape (N,).
        prediction_type: what `predict` returns.

    Returns:
        The latent at the last timestep, shape (B, C, h, w).

    Source: Song et al. 2021, DDIM, section 4.3.
    """
    alphas_cumprod = alphas_cumprod.to(clean.device, torch.float32)
    latent, at = clean, timesteps[0]
    for timestep in timesteps.to(clean.device):
        prediction = predict(latent, at).float()
        start, noise = to_clean_and_noise(prediction, latent, alphas_cumprod[at], prediction_type=prediction_type)
        signal = alphas_cumprod[timestep]
        latent = signal.sqrt() * start + (1 - signal).sqrt() * noise
        at = timestep
    return latent
