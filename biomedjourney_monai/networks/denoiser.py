"""The denoiser: MONAI's diffusion UNet, conditioned on the prior latent and the text."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from monai.networks.nets import DiffusionModelUNet
from monai.networks.nets.diffusion_model_unet import SpatialTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.networks.distilled import DISTILLED_KEY, Distilled, ScaleEmbedding
from biomedjourney_monai.networks.prior_expectation import PriorExpectation


class Denoiser(nn.Module):
    """UNet on `cat([noisy latent, prior latent])` with cross-attention to projected text token states.

    The input channels of the first convolution that see the prior latent start at zero, so that training begins as
    text-to-image (Brooks et al. 2023, InstructPix2Pix, section 3.2).

    Args:
        latent_channels: channels C of a latent.
        text_width: width of the text encoder's token states.
        cross_attention_dim: width the token states are projected to by a learnable linear map.
        prior_expectation: turns the UNet's output into a clean latent, given the noisy and the prior latent; None for
            the output itself. Only for `prediction_type: sample`.
        residual_to_prior: add `scale_factor · prior_latent` to the output instead, so that the UNet predicts the
            change. Only for `prediction_type: sample`.
        scale_factor: the latent multiplier of the noisy latents; the prior latent is not scaled.
        transformer_norm_eps: epsilon of the group norm before each transformer; None for `norm_eps`. Stable Diffusion
            1.5 has 1e-6 here and a `norm_eps` of 1e-5; MONAI's network has one value for both.
        gradient_checkpointing: in training, compute the activations of the UNet's blocks again in the backward pass
            instead of keeping them: less memory, about a third more time, the same gradients.
        distilled: what a student of few steps is trained for, the attributes of `Distilled`; None for a teacher.
        channels, num_res_blocks, attention_levels, num_head_channels, norm_num_groups, norm_eps,
            transformer_num_layers, use_flash_attention: as in MONAI's `DiffusionModelUNet`.

    Attributes:
        scale_factor: saved with the weights.
        geometry: every setting that changes what the weights compute; saved with the weights.

    Raises:
        ConfigError: if both prior_expectation and residual_to_prior are given.
    """

    scale_factor: Tensor
    distilled: Distilled | None = None

    def __init__(
        self,
        *,
        latent_channels: int,
        text_width: int,
        cross_attention_dim: int,
        channels: Sequence[int],
        attention_levels: Sequence[bool],
        num_head_channels: int | Sequence[int],
        num_res_blocks: int = 1,
        norm_num_groups: int = 16,
        norm_eps: float = 1e-6,
        transformer_norm_eps: float | None = None,
        transformer_num_layers: int = 1,
        use_flash_attention: bool = False,
        prior_expectation: PriorExpectation | None = None,
        residual_to_prior: bool = False,
        scale_factor: float = 1.0,
        gradient_checkpointing: bool = False,
        distilled: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        _check_prior_settings(residual_to_prior, prior_expectation)
        sizes: dict[str, Any] = {
            "cross_attention_dim": cross_attention_dim,
            "num_res_blocks": num_res_blocks,
            "norm_num_groups": norm_num_groups,
            "norm_eps": norm_eps,
            "transformer_num_layers": transformer_num_layers,
        }
        self.unet = DiffusionModelUNet(
            **sizes,
            spatial_dims=2,
            in_channels=2 * latent_channels,
            out_channels=latent_channels,
            channels=tuple(channels),
            attention_levels=tuple(attention_levels),
            num_head_channels=num_head_channels if isinstance(num_head_channels, int) else tuple(num_head_channels),
            with_conditioning=True,
            use_flash_attention=use_flash_attention,
        )
        _adapt(self.unet, latent_channels, transformer_norm_eps, gradient_checkpointing=gradient_checkpointing)
        self.text_projection = nn.Linear(text_width, cross_attention_dim)
        self.geometry: dict[str, Any] = {
            **sizes,
            "class": type(self).__name__,
            "latent_channels": latent_channels,
            "text_width": text_width,
            "channels": list(channels),
            "attention_levels": list(attention_levels),
            "num_head_channels": _used_heads(num_head_channels, attention_levels),
            "transformer_norm_eps": norm_eps if transformer_norm_eps is None else transformer_norm_eps,
            "residual_to_prior": residual_to_prior,
            **({} if prior_expectation is None else {"prior_expectation": True}),
        }
        self.latent_channels, self.residual_to_prior = latent_channels, residual_to_prior
        self.prior_expectation = prior_expectation
        self.register_buffer("scale_factor", torch.tensor(float(scale_factor)))
        if distilled is not None:
            self.become_student(Distilled(**distilled))

    def become_student(self, distilled: Distilled) -> None:
        """Take guidance scales as inputs, which have no effect until training or weights give them one."""
        weight = next(self.parameters())
        width = 4 * self.geometry["channels"][0]
        with weight.device:
            embedding = ScaleEmbedding(distilled, width).to(weight.dtype)
        self.unet.num_class_embeds = 1  # MONAI adds the embedding of a class to that of the timestep
        self.unet.class_embedding = embedding  # type: ignore[assignment]
        self.distilled, self.geometry[DISTILLED_KEY] = distilled, distilled.facts()

    def forward(
        self,
        noisy_latent: Tensor,
        timesteps: Tensor,
        prior_latent: Tensor,
        text_states: Tensor,
        scales: Tensor | None = None,
    ) -> Tensor:
        """Predict noise, velocity or clean latent, as trained.

        Args:
            noisy_latent: z_t, shape (B, C, h, w).
            timesteps: shape (B,), integers in [0, T).
            prior_latent: unscaled posterior mode of the prior image, shape (B, C, h, w); zeros are the null image.
            text_states: token states, shape (B, L, text_width).
            scales: guidance scales of a student, shape (B, 2), text first; None for 1, no guidance.

        Returns:
            Shape (B, C, h, w).
        """
        prediction = self.unet(
            torch.cat([noisy_latent, prior_latent], dim=1),  # (B, 2C, h, w)
            timesteps,
            context=self.text_projection(text_states),
            class_labels=class_labels(self.distilled, noisy_latent, scales),
        )
        return add_prior(self, prediction, noisy_latent, timesteps, prior_latent)


def class_labels(distilled: Distilled | None, noisy_latent: Tensor, scales: Tensor | None) -> Tensor | None:
    """What MONAI's UNet takes as class labels: a student's guidance scales, shape (B, 2); None for a teacher."""
    if distilled is None or scales is not None:
        return scales
    return noisy_latent.new_ones(len(noisy_latent), 2)


class UsesPrior(Protocol):
    """The settings that `add_prior` reads."""

    prior_expectation: PriorExpectation | None
    residual_to_prior: bool
    scale_factor: Tensor


def _check_prior_settings(residual_to_prior: bool, prior_expectation: PriorExpectation | None) -> None:
    if residual_to_prior and prior_expectation is not None:
        raise ConfigError(
            "denoiser#residual_to_prior must be false with a prior_expectation, which replaces it",
            found="true",
            action="Pass --denoiser#residual_to_prior false, or --denoiser#prior_expectation '$None'",
        )


def add_prior(
    settings: UsesPrior, output: Tensor, noisy_latent: Tensor, timesteps: Tensor, prior_latent: Tensor
) -> Tensor:
    """Turn the UNet's output into the prediction, by adding the prior latent or its expectation if so configured.

    Args:
        settings: the denoiser.
        output: of the UNet, shape (B, C, h, w).
        noisy_latent, timesteps, prior_latent: as for `Denoiser.forward`.

    Returns:
        Shape (B, C, h, w).
    """
    if settings.prior_expectation is not None:
        return settings.prior_expectation(output, noisy_latent, timesteps, settings.scale_factor * prior_latent)
    if settings.residual_to_prior:
        return output + settings.scale_factor * prior_latent
    return output


def _adapt(
    unet: DiffusionModelUNet,
    latent_channels: int,
    transformer_norm_eps: float | None,
    *,
    gradient_checkpointing: bool,
) -> None:
    """Set what MONAI's UNet has no argument for, and start the prior latent's input channels at zero."""
    if transformer_norm_eps is not None:
        for module in unet.modules():
            if isinstance(module, SpatialTransformer):
                module.norm.eps = transformer_norm_eps
    if gradient_checkpointing:
        for block in (*unet.down_blocks, unet.middle_block, *unet.up_blocks):
            block.forward = partial(_compute_twice, block)  # the names of the weights stay
    first: nn.Conv2d = unet.conv_in.get_submodule("conv")  # type: ignore[assignment]
    with torch.no_grad():
        first.weight[:, latent_channels:].zero_()


def _compute_twice(block: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """The block's forward pass; if gradients are needed, without keeping its inner activations."""
    forward = partial(type(block).forward, block)
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


def _used_heads(num_head_channels: int | Sequence[int], attention_levels: Sequence[bool]) -> list[int]:
    """Channels of a head by level, 0 without attention; the middle block uses the last level's."""
    levels = len(attention_levels)
    heads = [num_head_channels] * levels if isinstance(num_head_channels, int) else list(num_head_channels)
    return [value if attention_levels[level] or level == levels - 1 else 0 for level, value in enumerate(heads)]
