"""Names of the original latent-diffusion code (CompVis; Stable Diffusion 1.5, InstructPix2Pix) to diffusers' names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.weights.formats.renaming import StateDict, rename_all, renamer

UNET_PREFIX, AUTOENCODER_PREFIX = "model.diffusion_model.", "first_stage_model."
TEXT_PREFIX, AVERAGE_PREFIX = "cond_stage_model.", "model_ema."
SCHEDULE = frozenset(
    "betas alphas_cumprod alphas_cumprod_prev sqrt_alphas_cumprod sqrt_one_minus_alphas_cumprod "
    "log_one_minus_alphas_cumprod sqrt_recip_alphas_cumprod sqrt_recipm1_alphas_cumprod posterior_variance "
    "posterior_log_variance_clipped posterior_mean_coef1 posterior_mean_coef2 lvlb_weights logvar scale_factor".split()
)
"""Buffers of the noise schedule, which follow from the configuration."""

_RES_BLOCK = (
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
)
_UNET_ENDS = (
    ("input_blocks.0.0", "conv_in"),
    ("time_embed.0", "time_embedding.linear_1"),
    ("time_embed.2", "time_embedding.linear_2"),
    ("out.0", "conv_norm_out"),
    ("out.2", "conv_out"),
    ("middle_block.0", "mid_block.resnets.0"),
    ("middle_block.1", "mid_block.attentions.0"),
    ("middle_block.2", "mid_block.resnets.1"),
)
_AUTOENCODER = (
    ("nin_shortcut", "conv_shortcut"),
    ("norm_out", "conv_norm_out"),
    ("mid.block_1", "mid_block.resnets.0"),
    ("mid.block_2", "mid_block.resnets.1"),
    ("mid.attn_1.norm", "mid_block.attentions.0.group_norm"),
    ("mid.attn_1.q", "mid_block.attentions.0.to_q"),
    ("mid.attn_1.k", "mid_block.attentions.0.to_k"),
    ("mid.attn_1.v", "mid_block.attentions.0.to_v"),
    ("mid.attn_1.proj_out", "mid_block.attentions.0.to_out.0"),
)


@dataclass(frozen=True)
class CompVisParts:
    """A checkpoint taken apart, names without prefixes.

    Args:
        unet: tensors of the UNet, averaged if `averaged`.
        autoencoder: tensors of the first stage.
        averaged: whether the UNet's tensors are the averaged ones.
        set_aside: how many tensors of each known kind are not used.
        surplus: names of no known kind.
        signal: `alphas_cumprod` of the noise schedule, shape (T,), if it is there.
        scale_factor: the latent multiplier, if it is there.
    """

    unet: StateDict
    autoencoder: StateDict
    averaged: bool
    set_aside: dict[str, int]
    surplus: list[str]
    signal: Tensor | None = None
    scale_factor: float | None = None


def take_apart(state: Mapping[str, Tensor], *, averaged: bool = True) -> CompVisParts:
    """Sort a checkpoint's tensors by what they belong to.

    Args:
        state: the checkpoint's `state_dict`.
        averaged: take the exponential moving average of the UNet if there is one.

    Raises:
        WeightsError: if the average lacks a tensor that the UNet has.
    """
    unet, autoencoder, average, surplus = {}, {}, {}, []
    counts = dict.fromkeys(("text encoder", "noise schedule", "training loss", "averaging", "UNet not averaged"), 0)
    for name, value in state.items():
        if name.startswith(UNET_PREFIX):
            unet[name.removeprefix(UNET_PREFIX)] = value
        elif name.startswith(f"{AUTOENCODER_PREFIX}loss."):
            counts["training loss"] += 1
        elif name.startswith(AUTOENCODER_PREFIX):
            autoencoder[name.removeprefix(AUTOENCODER_PREFIX)] = value
        elif name.startswith(TEXT_PREFIX):
            counts["text encoder"] += 1
        elif name in SCHEDULE:
            counts["noise schedule"] += 1
        elif name in (f"{AVERAGE_PREFIX}decay", f"{AVERAGE_PREFIX}num_updates"):
            counts["averaging"] += 1
        elif name.startswith(AVERAGE_PREFIX):
            average[name.removeprefix(AVERAGE_PREFIX)] = value
        else:
            surplus.append(name)
    has_average = bool(average) and averaged
    if has_average:
        counts["UNet not averaged"] = len(unet)
        unet = _averaged(unet, average, surplus)
    else:
        counts["averaging"] += len(average)
    scale = state.get("scale_factor")
    return CompVisParts(
        unet=unet,
        autoencoder=autoencoder,
        averaged=has_average,
        set_aside={kind: count for kind, count in counts.items() if count},
        surplus=surplus,
        signal=state.get("alphas_cumprod"),
        scale_factor=None if scale is None else float(scale),
    )


def unet_to_diffusers(state: Mapping[str, Tensor]) -> StateDict:
    """Rename the UNet's tensors (without prefix) to diffusers' names; any number of levels and residual blocks."""
    per_level = _blocks_per_level(state) + 1
    ends, inner = renamer(_UNET_ENDS), renamer(_RES_BLOCK)

    def rename(name: str) -> str:
        match = re.match(r"(input|output)_blocks\.(\d+)\.(\d+)\.(.+)", name)
        if match is None or name.startswith("input_blocks.0.0."):
            return inner(ends(name))
        side, block, part, rest = match[1], int(match[2]), int(match[3]), match[4]
        if side == "input":
            level, place = divmod(block - 1, per_level)
            if rest.startswith("op."):
                return f"down_blocks.{level}.downsamplers.0.conv.{rest.removeprefix('op.')}"
            return f"down_blocks.{level}.{'attentions' if part else 'resnets'}.{place}.{inner(rest)}"
        level, place = divmod(block, per_level)
        if rest.startswith("conv."):  # at .1 if the level has no attention, else at .2
            return f"up_blocks.{level}.upsamplers.0.{rest}"
        return f"up_blocks.{level}.{'attentions' if part else 'resnets'}.{place}.{inner(rest)}"

    return rename_all(state, rename, of="a UNet of the CompVis code")


def autoencoder_to_diffusers(state: Mapping[str, Tensor]) -> StateDict:
    """Rename the first stage's tensors (without prefix) to diffusers' names; any number of levels."""
    levels = 1 + max((int(match[1]) for name in state if (match := re.match(r"decoder\.up\.(\d+)\.", name))), default=0)
    inner = renamer(_AUTOENCODER)

    def rename(name: str) -> str:
        match = re.match(r"(encoder|decoder)\.(down|up)\.(\d+)\.(block\.(\d+)|downsample|upsample)\.(.+)", name)
        if match is None:
            return inner(name)
        level = int(match[3]) if match[2] == "down" else levels - 1 - int(match[3])
        part = f"resnets.{match[5]}" if match[5] else f"{match[4]}rs.0"
        return f"{match[1]}.{match[2]}_blocks.{level}.{part}.{inner(match[6])}"

    return rename_all(state, rename, of="an autoencoder of the CompVis code")


def _averaged(unet: StateDict, average: StateDict, surplus: list[str]) -> StateDict:
    """The averaged tensors under the UNet's names; CompVis stores them without the dots."""
    keys = {name: f"{UNET_PREFIX.removeprefix('model.')}{name}".replace(".", "") for name in unet}
    missing = [name for name, key in keys.items() if key not in average]
    if missing:
        raise WeightsError(
            "an averaged UNet must have every tensor of the UNet",
            found=f"{len(missing)} missing, first {missing[0]}",
            action="Pass --no-ema to take the weights that are not averaged",
        )
    taken = {name: average.pop(key) for name, key in keys.items()}
    surplus += [f"{AVERAGE_PREFIX}{name}" for name in average]
    return taken


def _blocks_per_level(state: Mapping[str, Tensor]) -> int:
    """Residual blocks of a level: those before the first downsampling, or all if there is none."""
    blocks = [int(match[1]) for name in state if (match := re.match(r"input_blocks\.(\d+)\.0\.", name))]
    stops = [int(match[1]) for name in state if (match := re.match(r"input_blocks\.(\d+)\.0\.op\.", name))]
    return min(stops) - 1 if stops else max(blocks, default=1)
