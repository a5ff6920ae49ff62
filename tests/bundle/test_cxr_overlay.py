"""The overlay for the Model Zoo's chest radiograph model fits the networks that it is for."""

from pathlib import Path

import torch

from biomedjourney_monai.configuration import compose, read_overlay
from biomedjourney_monai.networks.weights.formats.channels import widen_input
from biomedjourney_monai.networks.weights.formats.monai_generative import (
    autoencoder_from_generative,
    denoiser_from_generative,
)

ROOT = Path(__file__).parents[2]
COMMON = ROOT / "bundle" / "configs" / "common.yaml"
NETWORKS = ("autoencoder", "denoiser", "noise_scheduler")


def shapes(state):
    return {name: tuple(value.shape) for name, value in state.items()}


def test_the_overlay_for_model_zoos_chest_radiographs_fits_monai_generatives_networks():
    from generative.networks.nets import AutoencoderKL, DiffusionModelUNet

    content = read_overlay(COMMON.with_name("cxr.yaml"), COMMON)
    assert content["image_size"] == 512
    parser = compose(
        COMMON, {name: content[name] for name in NETWORKS} | {"denoiser": content["denoiser"] | {"text_width": 1024}}
    )
    with torch.device("meta"):
        # as its configs/inference.json of version 0.2.3 has them
        unet = DiffusionModelUNet(
            **{"spatial_dims": 2, "in_channels": 3, "out_channels": 3, "num_channels": [256, 512, 768]},
            **{"num_res_blocks": 2, "attention_levels": [False, True, True], "num_head_channels": [0, 512, 768]},
            **{"norm_num_groups": 32, "with_conditioning": True, "cross_attention_dim": 1024},
        )
        first_stage = AutoencoderKL(
            **{"spatial_dims": 2, "latent_channels": 3, "num_channels": [64, 128, 128, 128], "num_res_blocks": 2},
            **{"norm_num_groups": 32, "attention_levels": [False] * 4},
        )
        autoencoder, denoiser = (parser.get_parsed_content(name) for name in NETWORKS[:2])
    denoiser_state = widen_input(denoiser_from_generative(unet.state_dict()), in_channels=6)
    own = {name: shape for name, shape in shapes(denoiser.state_dict()).items() if name.startswith("unet.")}
    assert shapes(denoiser_state) == own
    state, set_aside = autoencoder_from_generative(first_stage.state_dict(), with_projection=False)
    assert shapes(state) == shapes(autoencoder.state_dict()) and len(set_aside) == 4
    schedule = parser.get_parsed_content("noise_scheduler")
    betas = torch.linspace(0.0015**0.5, 0.0205**0.5, 1000, dtype=torch.float64) ** 2
    assert torch.allclose(schedule.alphas_cumprod.double(), (1 - betas).cumprod(0), rtol=1e-4)
    assert schedule.prediction_type == "v_prediction"
