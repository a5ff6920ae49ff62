"""Weights for other numbers of channels: 4 to 8 at the denoiser's input, 3 to 1 for grey images, and back."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.weights.formats.renaming import StateDict

DENOISER_INPUT = "unet.conv_in.conv.weight"
IMAGE_INPUT = "encoder.blocks.0.conv.weight"


def widen_input(state: Mapping[str, Tensor], *, in_channels: int) -> StateDict:
    """Give the denoiser's first convolution zeros for the channels of the prior latent, unless it has weights for them.

    This makes a text-to-image model the start of InstructPix2Pix's training, with the same output.

    Args:
        state: a denoiser's tensors.
        in_channels: that the denoiser takes, 2·C.

    Raises:
        WeightsError: if the weights take neither C nor 2·C channels.

    Source: Brooks et al. 2023, InstructPix2Pix, section 3.2.
    """
    weight = state[DENOISER_INPUT]
    given = weight.shape[1] if weight.ndim == 4 else 0
    if given not in (in_channels, in_channels // 2):
        raise WeightsError(
            f"the UNet must take {in_channels // 2} channels (text to image) or {in_channels} (noisy and prior latent)",
            found=f"{given}",
            action="Pass a text-to-image or an InstructPix2Pix model, not one for inpainting or depth",
        )
    new = weight.new_zeros(len(weight), in_channels - given, *weight.shape[2:])
    return {**state, DENOISER_INPUT: torch.cat([weight, new], dim=1)}


def to_grey(state: Mapping[str, Tensor]) -> StateDict:
    """Fold an autoencoder of three-channel images into one of grey images.

    Encoding a grey image gives what encoding it in each of three channels gave; decoding gives the mean of the three
    channels.
    """
    output = _image_output(state)
    folded = dict(state)
    folded[IMAGE_INPUT] = state[IMAGE_INPUT].double().sum(1, keepdim=True).to(state[IMAGE_INPUT].dtype)
    for name in (f"{output}.weight", f"{output}.bias"):
        if name in state and state[name].shape[:1] == (3,):  # otherwise the caller reports it
            folded[name] = state[name].double().mean(0, keepdim=True).to(state[name].dtype)
    return folded


def to_colour(state: Mapping[str, Tensor]) -> StateDict:
    """Unfold an autoencoder of grey images into one of three equal channels; undoes `to_grey` on grey images."""
    output = _image_output(state)
    return {
        **state,
        IMAGE_INPUT: state[IMAGE_INPUT].repeat(1, 3, 1, 1) / 3,
        **{f"{output}.{kind}": torch.cat([state[f"{output}.{kind}"]] * 3) for kind in ("weight", "bias")},
    }


def _image_output(state: Mapping[str, Tensor]) -> str:
    """The name of the decoder's last convolution."""
    blocks = [int(found[1]) for name in state if (found := re.match(r"decoder\.blocks\.(\d+)\.", name))]
    return f"decoder.blocks.{max(blocks, default=0)}.conv"
