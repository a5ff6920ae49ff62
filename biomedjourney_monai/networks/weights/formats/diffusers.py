"""Names of diffusers' `UNet2DConditionModel` and `AutoencoderKL` to those of our networks, and back.

The functions take any geometry, and do not copy or convert tensors unless their shape changes.
"""

import re
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.weights.formats.renaming import StateDict, rename_all, renamer

UNET_NAMES = (
    ("conv_in", "conv_in.conv"),
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2.conv"),
    ("mid_block.resnets.0", "middle_block.resnet_1"),
    ("mid_block.resnets.1", "middle_block.resnet_2"),
    ("mid_block.attentions.0", "middle_block.attention"),
    ("downsamplers.0.conv", "downsampler.op.conv"),
    ("upsamplers.0.conv", "upsampler.postconv.conv"),
    ("conv1", "conv1.conv"),
    ("conv2", "conv2.conv"),
    ("conv_shortcut", "skip_connection.conv"),
    ("proj_in", "proj_in.conv"),
    ("proj_out", "proj_out.conv"),
    ("to_out.0", "out_proj"),
    ("ff.net.0.proj", "ff.linear1"),
    ("ff.net.2", "ff.linear2"),
)
TEXT_PROJECTION = "encoder_hid_proj"
"""diffusers' own name of a learnable projection of the token states, for `encoder_hid_dim_type: text_proj`."""

_BLOCK_NAMES = (
    ("conv1", "conv1.conv"),
    ("conv2", "conv2.conv"),
    ("conv_shortcut", "nin_shortcut.conv"),
    ("group_norm", "norm"),
    ("to_q", "attn.to_q"),
    ("to_k", "attn.to_k"),
    ("to_v", "attn.to_v"),
    ("to_out.0", "attn.out_proj"),
)
_FORMER_ATTENTION = (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))
"""Names before diffusers 0.18; the published autoencoder of Stable Diffusion 1.5 has them."""


def denoiser_from_diffusers(state: Mapping[str, Tensor]) -> StateDict:
    """Rename a `UNet2DConditionModel`'s tensors to those of `Denoiser`, without text projection and scale factor.

    Stable Diffusion has neither; a UNet's own text projection is kept.
    """
    to_ours = renamer(UNET_NAMES)

    def rename(name: str) -> str:
        if name.startswith(f"{TEXT_PROJECTION}."):
            return f"text_projection.{name.removeprefix(f'{TEXT_PROJECTION}.')}"
        return f"unet.{to_ours(name)}"

    renamed = rename_all(state, rename, of="a UNet of diffusers")
    return {name: _as_convolution(name, value) for name, value in renamed.items()}


def denoiser_to_diffusers(state: Mapping[str, Tensor]) -> StateDict:
    """Rename a `Denoiser`'s tensors to those of a `UNet2DConditionModel`, text projection included."""
    to_theirs = renamer(UNET_NAMES, backward=True)
    renamed = {}
    for name, value in state.items():
        if name.startswith("unet."):
            renamed[to_theirs(name.removeprefix("unet."))] = value
        elif name.startswith("text_projection."):
            renamed[f"{TEXT_PROJECTION}.{name.removeprefix('text_projection.')}"] = value
        elif name != "scale_factor":
            raise WeightsError("weights must be a denoiser's", found=name, action="Pass a model file")
    return renamed


def autoencoder_from_diffusers(state: Mapping[str, Tensor]) -> StateDict:
    """Rename an `AutoencoderKL`'s tensors to those of `StableDiffusionAutoencoder`.

    Raises:
        WeightsError: if the names show no levels, or the quantising convolution cannot be halved.
    """
    state = rename_all(state, renamer(_FORMER_ATTENTION), of="an autoencoder of diffusers")
    levels, blocks = _depth(state)
    places = dict(_places(levels, blocks))
    inner = renamer(_BLOCK_NAMES)

    renamed = rename_all(state, lambda name: _move(name, places, inner) or name, of="an autoencoder of diffusers")
    result: StateDict = {}
    for name, value in renamed.items():
        if name.startswith("quant_conv."):
            kind = name.removeprefix("quant_conv.")
            if value.ndim == 0 or len(value) == 0 or len(value) % 2:
                raise WeightsError("quant_conv must give mean and log-variance", found=f"shape {tuple(value.shape)}")
            result[f"quant_conv_mu.conv.{kind}"], result[f"quant_conv_log_sigma.conv.{kind}"] = value.chunk(2)
        else:
            result[name] = _as_linear(name, value)
    return result


