import pytest
import torch

from biomedjourney_monai.diffusion.controls import ControlledInferer, control, make
from biomedjourney_monai.diffusion.sampler import CounterfactualSampler
from biomedjourney_monai.errors import ConfigError

SIZE, LATENT = 64, 8


class Halving(torch.nn.Module):
    """An autoencoder of means over 8 × 8 pixels, four times over; it loses all detail."""

    def encode(self, pixels):
        return torch.nn.functional.avg_pool2d(pixels, 8).repeat(1, 4, 1, 1), None

    def decode(self, latent):
        return torch.nn.functional.interpolate(latent[:, :1], scale_factor=8)


class Schedule:
    alphas_cumprod = torch.linspace(0.999, 0.001, 1000)
    prediction_type = "sample"


@pytest.fixture
def generator(make_denoiser, word_encoder):
    from biomedjourney_monai.networks.generator import CounterfactualGenerator

    def build(**settings):
        sampler = CounterfactualSampler(Schedule(), steps=5, text_guidance_scale=2.0, image_guidance_scale=1.5)
        parts = {"autoencoder": Halving(), "denoiser": make_denoiser(), "text_encoder": word_encoder}
        return control(CounterfactualGenerator(**parts, sampler=sampler), **settings)

    return build


@pytest.fixture
def priors():
    return torch.rand(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def drawn(generator, priors, **more):
    return make(generator, priors, "New effusion.", seeds=[3, 4], **more)


def test_without_controls_the_generator_is_as_it_was(generator, priors):
    controlled = generator()
    plain = controlled.sampler.sampler
    expected = drawn(controlled, priors).images
    controlled.sampler = plain
    assert torch.equal(expected, controlled(priors, "New effusion.", seeds=[3, 4]))


@pytest.mark.parametrize("settings", [{"strength": 0.4}, {"init_noise": "from-prior"}, {"region": "auto"}])
def test_each_control_changes_the_image_and_repeats_itself(generator, priors, settings):
    once, again = (drawn(generator(**settings), priors).images for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.allclose(once, drawn(generator(), priors).images, atol=1e-3)


@pytest.mark.parametrize("settings", [{"strength": 0.4}, {"init_noise": "from-prior"}, {"region": "auto"}])
def test_a_case_does_not_depend_on_its_neighbours(generator, priors, settings):
    together = drawn(generator(**settings), priors).images
    alone = make(generator(**settings), priors[1:], "New effusion.", seeds=[4]).images
    assert torch.allclose(together[1:], alone, atol=1e-5)


def test_less_strength_makes_fewer_steps(generator, priors):
    calls = []
    for strength in (1.0, 0.6, 0.01):
        controlled = generator(strength=strength)
        controlled.sampler.sampler.on_step = calls.append
        drawn(controlled, priors)
    assert calls == [0, 1, 2, 3, 4, 2, 3, 4, 4]


def test_nothing_changes_outside_a_mask(generator, priors):
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[20:50, 30:60] = True
    made = drawn(generator(), priors, region=mask)
    assert torch.equal(made.images[:, :, ~mask], priors[:, :, ~mask])
    assert (made.images - priors)[:, :, 30:40, 40:50].abs().mean() > 0.05
    assert made.relevance is None
    assert (made.region[:, :, ~mask] == 0).all() and made.region.max() == 1


def test_a_region_of_the_configuration_is_the_region_of_a_call(generator, priors):
    mask = torch.zeros(SIZE, SIZE)
    mask[:, 32:] = 1
    from_config, from_call = drawn(generator(region=mask), priors), drawn(generator(), priors, region=mask)
    assert torch.equal(from_config.images, from_call.images)


def test_the_region_found_by_itself_comes_with_its_map(generator, priors):
    made = drawn(generator(region="auto"), priors)
    assert made.relevance.shape == made.region.shape == priors.shape
    free = (made.region == 0).expand_as(priors)
    assert torch.equal(made.images[free], priors[free])


def test_the_inferer_makes_the_same_and_takes_the_description_from_the_image(generator, priors):
    from monai.data import MetaTensor

    inputs = MetaTensor(priors, meta={"description": "New effusion."})
    controlled = generator(region="auto")
    expected = make(controlled, priors, "New effusion.").images
    assert torch.equal(torch.as_tensor(ControlledInferer()(inputs, controlled)), expected)


@pytest.mark.parametrize(
    "settings", [{"strength": 0}, {"strength": 1.1}, {"init_noise": "mine"}, {"region": "somewhere"}]
)
def test_settings_out_of_range_are_refused(generator, settings):
    with pytest.raises(ConfigError):
        generator(**settings)


def test_the_settings_say_what_is_not_usual(generator):
    assert set(generator().sampler.settings()) == {
        "steps", "solver", "text_guidance_scale", "image_guidance_scale"
    }  # fmt: skip
    settings = generator(strength=0.5, init_noise="from-prior").sampler.settings()
    assert (settings["strength"], settings["init_noise"]) == (0.5, "from-prior")


def test_the_settings_say_what_is_kept(generator):
    controlled = generator()
    assert controlled.sampler.keep_unchanged == 0
    controlled.sampler.sampler.keep_unchanged = 0.06
    assert controlled.sampler.settings()["keep_unchanged"] == controlled.sampler.keep_unchanged == 0.06


def test_the_settings_say_where_guidance_is_off(generator):
    controlled = generator()
    assert "guidance_interval" not in controlled.sampler.settings()
    controlled.sampler.sampler.guidance_interval = (0.0, 0.6)
    assert controlled.sampler.settings()["guidance_interval"] == [0.0, 0.6]
