import pytest
import torch
from monai.networks.nets import AutoencoderKL

from biomedjourney_monai.networks.autoencoder import reconstruct
from biomedjourney_monai.networks.unit_range import UnitRangeAutoencoderKL
from biomedjourney_monai.networks.weights.geometry import geometry_of

SIZES = {"spatial_dims": 2, "channels": (8, 16), "num_res_blocks": 1, "attention_levels": (False, False)}
SIZES |= {"norm_num_groups": 4, "latent_channels": 4}


@pytest.fixture
def networks():
    torch.manual_seed(0)
    stock, unit = AutoencoderKL(**SIZES).eval(), UnitRangeAutoencoderKL(**SIZES).eval()
    unit.load_state_dict(stock.state_dict())
    return stock, unit


@torch.no_grad()
def test_the_network_inside_sees_and_gives_images_from_zero_to_one(networks):
    stock, unit = networks
    image = torch.rand(2, 1, 16, 16)
    mean, deviation = stock.encode(image)
    found = unit.encode(image * 2 - 1)
    assert torch.allclose(found[0], mean, atol=1e-6) and torch.allclose(found[1], deviation, atol=1e-6)
    assert torch.allclose((unit.decode(mean) + 1) / 2, stock.decode(mean), atol=1e-6)
    assert torch.allclose(reconstruct(unit, image), stock.decode(mean).clamp(0, 1), atol=1e-6)


def test_its_settings_are_written_beside_the_weights(networks):
    assert geometry_of(autoencoder=networks[1])["autoencoder"]["channels"] == [8, 16]
