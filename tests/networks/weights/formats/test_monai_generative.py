"""Equal output with monai-generative's own networks; loading them by MONAI's own method computes something else."""

import pytest
import torch
from monai.networks.nets import AutoencoderKL

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.denoiser import Denoiser
from biomedjourney_monai.networks.weights.formats.monai_generative import (
    autoencoder_from_generative,
    denoiser_from_generative,
    is_autoencoder,
)

UNET = {"attention_levels": (False, True), "num_head_channels": (0, 4), "num_res_blocks": 2, "norm_num_groups": 4}
VAE = {
    "spatial_dims": 2,
    "num_res_blocks": 1,
    "attention_levels": (False, True),
    "norm_num_groups": 4,
    "latent_channels": 4,
}


@torch.no_grad()
def reveal(network):
    """Give numbers to everything that starts at zero or one."""
    torch.manual_seed(0)
    for name, parameter in network.named_parameters():
        if "norm" in name or not parameter.any():
            parameter.normal_(1.0 if name.endswith("weight") else 0.0, 0.3)
    return network.eval()


def make_old_unet(*, conditional=True):
    from generative.networks.nets import DiffusionModelUNet

    text = {"with_conditioning": True, "cross_attention_dim": 12} if conditional else {}
    sizes = {"spatial_dims": 2, "in_channels": 8, "out_channels": 4, "num_channels": (8, 16)}
    return reveal(DiffusionModelUNet(**sizes, **UNET, **text))


def make_old_autoencoder():
    from generative.networks.nets import AutoencoderKL as OldAutoencoderKL

    return reveal(OldAutoencoderKL(num_channels=(8, 16), **VAE))


@pytest.mark.parametrize("scale", [1.0, 1e-3])
@torch.no_grad()
def test_a_conditional_unet_computes_the_same(relative_error, scale):
    old = make_old_unet()
    state = denoiser_from_generative(old.state_dict())
    denoiser = Denoiser(latent_channels=4, text_width=12, cross_attention_dim=12, channels=(8, 16), **UNET)
    state |= {"text_projection.weight": torch.eye(12), "text_projection.bias": torch.zeros(12)}
    denoiser.load_state_dict({**state, "scale_factor": torch.tensor(1.0)})
    noisy, prior = torch.randn(2, 2, 4, 16, 16) * scale
    text, timesteps = torch.randn(2, 5, 12), torch.tensor([3, 900])
    expected = old(torch.cat([noisy, prior], 1), timesteps, context=text)
    assert relative_error(denoiser(noisy, timesteps, prior, text), expected) < 1e-4


@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("include_fc", [True, False])
@torch.no_grad()
def test_an_autoencoder_computes_the_same_with_and_without_a_projection(relative_error, include_fc, scale):
    old, new = make_old_autoencoder(), AutoencoderKL(channels=(8, 16), include_fc=include_fc, **VAE).eval()
    state, set_aside = autoencoder_from_generative(old.state_dict(), with_projection=include_fc)
    new.load_state_dict(state)
    assert len(set_aside) == 2 * 4  # weight and bias of two attentions on the way down and two on the way up
    image, latent = torch.randn(2, 1, 16, 16) * scale, torch.randn(2, 4, 8, 8) * scale
    assert relative_error(new.encode(image)[0], old.encode(image)[0]) < 1e-4
    assert relative_error(new.decode(latent), old.decode(latent)) < 1e-4


@torch.no_grad()
def test_the_trap_is_real(relative_error):
    old, new = make_old_autoencoder(), AutoencoderKL(channels=(8, 16), **VAE).eval()
    new.load_old_state_dict(dict(old.state_dict()))
    latent = torch.randn(2, 4, 8, 8)
    assert relative_error(new.decode(latent), old.decode(latent)) > 0.01


def test_an_unconditional_unet_is_refused():
    with pytest.raises(WeightsError, match="with_conditioning=True"):
        denoiser_from_generative(make_old_unet(conditional=False).state_dict())


def test_weights_of_monai_itself_are_refused():
    new = AutoencoderKL(channels=(8, 16), **VAE)
    with pytest.raises(WeightsError, match="MONAI itself"):
        autoencoder_from_generative(new.state_dict(), with_projection=True)


def test_the_two_networks_are_told_apart():
    assert is_autoencoder(make_old_autoencoder().state_dict())
    assert not is_autoencoder(make_old_unet().state_dict())
