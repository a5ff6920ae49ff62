"""Two-scale classifier-free guidance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def combine_guidance(
    null: Tensor, image_only: Tensor, full: Tensor, *, image_scale: float, text_scale: float
) -> Tensor:
    """Combine three predictions with separate guidance scales.

    Args:
        null: neither condition, shape (B, C, H, W).
        image_only: prior latent only, same shape.
        full: prior latent and text, same shape.
        image_scale: pull toward the prior image.
        text_scale: pull toward the description; with both 1 this returns `full`.

    Raises:
        ValueError: if the shapes differ.

    Source: Brooks et al. 2023, InstructPix2Pix, section 3.2.1.
    """
    if not null.shape == image_only.shape == full.shape:
        raise ValueError(f"shapes must agree, found {null.shape}, {image_only.shape}, {full.shape}")
    return null + image_scale * (image_only - null) + text_scale * (full - image_only)


def guided_prediction(
    denoiser: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    noisy_latent: Tensor,
    timestep: Tensor,
    prior_latent: Tensor,
    text_states: Tensor,
    null_text_states: Tensor,
    *,
    image_scale: float,
    text_scale: float,
) -> Tensor:
    """Predict with guidance in one batched call of three times the batch.

    Args:
        denoiser: `denoiser(noisy_latent, timesteps, prior_latent, text_states)`.
        noisy_latent: shape (B, C, h, w).
        timestep: one integer.
        prior_latent: shape (B, C, h, w); the null image is zeros.
        text_states: shape (B, L, W).
        null_text_states: token states of the empty description, shape (1, L, W).

    Returns:
        Shape (B, C, h, w).
    """
    batch = len(noisy_latent)
    if image_scale == 1 and text_scale == 1:
        return denoiser(noisy_latent, timestep.expand(batch), prior_latent, text_states)
    null_text = null_text_states.expand(batch, -1, -1)
    predictions = denoiser(
        noisy_latent.repeat(3, 1, 1, 1),
        timestep.expand(3 * batch),
        torch.cat([torch.zeros_like(prior_latent), prior_latent, prior_latent]),
        torch.cat([null_text, null_text, text_states]),
    )
    return combine_guidance(*predictions.chunk(3), image_scale=image_scale, text_scale=text_scale)
