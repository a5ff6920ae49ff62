"""Spoiled checkpoints are refused by one clear error, whatever is wrong with them."""

import importlib.util
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.networks.schedulers import DDPMScheduler

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.denoiser import Denoiser
from biomedjourney_monai.networks.stable_diffusion import StableDiffusionAutoencoder
from biomedjourney_monai.networks.weights.configured import ConfiguredNetworks
from biomedjourney_monai.networks.weights.foreign_models import read_compvis
from biomedjourney_monai.networks.weights.importing import fit_model

_spec = importlib.util.spec_from_file_location("foreign_networks", Path(__file__).with_name("formats") / "conftest.py")
foreign = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(foreign)
make_checkpoint = foreign.make_checkpoint


@pytest.fixture
def fit(tmp_path):
    """Reads a CompVis state from a file and fits it to the shrunken networks."""
    with torch.device("meta"):
        denoiser = Denoiser(**foreign.DENOISER)
    sizes = {"channels": (8, 16, 16), "latent_channels": 4, "norm_num_groups": 4}
    autoencoder = StableDiffusionAutoencoder(in_channels=1, out_channels=1, **sizes)
    noise_scheduler = DDPMScheduler(
        schedule="scaled_linear_beta", beta_start=0.00085, beta_end=0.012, prediction_type="epsilon"
    )
    networks = ConfiguredNetworks(denoiser, autoencoder, noise_scheduler, scale_factor=1.0, image_size=32)

    def run(state, **settings):
        torch.save(state, tmp_path / "w.ckpt")
        return fit_model(read_compvis([tmp_path / "w.ckpt"]), networks, **settings)

    return run


def test_a_whole_checkpoint_fits_and_the_projection_follows_its_seed(fit, make_checkpoint):
    state = make_checkpoint(in_channels=4)
    first, again, other = fit(state)[0], fit(state)[0], fit(state, seed=1)[0]
    name = "denoiser.text_projection.weight"
    assert torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name])
    assert first[name].abs().max() <= 24**-0.5
    assert first["denoiser.scale_factor"].item() == pytest.approx(0.18215)
    assert fit({**state, "scale_factor": torch.tensor(0.3)})[0]["denoiser.scale_factor"].item() == pytest.approx(0.3)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_spoiled_tensor_is_one_clear_error(fit, make_checkpoint, data):
    state = make_checkpoint(in_channels=4)
    ends = [name for name in state if any(part in name for part in ("conv_in", "conv_out", "quant", "input_blocks.0"))]
    networks = [name for name in state if name.startswith(("model.", "first_stage"))]
    name = data.draw(st.sampled_from(networks) | st.sampled_from(ends))
    kind = data.draw(st.sampled_from(["drop", "scalar", "empty", "flat", "transposed", "renamed"]))
    value = state.pop(name)
    if kind == "renamed":
        state[f"{name}.other"] = value
    elif kind != "drop":
        odd = {"scalar": torch.zeros(()), "empty": torch.zeros(0, 2), "flat": value.flatten()[:-1]}
        state[name] = odd.get(kind, value.unsqueeze(0))
    with pytest.raises(WeightsError):
        fit(state)
