import pytest
import torch

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.weights.formats.channels import DENOISER_INPUT, to_colour, to_grey, widen_input


def test_the_new_input_channels_are_zero_and_the_old_ones_kept():
    weight = torch.randn(6, 4, 3, 3)
    widened = widen_input({DENOISER_INPUT: weight, "other": torch.ones(1)}, in_channels=8)
    assert torch.equal(widened[DENOISER_INPUT][:, :4], weight)
    assert widened[DENOISER_INPUT].shape == (6, 8, 3, 3) and not widened[DENOISER_INPUT][:, 4:].any()
    assert widened["other"] == 1
    assert torch.equal(widen_input(widened, in_channels=8)[DENOISER_INPUT], widened[DENOISER_INPUT])


def test_an_inpainting_unet_is_refused():
    with pytest.raises(WeightsError, match="9"):
        widen_input({DENOISER_INPUT: torch.randn(6, 9, 3, 3)}, in_channels=8)


@torch.no_grad()
def test_grey_and_colour_agree_on_grey_images(make_sd_autoencoder, relative_error):
    colour, grey, again = make_sd_autoencoder(), make_sd_autoencoder(channels=1), make_sd_autoencoder()
    grey.load_state_dict(to_grey(colour.state_dict()))
    again.load_state_dict(to_colour(grey.state_dict()))
    image, latent = torch.randn(2, 1, 16, 16), torch.randn(2, 4, 4, 4)
    for one, other in zip(grey.encode(image), colour.encode(image.repeat(1, 3, 1, 1)), strict=True):
        assert relative_error(one, other) < 1e-5
    mean = colour.decode(latent).mean(1, keepdim=True)
    assert relative_error(grey.decode(latent), mean) < 1e-5
    assert relative_error(again.decode(latent), mean.repeat(1, 3, 1, 1)) < 1e-5
    assert relative_error(again.encode(image.repeat(1, 3, 1, 1))[0], grey.encode(image)[0]) < 1e-5
