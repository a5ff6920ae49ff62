"""Noise schedules: timesteps, adding noise, and conversions between what a denoiser may predict."""

from typing import Protocol

import torch
from torch import Tensor

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


class NoiseSchedule(Protocol):
    """What sampling needs of a MONAI noise scheduler.

    Attributes:
        alphas_cumprod: share of signal variance at each timestep, shape (T,), falling.
        prediction_type: one of `PREDICTION_TYPES`.
    """

    alphas_cumprod: Tensor
    prediction_type: str


def add_noise(clean: Tensor, noise: Tensor, signal: Tensor | float) -> Tensor:
    """Bring a clean latent to a noise level; `signal` is the share of signal variance, alpha_cumprod."""
    signal = torch.as_tensor(signal, device=clean.device, dtype=torch.float32)
    return signal.sqrt() * clean + (1 - signal).sqrt() * noise


def to_clean_and_noise(
    prediction: Tensor, noisy_latent: Tensor, alpha_cumprod: Tensor, *, prediction_type: str
) -> tuple[Tensor, Tensor]:
    """Turn a prediction into the pair (clean latent, noise) that it implies.

    Args:
        prediction: the denoiser's output, shape (B, C, h, w).
        noisy_latent: z_t = sqrt(alpha_cumprod) · clean + sqrt(1 - alpha_cumprod) · noise, same shape.
        alpha_cumprod: share of signal variance at this timestep, a scalar tensor in (0, 1).
        prediction_type: one of PREDICTION_TYPES.

    Raises:
        ValueError: if the prediction type is unknown.
    """
    signal, sigma = alpha_cumprod.sqrt(), (1 - alpha_cumprod).sqrt()
    if prediction_type == "epsilon":
        return (noisy_latent - sigma * prediction) / signal, prediction
    if prediction_type == "sample":
        return prediction, (noisy_latent - signal * prediction) / sigma.clamp_min(1e-6)
    if prediction_type == "v_prediction":
        return signal * noisy_latent - sigma * prediction, signal * prediction + sigma * noisy_latent
    raise ValueError(f"prediction_type must be one of {PREDICTION_TYPES}, found {prediction_type!r}")


def from_clean(clean: Tensor, noisy_latent: Tensor, alpha_cumprod: Tensor, *, prediction_type: str) -> Tensor:
    """The prediction that implies a clean latent, the inverse of `to_clean_and_noise`.

    Args:
        clean: shape (B, C, h, w).
        noisy_latent: same shape.
        alpha_cumprod: share of signal variance, a tensor of shape (B, 1, 1, 1) or a scalar, in (0, 1).
        prediction_type: one of PREDICTION_TYPES.
    """
    signal, sigma = alpha_cumprod.sqrt(), (1 - alpha_cumprod).sqrt().clamp_min(1e-6)
    if prediction_type == "sample":
        return clean
    noise = (noisy_latent - signal * clean) / sigma
    return noise if prediction_type == "epsilon" else signal * noise - sigma * clean


def trailing_timesteps(*, train_timesteps: int, steps: int) -> Tensor:
    """Evenly spaced timesteps from the last one down; diffusers' `timestep_spacing="trailing"`.

    Sampling starts from pure noise, so its first timestep must be the last of the schedule. InstructPix2Pix's leading
    spacing starts at 901 of 1000 in ten steps, at 501 in two and at 1 in one.

    Args:
        train_timesteps: T.
        steps: N.

    Returns:
        int64, shape (N,), from T - 1 down to about T / N - 1.

    Raises:
        ValueError: unless 1 <= steps <= train_timesteps.

    Source: Lin et al. 2023, Common Diffusion Noise Schedules and Sample Steps are Flawed, section 3.3.
    """
    if not 1 <= steps <= train_timesteps:
        raise ValueError(f"steps must be in [1, {train_timesteps}], found {steps}")
    return torch.tensor([round(train_timesteps - index * train_timesteps / steps) - 1 for index in range(steps)])
