"""diffusers' `config.json` of UNet, autoencoder and scheduler to the geometry of our networks, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from biomedjourney_monai.errors import WeightsError

TRANSFORMER_NORM_EPS = 1e-6
AUTOENCODER_NORM_EPS = 1e-6
"""Constants of diffusers' code, which no config can change."""
DOWN_TYPES = {True: "CrossAttnDownBlock2D", False: "DownBlock2D"}
UP_TYPES = {True: "CrossAttnUpBlock2D", False: "UpBlock2D"}

_UNET_OFF = "center_input_sample class_embeddings_concat dual_cross_attention only_cross_attention resnet_skip_time_act"
_UNET_ABSENT = (
    "addition_embed_type class_embed_type cross_attention_norm mid_block_only_cross_attention num_class_embeds "
    "reverse_transformer_layers_per_block time_cond_proj_dim time_embedding_act_fn time_embedding_dim timestep_post_act"
)
_UNET_FIXED: dict[str, Any] = {
    **dict.fromkeys(_UNET_OFF.split(), False),
    **dict.fromkeys(_UNET_ABSENT.split()),
    "act_fn": "silu",
    "attention_type": "default",
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "resnet_out_scale_factor": 1.0,
    "resnet_time_scale_shift": "default",
    "time_embedding_type": "positional",
}
_AUTOENCODER_FIXED: dict[str, Any] = {
    **dict.fromkeys(("latents_mean", "latents_std", "shift_factor")),
    **dict.fromkeys(("mid_block_add_attention", "use_post_quant_conv", "use_quant_conv"), True),
    "act_fn": "silu",
}
"""Settings with which diffusers' networks compute the same as ours."""


