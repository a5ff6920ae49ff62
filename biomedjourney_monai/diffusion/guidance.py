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


class Guidance:
    """Predicts with guidance, in one batched call of three times the batch.

    What stays the same from step to step, prior latents and text, is put together once: a denoiser that keeps what it
    has computed of the text (`FastDenoiser`) sees the same tensor in every step.

    Args:
        denoiser: `denoiser(noisy_latent, timesteps, prior_latent, text_states)`.
        prior_latent: shape (B, C, h, w); the null image is zeros.
        text_states: shape (B, L, W).
        null_text_states: token states of the empty description, shape (1, L, W).
        image_scale: pull toward the prior image.
        text_scale: pull toward the description.

    Attributes:
        first: of the first guided call the noisy latent, the timestep, and the predictions without and with the
            description; None before.
    """

    def __init__(
        self,
        denoiser: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
        prior_latent: Tensor,
        text_states: Tensor,
        null_text_states: Tensor,
        *,
        image_scale: float,
        text_scale: float,
    ) -> None:
        self.denoiser, self.image_scale, self.text_scale = denoiser, image_scale, text_scale
        self.first: tuple[Tensor, Tensor, Tensor, Tensor] | None = None
        self.prior_latent, self.text_states = prior_latent, text_states
        null_text = null_text_states.expand(len(prior_latent), -1, -1)
        self.prior_latents = torch.cat([torch.zeros_like(prior_latent), prior_latent, prior_latent])
        self.texts = torch.cat([null_text, null_text, text_states])

    def __call__(self, noisy_latent: Tensor, timestep: Tensor, *, guided: bool = True) -> Tensor:
        """Predict, shape (B, C, h, w).

        Args:
            noisy_latent: shape (B, C, h, w).
            timestep: one integer.
            guided: off gives the prediction with both conditions as it is, at a third of the cost.
        """
        batch = len(noisy_latent)
        if not guided or self.image_scale == self.text_scale == 1:
            return self.denoiser(noisy_latent, timestep.expand(batch), self.prior_latent, self.text_states)
        predictions = self.denoiser(
            noisy_latent.repeat(3, 1, 1, 1), timestep.expand(3 * batch), self.prior_latents, self.texts
        )
        null, image_only, full = predictions.chunk(3)
        if self.first is None:
            self.first = noisy_latent, timestep, image_only, full
        return combine_guidance(null, image_only, full, image_scale=self.image_scale, text_scale=self.text_scale)
