"""A linear expectation of the next latent, given the prior latent and the noisy latent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from biomedjourney_monai.networks.weights.geometry import GEOMETRY_KEY

BUFFERS = ("share", "spread", "alone")
OUTPUT = "denoiser.unet.out.2.conv"
"""The UNet's last convolution in a model file."""


class PriorExpectation(nn.Module):
    """Turns a network's output into a clean latent: a linear expectation, plus the network's correction.

    In each channel the next latent is modelled as normal, with mean `share` times the prior latent and standard
    deviation `spread`. With the noisy latent this gives an expectation and a remaining standard deviation; the network
    predicts the remainder in units of the latter. It therefore need not copy the prior or a nearly clean latent, and
    its output has the same size at every timestep and in every channel. Coarse channels follow the prior (`share` near
    1), fine texture hardly does (near 0).

    A constant prior, such as the null image and the dummy prior, carries no information: there the next latent is
    modelled with mean 0 and standard deviation `alone`.

    Args:
        channels: C of a latent.
        alphas_cumprod: share of signal variance by timestep, shape (T,).

    Attributes:
        share, spread, alone: shape (C,); saved with the weights; 1 until `fit`.

    Source: Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models, section 5, here with
    a mean other than 0.
    """

    share: Tensor
    spread: Tensor
    alone: Tensor
    alphas_cumprod: Tensor

    def __init__(self, *, channels: int, alphas_cumprod: Tensor) -> None:
        super().__init__()
        for name in BUFFERS:
            self.register_buffer(name, torch.ones(channels))
        self.register_buffer("alphas_cumprod", alphas_cumprod.detach().clone().float(), persistent=False)

    @torch.no_grad()
    def fit(self, prior: Tensor, new: Tensor) -> PriorExpectation:
        """Regress next latents on prior ones, channel by channel, without an intercept; returns itself.

        Args:
            prior: scaled latents, shape (N, C, h, w).
            new: the next latents, same shape.

        Raises:
            ValueError: if there are none, or if the shapes differ.
        """
        if prior.shape != new.shape or not len(prior):
            raise ValueError(f"latents must be at least one pair of equal shape, found {prior.shape} and {new.shape}")
        prior, new = prior.double(), new.double()
        over = (0, 2, 3)
        share = (prior * new).mean(over) / prior.square().mean(over).clamp_min(1e-12)
        self.share.copy_(share)
        self.spread.copy_((new - share[:, None, None] * prior).square().mean(over).sqrt().clamp_min(1e-3))
        self.alone.copy_(new.square().mean(over).sqrt().clamp_min(1e-3))
        return self

    def forward(self, output: Tensor, noisy_latent: Tensor, timesteps: Tensor, prior: Tensor) -> Tensor:
        """Add the expectation to the network's output.

        Args:
            output: of the network, shape (B, C, h, w).
            noisy_latent: z_t, same shape.
            timesteps: shape (B,) or (1,), integers in [0, T).
            prior: scaled prior latent, same shape as the output.

        Returns:
            The clean scaled latent, same shape, float32.
        """
        signal = self.alphas_cumprod[timesteps.long()].reshape(-1, 1, 1, 1)  # variance; that of the noise is 1 - signal
        share, spread, alone = (value.float()[:, None, None] for value in (self.share, self.spread, self.alone))
        blank = (prior == prior[..., :1, :1]).flatten(1).all(1).reshape(-1, 1, 1, 1)
        expected = torch.where(blank, 0.0, share * prior.float())
        variance = torch.where(blank, alone, spread).square()  # (B, C, 1, 1)
        total = signal * variance + 1 - signal  # of z_t around its expectation
        innovation = noisy_latent.float() - signal.sqrt() * expected
        unknown = (variance * (1 - signal) / total).sqrt()
        return expected + signal.sqrt() * variance / total * innovation + unknown * output.float()


def is_residual(info: Mapping[str, Any]) -> bool:
    """Whether a model's denoiser adds the prior latent to the UNet's output, according to the facts in its file."""
    return bool(info.get(GEOMETRY_KEY, {}).get("denoiser", {}).get("residual_to_prior"))


def from_residual(
    state: Mapping[str, Tensor], info: Mapping[str, Any], expectation: PriorExpectation
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Convert a model with `residual_to_prior` to one with a fitted expectation, as a start for training.

    At the noisiest timestep both predict prior plus change, the first as it is and the second in units of `spread`, so
    the last convolution is divided by it. At less noise they differ: the result must be trained further.

    Returns:
        Tensors and facts of the new model; the arguments are not changed.
    """
    state = dict(state)
    shape = (-1, 1, 1, 1)
    state[f"{OUTPUT}.weight"] = state[f"{OUTPUT}.weight"].float() / expectation.spread.reshape(shape)
    state[f"{OUTPUT}.bias"] = state[f"{OUTPUT}.bias"].float() / expectation.spread
    state |= {f"denoiser.prior_expectation.{name}": getattr(expectation, name).clone() for name in BUFFERS}
    geometry = dict(info[GEOMETRY_KEY])
    geometry["denoiser"] = {**geometry["denoiser"], "residual_to_prior": False, "prior_expectation": True}
    return state, {**info, GEOMETRY_KEY: geometry}