def denoiser_geometry(config: Mapping[str, Any]) -> dict[str, Any]:
    """The geometry of a `Denoiser` for a UNet's config, without its class, its input and its text width.

    Raises:
        WeightsError: if the denoiser cannot compute what the UNet does.
    """
    _require_fixed(config, _UNET_FIXED, network="UNet2DConditionModel")
    channels = list(config.get("block_out_channels", (320, 640, 1280, 1280)))
    down = config.get("down_block_types", [DOWN_TYPES[True]] * 3 + [DOWN_TYPES[False]])
    up = config.get("up_block_types", [UP_TYPES[False]] + [UP_TYPES[True]] * 3)
    attention = [kind == DOWN_TYPES[True] for kind in down]
    if list(down) != [DOWN_TYPES[a] for a in attention] or list(up) != [UP_TYPES[a] for a in reversed(attention)]:
        raise WeightsError(
            "a UNet's levels must be cross-attention or plain blocks, the same down and up",
            found=", ".join([*map(str, down), *map(str, up)]),
        )
    if config.get("encoder_hid_dim_type") not in (None, "text_proj"):
        raise WeightsError("encoder_hid_dim_type must be text_proj or null", found=str(config["encoder_hid_dim_type"]))
    heads = _by_level(config.get("num_attention_heads") or config.get("attention_head_dim", 8), len(channels))
    used = [a or level == len(channels) - 1 for level, a in enumerate(attention)]
    return {
        "latent_channels": config.get("out_channels", 4),
        "cross_attention_dim": config.get("cross_attention_dim", 1280),
        "channels": channels,
        "attention_levels": attention,
        "num_head_channels": [c // h if u else 0 for c, h, u in zip(channels, heads, used, strict=True)],
        "num_res_blocks": config.get("layers_per_block", 2),
        "norm_num_groups": config.get("norm_num_groups", 32),
        "norm_eps": config.get("norm_eps", 1e-5),
        "transformer_norm_eps": TRANSFORMER_NORM_EPS,
        "transformer_num_layers": config.get("transformer_layers_per_block", 1),
        "residual_to_prior": False,
    }


def unet_config(geometry: Mapping[str, Any]) -> dict[str, Any]:
    """A UNet's config for the geometry of a `Denoiser`, with the text projection as `encoder_hid_proj`.

    Raises:
        WeightsError: if diffusers' UNet cannot compute what the denoiser does.
    """
    for key in ("prior_expectation", "residual_to_prior"):
        if geometry.get(key):
            raise WeightsError(
                "a denoiser for diffusers must predict with its UNet alone",
                found=f"denoiser#{key}, which adds an estimate from the prior latent to the UNet's output",
                action="Train without it, as sd15.yaml does",
            )
    if geometry["transformer_norm_eps"] != TRANSFORMER_NORM_EPS:
        raise WeightsError(
            f"denoiser#transformer_norm_eps must be {TRANSFORMER_NORM_EPS}, the constant of diffusers",
            found=str(geometry["transformer_norm_eps"]),
        )
    channels, attention = geometry["channels"], geometry["attention_levels"]
    heads = [c // h if h else 1 for c, h in zip(channels, geometry["num_head_channels"], strict=True)]
    return {
        "_class_name": "UNet2DConditionModel",
        **_UNET_FIXED,
        "in_channels": 2 * geometry["latent_channels"],
        "out_channels": geometry["latent_channels"],
        "block_out_channels": list(channels),
        "down_block_types": [DOWN_TYPES[a] for a in attention],
        "up_block_types": [UP_TYPES[a] for a in reversed(attention)],
        "attention_head_dim": heads,  # diffusers means their number
        "layers_per_block": geometry["num_res_blocks"],
        "norm_num_groups": geometry["norm_num_groups"],
        "norm_eps": geometry["norm_eps"],
        "cross_attention_dim": geometry["cross_attention_dim"],
        "transformer_layers_per_block": geometry["transformer_num_layers"],
        "encoder_hid_dim": geometry["text_width"],
        "encoder_hid_dim_type": "text_proj",
    }


def autoencoder_geometry(config: Mapping[str, Any]) -> dict[str, Any]:
    """The geometry of a `StableDiffusionAutoencoder` for an autoencoder's config, without the image's channels.

    Raises:
        WeightsError: if ours cannot compute what the autoencoder does.
    """
    _require_fixed(config, _AUTOENCODER_FIXED, network="AutoencoderKL")
    kinds = {*config.get("down_block_types", ()), *config.get("up_block_types", ())}
    if not kinds <= {"DownEncoderBlock2D", "UpDecoderBlock2D"}:
        raise WeightsError("an autoencoder's levels must be plain blocks", found=", ".join(sorted(map(str, kinds))))
    return {
        "channels": list(config.get("block_out_channels", (64,))),
        "num_res_blocks": config.get("layers_per_block", 1),
        "latent_channels": config.get("latent_channels", 4),
        "norm_num_groups": config.get("norm_num_groups", 32),
        "norm_eps": AUTOENCODER_NORM_EPS,
    }


def autoencoder_config(geometry: Mapping[str, Any], *, scale_factor: float) -> dict[str, Any]:
    """An autoencoder's config for the geometry of a `StableDiffusionAutoencoder`.

    Raises:
        WeightsError: if diffusers' autoencoder cannot compute what ours does.
    """
    if geometry.get("class") != "StableDiffusionAutoencoder" or geometry["norm_eps"] != AUTOENCODER_NORM_EPS:
        raise WeightsError(
            "an autoencoder for diffusers must be a StableDiffusionAutoencoder with norm_eps 1e-6",
            found=f"{geometry.get('class')} with norm_eps {geometry.get('norm_eps', '(none)')}",
            action="Export a model of Stable Diffusion's geometry, e.g. with --overlay bundle/configs/sd15.yaml",
        )
    levels = len(geometry["channels"])
    return {
        "_class_name": "AutoencoderKL",
        **_AUTOENCODER_FIXED,
        "in_channels": geometry["in_channels"],
        "out_channels": geometry["out_channels"],
        "block_out_channels": list(geometry["channels"]),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": geometry["num_res_blocks"],
        "latent_channels": geometry["latent_channels"],
        "norm_num_groups": geometry["norm_num_groups"],
        "scaling_factor": scale_factor,
    }


def scheduler_signal(config: Mapping[str, Any]) -> torch.Tensor:
    """The cumulative product of 1 - beta of a scheduler's config, float64, shape (T,).

    Raises:
        WeightsError: if the schedule is not given in numbers, linear or scaled linear.
    """
    count = config.get("num_train_timesteps", 1000)
    start, end = config.get("beta_start", 1e-4), config.get("beta_end", 0.02)
    kind = config.get("beta_schedule", "linear")
    if config.get("trained_betas") is not None:
        betas = torch.tensor(config["trained_betas"], dtype=torch.float64)
    elif kind == "linear":
        betas = torch.linspace(start, end, count, dtype=torch.float64)
    elif kind == "scaled_linear":
        betas = torch.linspace(start**0.5, end**0.5, count, dtype=torch.float64) ** 2
    else:
        raise WeightsError("a noise schedule must be linear, scaled_linear or given in numbers", found=str(kind))
    return (1 - betas).cumprod(0)


def scheduler_config(betas: Sequence[float], *, prediction_type: str) -> dict[str, Any]:
    """The config of a `DDIMScheduler` with these betas, which samples as the bundle's DDIM does."""
    return {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": len(betas),
        "trained_betas": [float(beta) for beta in betas],
        "prediction_type": prediction_type,
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    }


def _by_level(value: Any, levels: int) -> list[int]:
    return list(value) if isinstance(value, (list, tuple)) else [value] * levels


def _require_fixed(config: Mapping[str, Any], fixed: Mapping[str, Any], *, network: str) -> None:
    wrong = [f"{key}: {config[key]}" for key, value in fixed.items() if config.get(key, value) != value]
    if config.get("_class_name", network) != network:
        wrong.insert(0, str(config["_class_name"]))
    if wrong:
        raise WeightsError(f"the source must be a plain {network}", found="; ".join(wrong))
