from pathlib import Path

import pytest
import torch

from biomedjourney_monai.configuration import compose, read_overlay
from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.weights.formats.diffusers_config import (
    autoencoder_config,
    autoencoder_geometry,
    denoiser_geometry,
    scheduler_config,
    scheduler_signal,
    unet_config,
)
from biomedjourney_monai.networks.weights.geometry import geometry_differences, geometry_of, signal_facts

CONFIGS = Path(__file__).resolve().parents[4] / "bundle" / "configs"
UNET = {  # as published with Stable Diffusion 1.5
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.6.0",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": False,
    "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4,
    "sample_size": 64,
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}
VAE = {
    "_class_name": "AutoencoderKL",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "out_channels": 3,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "trained_betas": None}


def without_class(geometry, like):
    return {key: value for key, value in geometry.items() if key in like}


def test_the_overlay_for_stable_diffusion_is_what_was_published():
    common = CONFIGS / "common.yaml"
    sections = read_overlay(CONFIGS / "sd15.yaml", common)
    sections["denoiser"] = {**sections["denoiser"], "text_width": 768}
    parser = compose(common, sections)
    scheduler = parser.get_parsed_content("noise_scheduler")
    with torch.device("meta"):
        denoiser, autoencoder = (parser.get_parsed_content(name) for name in ("denoiser", "autoencoder"))
    assert sum(parameter.numel() for parameter in denoiser.unet.parameters()) == 859_532_484
    ours = geometry_of(denoiser=denoiser, autoencoder=autoencoder, noise_scheduler=scheduler)
    published = {
        "denoiser": denoiser_geometry(UNET),
        "autoencoder": autoencoder_geometry(VAE),
        "noise_scheduler": signal_facts(scheduler_signal(SCHEDULER), "epsilon"),
    }
    ours = {part: without_class(ours[part], facts) for part, facts in published.items()}
    assert geometry_differences(published, ours) == []


def test_a_geometry_comes_back_from_the_config_made_of_it(make_sd_denoiser, make_sd_autoencoder):
    geometry = make_sd_denoiser().geometry
    again = denoiser_geometry(unet_config(geometry))
    assert again == without_class(geometry, again)
    geometry = make_sd_autoencoder().geometry
    again = autoencoder_geometry(autoencoder_config(geometry, scale_factor=0.5))
    assert again == without_class(geometry, again)


@pytest.mark.parametrize(
    "change",
    [
        {"addition_embed_type": "text_time"},  # Stable Diffusion XL
        {"class_embed_type": "timestep"},
        {"_class_name": "UNet2DModel"},
        {"up_block_types": ["UpBlock2D"] * 4},
        {"down_block_types": ["AttnDownBlock2D"] * 4},
        {"encoder_hid_dim_type": "image_proj"},
        {"act_fn": "gelu"},
    ],
    ids=str,
)
def test_a_unet_that_does_something_else_is_refused(change):
    with pytest.raises(WeightsError):
        denoiser_geometry({**UNET, **change})


@pytest.mark.parametrize(
    "change", [{"use_quant_conv": False}, {"shift_factor": 0.1}, {"down_block_types": ["AttnDownEncoderBlock2D"] * 4}]
)
def test_an_autoencoder_that_does_something_else_is_refused(change):
    with pytest.raises(WeightsError):
        autoencoder_geometry({**VAE, **change})


@pytest.mark.parametrize("kind", ["linear", "scaled_linear"])
def test_schedules_are_those_of_diffusers(kind):
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(beta_schedule=kind)
    signal = scheduler_signal(dict(theirs.config))
    assert torch.allclose(signal.float(), theirs.alphas_cumprod, rtol=1e-4)
    again = scheduler_config(theirs.betas.tolist(), prediction_type="sample")
    assert torch.allclose(scheduler_signal(again), signal, rtol=1e-4)
    with pytest.raises(WeightsError, match="squaredcos"):
        scheduler_signal({"beta_schedule": "squaredcos_cap_v2"})
