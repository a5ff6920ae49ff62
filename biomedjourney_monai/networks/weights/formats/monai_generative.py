"""Names of monai-generative 0.2.3, the origin of MONAI's generative networks, to MONAI's own.

Its self-attention has a projection `proj_attn` that it never applies. MONAI's `load_old_state_dict` copies it into a
projection that is applied, which changes the result. Here it is set aside; if the network has a projection, that
becomes the identity.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.weights.formats.renaming import StateDict, rename_all, renamer

_UNET_NAMES = (("to_out.0", "out_proj"), ("upsampler.conv", "upsampler.postconv"))
_ATTENTION = re.compile(r"(.+\.blocks\.\d+)\.(to_[qkv]|proj_attn)\.(weight|bias)")
_UPSAMPLER = re.compile(r"(decoder\.blocks\.\d+)\.conv\.conv\.")


def is_autoencoder(state: Mapping[str, Tensor]) -> bool:
    """Whether these are an autoencoder's tensors."""
    return any(name.startswith(("encoder.", "decoder.", "quant_conv_")) for name in state)


def denoiser_from_generative(state: Mapping[str, Tensor]) -> StateDict:
    """Rename a conditional `DiffusionModelUNet`'s tensors to those of `Denoiser`, without projection and scale factor.

    Raises:
        WeightsError: if the UNet is not conditioned on text, which changes its attention.
    """
    unconditional = [name for name in state if name.endswith(".proj_attn.weight")]
    if unconditional:
        raise WeightsError(
            "the UNet must be built with with_conditioning=True",
            found=f"self-attention alone at {unconditional[0].removesuffix('.proj_attn.weight')}",
            action="Pass a UNet that was trained with cross-attention",
        )
    _refuse_core_names(state, ".attn1.out_proj.")
    rename = renamer(_UNET_NAMES)
    return rename_all(state, lambda name: f"unet.{rename(name)}", of="a UNet of monai-generative")


def autoencoder_from_generative(state: Mapping[str, Tensor], *, with_projection: bool) -> tuple[StateDict, list[str]]:
    """Rename an `AutoencoderKL`'s tensors to those of MONAI's.

    Args:
        state: the tensors.
        with_projection: add an identity output projection, for a network that has one (`include_fc`).

    Returns:
        The tensors, and the names of the projections that were set aside.
    """
    _refuse_core_names(state, ".attn.to_q.")
    renamed: StateDict = {}
    set_aside: list[str] = []
    for name, value in state.items():
        if match := _ATTENTION.fullmatch(name):
            block, layer, kind = match.groups()
            if layer != "proj_attn":
                renamed[f"{block}.attn.{layer}.{kind}"] = value
                continue
            set_aside.append(name)
            if with_projection:
                identity = torch.eye(len(value)) if kind == "weight" else torch.zeros(len(value))
                renamed[f"{block}.attn.out_proj.{kind}"] = identity.to(value.dtype)
        else:
            renamed[_UPSAMPLER.sub(r"\1.postconv.conv.", name)] = value
    return renamed, set_aside


def _refuse_core_names(state: Mapping[str, Tensor], part: str) -> None:
    core = [name for name in state if part in name]
    if core:
        raise WeightsError(
            "weights must have the names of monai-generative 0.2.3",
            found=f"a name of MONAI itself, {core[0]}",
            action="Weights of MONAI's own networks need no conversion",
        )
