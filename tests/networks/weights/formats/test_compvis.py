"""The names of the original code, against diffusers' own conversion of them."""

import pytest
import torch

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.weights.formats.compvis import (
    AUTOENCODER_PREFIX,
    UNET_PREFIX,
    autoencoder_to_diffusers,
    take_apart,
    unet_to_diffusers,
)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_unet_is_renamed_as_diffusers_does_it_and_fits_its_unet(make_checkpoint, make_unet):
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    state, unet = make_checkpoint(), make_unet()
    renamed = unet_to_diffusers(take_apart(state).unet)
    assert equal(renamed, convert_ldm_unet_checkpoint(dict(state), dict(unet.config)))
    unet.load_state_dict(renamed)


def test_an_autoencoder_is_renamed_as_diffusers_does_it_and_fits_its_autoencoder(make_checkpoint, make_vae):
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    state, vae = make_checkpoint(), make_vae()
    renamed = autoencoder_to_diffusers(take_apart(state).autoencoder)
    expected = convert_ldm_vae_checkpoint(dict(state), dict(vae.config))
    assert renamed.keys() == expected.keys()
    assert all(torch.equal(value.flatten(), expected[name].flatten()) for name, value in renamed.items())
    vae.load_state_dict({name: value.view_as(vae.state_dict()[name]) for name, value in renamed.items()})


def test_averaged_weights_are_taken_where_they_are_unless_refused(make_checkpoint):
    state = make_checkpoint(averaged=True)
    plain = {name.removeprefix(UNET_PREFIX): value for name, value in state.items() if name.startswith(UNET_PREFIX)}
    parts = take_apart(state)
    assert parts.averaged and parts.set_aside["UNet not averaged"] == len(plain)
    assert equal(parts.unet, {name: value + 1 for name, value in plain.items()})
    refused = take_apart(state, averaged=False)
    assert not refused.averaged and equal(refused.unet, plain)
    assert refused.set_aside["averaging"] == len(plain) + 2


def test_an_average_with_a_hole_or_too_much_is_not_hidden(make_checkpoint):
    state = make_checkpoint(averaged=True)
    assert take_apart({**state, "model_ema.stranger": torch.zeros(1)}).surplus == ["model_ema.stranger"]
    state.pop("model_ema.diffusion_modelout2weight")
    with pytest.raises(WeightsError, match=r"1 missing, first out\.2\.weight"):
        take_apart(state)


def test_known_parts_are_counted_and_unknown_ones_named(make_checkpoint):
    state = make_checkpoint()
    state |= {"first_stage_model.loss.logvar": torch.zeros(()), "lora_unet.up": torch.zeros(1)}
    parts = take_apart(state)
    assert parts.set_aside == {"text encoder": 1, "noise schedule": 2, "training loss": 1}
    assert parts.surplus == ["lora_unet.up"]
    assert len(parts.autoencoder) == sum(name.startswith(AUTOENCODER_PREFIX) for name in state) - 1
    assert parts.scale_factor is None and len(parts.signal) == 1000


def test_names_of_another_code_are_left_as_they_are_so_that_they_are_found_out():
    assert unet_to_diffusers({"down_blocks.0.weight": torch.zeros(1)}).keys() == {"down_blocks.0.weight"}
