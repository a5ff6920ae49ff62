"""What the prior latent and the noisy latent tell of the next latent, before any network has looked at them."""

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
    """Turns a network's output into a clean latent: a linear expectation, and what the network adds to it.

    Channel by channel, the next latent is taken for normal around `share` times the prior latent with the standard
    deviation `spread`. Together with the noisy latent that gives an expectation and what is left unknown about it; the
    network predicts the rest in units of the latter. So it need copy neither the noisy latent, once that is clean, nor
    the prior, and its output has one size at every timestep and in every channel. Coarse channels follow the prior
    (`share` near 1); fine texture hardly does (near 0), and adding the whole prior there would only add an error to be
    undone.

    A prior that is the same everywhere, as the null image and the dummy prior are, tells nothing: there the next latent
    is taken for normal around 0 with the standard deviation `alone`.

    Args:
        channels: C of a latent.
        alphas_cumprod: share of signal variance by timestep, shape (T,).

    Attributes:
        share, spread, alone: shape (C,); saved with the weights; 1 until `fit`.

    Source: Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models, section 5, for a
    mean that is not 0.
    """

    def __init__(self, *, channels: int, alphas_cumprod: Tensor) -> None:
        super().__init__()
        for name in BUFFERS:
            self.register_buffer(name, torch.ones(channels))
        self.register_buffer("alphas_cumprod", alphas_cumprod.detach().clone().float(), persistent=False)

    @torch.no_grad()
    def fit(self, prior: Tensor, new: Tensor) -> PriorExpectation:
        """Regress next latents on prior ones, channel by channel, without an intercept.

        Args:
            prior: scaled latents, shape (N, C, h, w).
            new: the next ones, same shape.

        Returns:
            Itself.

        Raises:
            ValueError: if there is none, or if the shapes differ.
        """
        if prior.shape != new.shape or not len(prior):
            raise ValueError(f"pairs of latents must be at least one, of one shape; found {prior.shape}, {new.shape}")
        prior, new = prior.double(), new.double()
        over = (0, 2, 3)
        share = (prior * new).mean(over) / prior.square().mean(over).clamp_min(1e-12)
        self.share.copy_(share)
        self.spread.copy_((new - share[:, None, None] * prior).square().mean(over).sqrt().clamp_min(1e-3))
        self.alone.copy_(new.square().mean(over).sqrt().clamp_min(1e-3))
        return self

    def forward(self, output: Tensor, noisy_latent: Tensor, timesteps: Tensor, prior: Tensor) -> Tensor:
        """Add the expectation to what the network says.

        Args:
            output: the network's, shape (B, C, h, w).
            noisy_latent: z_t, same shape.
            timesteps: shape (B,) or (1,), integers in [0, T).
            prior: scaled prior latent, same shape as the output.

        Returns:
            The clean scaled latent, same shape, float32.
        """
        signal = self.alphas_cumprod[timesteps.long()].reshape(-1, 1, 1, 1)  # variance; the noise's is 1 - signal
        share, spread, alone = (getattr(self, name).float()[:, None, None] for name in BUFFERS)
        blank = (prior == prior[..., :1, :1]).flatten(1).all(1).reshape(-1, 1, 1, 1)
        expected = torch.where(blank, 0.0, share * prior.float())
        variance = torch.where(blank, alone, spread).square()  # (B, C, 1, 1)
        total = signal * variance + 1 - signal  # of z_t around its expectation
        innovation = noisy_latent.float() - signal.sqrt() * expected
        unknown = (variance * (1 - signal) / total).sqrt()
        return expected + signal.sqrt() * variance / total * innovation + unknown * output.float()


def is_residual(info: Mapping[str, Any]) -> bool:
    """Whether the facts beside a model's weights say that its denoiser adds the prior latent to the UNet's output."""
    return bool(info.get(GEOMETRY_KEY, {}).get("denoiser", {}).get("residual_to_prior"))


def from_residual(
    state: Mapping[str, Tensor], info: Mapping[str, Any], expectation: PriorExpectation
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Put the UNet of a model with `residual_to_prior` under an expectation, to be trained on.

    At the noisiest timestep both say prior plus change, which this UNet gives as it is and the new one in units of
    `spread`, so the last convolution is divided by it. At cleaner ones they differ: the result is a start, not a model.

    Args:
        state, info: of the model file.
        expectation: fitted.

    Returns:
        Both, changed; the arguments are left as they are.
    """
    state = dict(state)
    shape = (-1, 1, 1, 1)
    state[f"{OUTPUT}.weight"] = state[f"{OUTPUT}.weight"].float() / expectation.spread.reshape(shape)
    state[f"{OUTPUT}.bias"] = state[f"{OUTPUT}.bias"].float() / expectation.spread
    state |= {f"denoiser.prior_expectation.{name}": getattr(expectation, name).clone() for name in BUFFERS}
    geometry = dict(info[GEOMETRY_KEY])
    geometry["denoiser"] = {**geometry["denoiser"], "residual_to_prior": False, "prior_expectation": True}
    return state, {**info, GEOMETRY_KEY: geometry}
