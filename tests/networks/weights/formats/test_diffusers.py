"""Equal output with diffusers' own networks, at unit and at small inputs: only the latter show a wrong epsilon."""

import pytest
import torch

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.weights.formats.diffusers import (
    autoencoder_from_diffusers,
    autoencoder_to_diffusers,
    denoiser_from_diffusers,
    denoiser_to_diffusers,
)

SCALES = pytest.mark.parametrize("scale", [1.0, 1e-3])


def load(denoiser, state):
    """Load a converted state; what Stable Diffusion has no weights for leaves the text and the prior as they are."""
    own = {"text_projection.weight": torch.eye(24), "text_projection.bias": torch.zeros(24)}
    denoiser.load_state_dict({**own, "scale_factor": torch.tensor(1.0), **state})
    return denoiser


def inputs(scale, *, width=24):
    generator = torch.Generator().manual_seed(2)
    noisy, prior = torch.randn(2, 2, 4, 16, 16, generator=generator) * scale
    return noisy, torch.tensor([3, 900]), prior, torch.randn(2, 7, width, generator=generator)


@torch.no_grad()
def unet_error(unet, denoiser, relative_error, *, scale, width=24):
    noisy, timesteps, prior, text = inputs(scale, width=width)
    expected = unet(torch.cat([noisy, prior], 1), timesteps, text).sample
    return relative_error(denoiser(noisy, timesteps, prior, text), expected)


@SCALES
@pytest.mark.parametrize("flash", [False, True])
def test_the_denoiser_computes_what_the_unet_does(make_unet, make_sd_denoiser, relative_error, scale, flash):
    unet = make_unet()
    denoiser = load(make_sd_denoiser(use_flash_attention=flash), denoiser_from_diffusers(unet.state_dict()))
    assert unet_error(unet, denoiser, relative_error, scale=scale) < 1e-5


def test_small_inputs_show_one_epsilon_for_both_kinds_of_norm(make_unet, make_sd_denoiser, relative_error):
    unet = make_unet()
    for settings in ({"transformer_norm_eps": None}, {"norm_eps": 1e-6}):
        wrong = load(make_sd_denoiser(**settings), denoiser_from_diffusers(unet.state_dict()))
        assert unet_error(unet, wrong, relative_error, scale=1e-3) > 0.01


@SCALES
def test_a_text_projection_goes_both_ways(make_unet, make_sd_denoiser, relative_error, scale):
    unet = make_unet(encoder_hid_dim=20, encoder_hid_dim_type="text_proj")
    denoiser = load(make_sd_denoiser(text_width=20), denoiser_from_diffusers(unet.state_dict()))
    assert unet_error(unet, denoiser, relative_error, scale=scale, width=20) < 1e-5
    assert equal(denoiser_to_diffusers(denoiser.state_dict()), unet.state_dict())


def test_a_unet_whose_transformers_project_linearly_is_the_same(make_unet, make_sd_denoiser, relative_error):
    unet = make_unet(use_linear_projection=True)
    denoiser = load(make_sd_denoiser(), denoiser_from_diffusers(unet.state_dict()))
    assert unet_error(unet, denoiser, relative_error, scale=1.0) < 1e-5


def test_fewer_levels_and_blocks_are_renamed_too(make_unet, make_sd_denoiser, relative_error):
    unet = make_unet(
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    denoiser = make_sd_denoiser(
        channels=(16, 32), attention_levels=(False, True), num_head_channels=(0, 4), num_res_blocks=1
    )
    load(denoiser, denoiser_from_diffusers(unet.state_dict()))
    assert unet_error(unet, denoiser, relative_error, scale=1.0) < 1e-5


@SCALES
@torch.no_grad()
def test_the_autoencoder_computes_what_the_vae_does(make_vae, make_sd_autoencoder, relative_error, scale):
    vae, autoencoder = make_vae(), make_sd_autoencoder()
    autoencoder.load_state_dict(autoencoder_from_diffusers(vae.state_dict()))
    generator = torch.Generator().manual_seed(2)
    image = torch.randn(2, 3, 32, 32, generator=generator) * scale
    latent = torch.randn(2, 4, 8, 8, generator=generator) * scale
    posterior = vae.encode(image).latent_dist
    mean, deviation = autoencoder.encode(image)
    assert relative_error(mean, posterior.mean) < 1e-5
    assert relative_error(deviation, posterior.std) < 1e-5
    assert relative_error(autoencoder.decode(latent), vae.decode(latent).sample) < 1e-5


def test_an_autoencoder_comes_back_unchanged(make_vae):
    state = make_vae().state_dict()
    ours = autoencoder_from_diffusers(state)
    assert equal(autoencoder_to_diffusers(ours, levels=3, num_res_blocks=2), state)


def test_former_names_and_shapes_of_the_attention_are_read(make_vae):
    state = make_vae().state_dict()
    former = {}
    for name, value in state.items():
        for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            if f".{new}.weight" in name:
                value = value[:, :, None, None]
            name = name.replace(f".{new}.", f".{old}.")
        former[name] = value
    assert former.keys() != state.keys()
    assert equal(autoencoder_from_diffusers(former), autoencoder_from_diffusers(state))


def test_weights_of_a_unet_are_not_an_autoencoder(make_unet):
    with pytest.raises(WeightsError, match="autoencoder"):
        autoencoder_from_diffusers(make_unet().state_dict())


def test_two_tensors_for_one_place_are_refused(make_vae):
    state = make_vae().state_dict()
    twice = {**state, "encoder.mid_block.attentions.0.query.bias": torch.zeros(16)}
    with pytest.raises(WeightsError, match="two tensors"):
        autoencoder_from_diffusers(twice)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())