def autoencoder_to_diffusers(state: Mapping[str, Tensor], *, levels: int, num_res_blocks: int) -> StateDict:
    """Rename a `StableDiffusionAutoencoder`'s tensors to those of diffusers' `AutoencoderKL`.

    Args:
        levels: of the autoencoder, `len(channels)`.
        num_res_blocks: of each level of the encoder.
    """
    places = {ours: theirs for theirs, ours in _places(levels, num_res_blocks)}
    inner = renamer(_BLOCK_NAMES, backward=True)
    result: StateDict = {}
    for name, value in state.items():
        if moved := _move(name, places, inner):
            result[moved] = value
        elif not name.startswith("quant_conv_"):
            raise WeightsError("weights must be a Stable Diffusion autoencoder's", found=name)
    for kind in ("weight", "bias"):
        halves = [state[f"quant_conv_{half}.conv.{kind}"] for half in ("mu", "log_sigma")]
        result[f"quant_conv.{kind}"] = torch.cat(halves)
    return result


def _move(name: str, places: Mapping[str, str], inner: Callable[[str], str]) -> str | None:
    """Replace the longest leading part of a name that has a place, and rename the rest; None if it has none."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        if place := places.get(".".join(parts[:length])):
            return ".".join([place, inner(".".join(parts[length:]))])
    return None


def _places(levels: int, blocks: int) -> Iterator[tuple[str, str]]:
    """The modules of diffusers' autoencoder, and their places in MONAI's flat lists of blocks."""
    middle = ("mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1")
    ends = ("conv_norm_out", "", "conv_out")  # the activation between them has no weights
    down, up = [], []
    for level in range(levels):
        down += [f"down_blocks.{level}.resnets.{block}" for block in range(blocks)]
        up += [f"up_blocks.{level}.resnets.{block}" for block in range(blocks + 1)]
        if level < levels - 1:
            down.append(f"down_blocks.{level}.downsamplers.0.conv")
            up.append(f"up_blocks.{level}.upsamplers.0.conv")
    inside = {"conv_in": ".conv", "conv_out": ".conv", "conv": ".conv.conv"}
    for part, names in {
        "encoder": ["conv_in", *down, *middle, *ends],
        "decoder": ["conv_in", *middle, *up, *ends],
    }.items():
        for index, name in enumerate(names):
            suffix = ".postconv.conv" if "upsamplers" in name else inside.get(name.split(".")[-1], "")
            if name:
                yield f"{part}.{name}", f"{part}.blocks.{index}{suffix}"
    yield "post_quant_conv", "post_quant_conv.conv"


def _depth(state: Mapping[str, Tensor]) -> tuple[int, int]:
    """Levels, and residual blocks of the encoder's first level."""
    found = [re.match(r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.", name) for name in state]
    places = [(int(match[1]), int(match[2])) for match in found if match]
    if not places:
        raise WeightsError(
            "weights must be an autoencoder of diffusers",
            found="no encoder.down_blocks.0.resnets.0",
            action="Check the format and the source",
        )
    return 1 + max(level for level, _ in places), 1 + max(block for level, block in places if level == 0)


def _as_convolution(name: str, value: Tensor) -> Tensor:
    """A 1×1 convolution, from the linear layer that some UNets use instead."""
    is_linear = re.search(r"\.proj_(in|out)\.conv\.weight$", name) and value.ndim == 2
    return value[:, :, None, None] if is_linear else value


def _as_linear(name: str, value: Tensor) -> Tensor:
    """A linear layer, from the 1×1 convolution that older autoencoders use instead."""
    is_convolution = re.search(r"\.attn\.[a-z_]+\.weight$", name) and value.shape[2:] == (1, 1)
    return value[:, :, 0, 0] if is_convolution else value
