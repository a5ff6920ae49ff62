"""Shrunken networks of diffusers with weights that show every difference, and ours of the same sizes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

UNET = {
    "in_channels": 8,
    "out_channels": 4,
    "block_out_channels": (16, 32, 32, 32),
    "attention_head_dim": 8,  # diffusers means heads
    "cross_attention_dim": 24,
    "layers_per_block": 2,
    "norm_num_groups": 8,
}
DENOISER = {
    "latent_channels": 4,
    "text_width": 24,
    "cross_attention_dim": 24,
    "channels": (16, 32, 32, 32),
    "attention_levels": (True, True, True, False),
    "num_head_channels": (2, 4, 4, 4),
    "num_res_blocks": 2,
    "norm_num_groups": 8,
    "norm_eps": 1e-5,
    "transformer_norm_eps": 1e-6,
}
AUTOENCODER = {
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "block_out_channels": (8, 16, 16),
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 4,
}


@torch.no_grad()
def reveal(network):
    """Give numbers to what starts at zero or one, and keep the residual stream small enough for epsilons to show."""
    for name, parameter in network.named_parameters():
        if "norm" in name:
            parameter.normal_(1.0 if name.endswith("weight") else 0.0, 0.3)
        elif not parameter.any():
            parameter.normal_(std=0.02)
        elif name.endswith("bias"):
            parameter.mul_(1e-3)
        if any(part in name for part in (".conv2.", "to_out.0", "ff.net.2", "proj_out")):
            parameter.mul_(1e-2)
    return network.eval()


@pytest.fixture
def make_unet():
    """Builds a UNet of diffusers."""

    def make(**settings):
        from diffusers import UNet2DConditionModel

        torch.manual_seed(0)
        return reveal(UNet2DConditionModel(**{**UNET, **settings}))

    return make


@pytest.fixture
def make_sd_denoiser():
    """Builds our denoiser of the same sizes, with weights of its own."""

    def make(**settings):
        from biomedjourney_monai.networks.denoiser import Denoiser

        torch.manual_seed(1)
        return Denoiser(**{**DENOISER, **settings}).eval()

    return make


@pytest.fixture
def make_vae():
    """Builds an autoencoder of diffusers."""

    def make(channels=3):
        from diffusers import AutoencoderKL

        torch.manual_seed(0)
        return reveal(AutoencoderKL(in_channels=channels, out_channels=channels, **AUTOENCODER))

    return make


@pytest.fixture
def make_sd_autoencoder():
    """Builds our autoencoder of the same sizes, with weights of its own."""

    def make(channels=3):
        from biomedjourney_monai.networks.stable_diffusion import StableDiffusionAutoencoder

        torch.manual_seed(1)
        sizes = {"channels": (8, 16, 16), "latent_channels": 4, "norm_num_groups": 4}
        return StableDiffusionAutoencoder(in_channels=channels, out_channels=channels, **sizes).eval()

    return make


@pytest.fixture
def relative_error():
    """The largest difference over the largest expected value."""

    def compare(found, expected):
        return float((found - expected).abs().max() / expected.abs().max())

    return compare


@pytest.fixture
def make_checkpoint():
    """Builds the state dict of a CompVis checkpoint, with the averaged UNet in it if asked."""
    spec = importlib.util.spec_from_file_location("latent_diffusion", Path(__file__).with_name("latent_diffusion.py"))
    tree = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tree)

    def make(*, in_channels=8, averaged=False):
        torch.manual_seed(0)
        unet = tree.LatentDiffusionUNet(
            in_channels=in_channels,
            out_channels=4,
            channels=(16, 32, 32, 32),
            blocks=2,
            attention=(True, True, True, False),
            context=24,
            groups=8,
        )
        first_stage = tree.LatentDiffusionAutoencoder(channels=(8, 16, 16), blocks=2, latent=4, groups=4)
        unet, first_stage = reveal(unet).state_dict(), reveal(first_stage).state_dict()
        state = {f"model.diffusion_model.{name}": value for name, value in unet.items()}
        state |= {f"first_stage_model.{name}": value for name, value in first_stage.items()}
        state["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(3)
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        state |= {"betas": betas.float(), "alphas_cumprod": (1 - betas).cumprod(0).float()}
        if averaged:
            dotless = {f"model_ema.diffusion_model{name.replace('.', '')}": value + 1 for name, value in unet.items()}
            state |= {**dotless, "model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7)}
        return state

    return make
