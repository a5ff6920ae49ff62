"""Two-scale classifier-free guidance."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from biomedjourney_monai.networks.distilled import Distilled


class LatentDenoiser(Protocol):
    """A denoiser in latent space, for example `networks.denoiser.Denoiser`.

    Attributes:
        scale_factor: the latent multiplier; noisy latents are scaled, prior latents are not.

    A student of few steps has an attribute `distilled`, and takes the guidance scales as a fifth argument.
    """

    scale_factor: Tensor

    def __call__(
        self,
        noisy_latent: Tensor,
        timesteps: Tensor,
        prior_latent: Tensor,
        text_states: Tensor,
        scales: Tensor | None = None,
        /,
    ) -> Tensor: ...


@dataclass(frozen=True)
class Conditions:
    """What a batch of B cases is sampled from.

    Attributes:
        denoiser: predicts from a noisy latent, timesteps, prior latent and text.
        prior_latent: unscaled posterior mode of the prior image, shape (B, C, h, w).
        text_states: token states of the descriptions, shape (B, L, W).
        null_text_states: token states of the empty description, shape (1, L, W).
    """

    denoiser: LatentDenoiser
    prior_latent: Tensor
    text_states: Tensor
    null_text_states: Tensor

    @property
    def distilled(self) -> Distilled | None:
        """What the denoiser was trained for, if it is a student of few steps."""
        return getattr(self.denoiser, "distilled", None)

    @property
    def clean(self) -> Tensor:
        """The scaled latent of the prior, shape (B, C, h, w)."""
        return self.denoiser.scale_factor * self.prior_latent

    @property
    def null_states(self) -> Tensor:
        """The empty description for each case, shape (B, L, W)."""
        return self.null_text_states.expand(len(self.prior_latent), -1, -1)


def combine_guidance(
    null: Tensor, image_only: Tensor, full: Tensor, *, image_scale: float | Tensor, text_scale: float | Tensor
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
    """Predicts with guidance, in one batched call of three times the batch; a student needs no branches.

    Prior latents (the null image is zeros) and text are the same in every step, so they are concatenated once: a
    denoiser that caches what it computes from the text (`FastDenoiser`) gets the same tensor each time.

    Args:
        image_scale: pull toward the prior image; a number, or one for each case, shape (B, 1, 1, 1).
        text_scale: pull toward the description, the same.

    Attributes:
        first: of the first guided call the noisy latent, the timestep, and the predictions without and with the
            description; None before, and for a student.
    """

    def __init__(self, conditions: Conditions, *, image_scale: float | Tensor, text_scale: float | Tensor) -> None:
        self.conditions, self.image_scale, self.text_scale = conditions, image_scale, text_scale
        self.first: tuple[Tensor, Tensor, Tensor, Tensor] | None = None
        prior, null_states = conditions.prior_latent, conditions.null_states
        self.prior_latents, self.texts, self.scales = prior, conditions.text_states, None
        if conditions.distilled is not None:
            scales = conditions.distilled.scales(len(prior), text_scale=text_scale, image_scale=image_scale)
            self.scales = scales.to(prior.device)
        elif not self.is_plain:
            self.prior_latents = torch.cat([torch.zeros_like(prior), prior, prior])
            self.texts = torch.cat([null_states, null_states, conditions.text_states])

    @property
    def is_plain(self) -> bool:
        """Whether both scales are 1, so that guidance changes nothing."""
        return not any(isinstance(scale, Tensor) or scale != 1 for scale in (self.image_scale, self.text_scale))

    def __call__(self, noisy_latent: Tensor, timestep: Tensor, *, guided: bool = True) -> Tensor:
        """Predict from a latent, both of shape (B, C, h, w), at one integer timestep.

        `guided=False` returns the prediction with both conditions, at a third of the cost.
        """
        batch, given = len(noisy_latent), self.conditions
        if self.scales is not None:
            return given.denoiser(noisy_latent, timestep.expand(batch), self.prior_latents, self.texts, self.scales)
        if not guided or self.is_plain:
            return given.denoiser(noisy_latent, timestep.expand(batch), given.prior_latent, given.text_states)
        predictions = given.denoiser(
            noisy_latent.repeat(3, 1, 1, 1), timestep.expand(3 * batch), self.prior_latents, self.texts
        )
        null, image_only, full = predictions.chunk(3)
        if self.first is None:
            self.first = noisy_latent, timestep, image_only, full
        return combine_guidance(null, image_only, full, image_scale=self.image_scale, text_scale=self.text_scale)
