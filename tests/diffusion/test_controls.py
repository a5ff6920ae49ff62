import pytest
import torch

from biomedjourney_monai.diffusion.controls import generate
from biomedjourney_monai.diffusion.inferer import CounterfactualInferer
from biomedjourney_monai.diffusion.sampler import CounterfactualSampler
from biomedjourney_monai.diffusion.settings import SamplingSettings
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
        scales = {"text_guidance_scale": 2.0, "image_guidance_scale": 1.5}
        sampler = CounterfactualSampler(Schedule(), steps=5, **scales, **settings)
        parts = {"autoencoder": Halving(), "denoiser": make_denoiser(), "text_encoder": word_encoder}
        return CounterfactualGenerator(**parts, sampler=sampler)

    return build


@pytest.fixture
def priors():
    return torch.rand(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


CONTROLS = [({"strength": 0.4}, None), ({"init_noise": "from-prior"}, None), ({}, "auto")]


def drawn(generator, priors, **more):
    return generate(generator, priors, "New effusion.", seeds=[3, 4], **more)


def test_without_controls_the_generator_is_as_it_was(generator, priors):
    plain = generator()
    assert torch.equal(drawn(plain, priors).images, plain(priors, "New effusion.", seeds=[3, 4]))


@pytest.mark.parametrize(("settings", "region"), CONTROLS)
def test_each_control_changes_the_image_and_repeats_itself(generator, priors, settings, region):
    once, again = (drawn(generator(**settings), priors, region=region).images for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.allclose(once, drawn(generator(), priors).images, atol=1e-3)


@pytest.mark.parametrize(("settings", "region"), CONTROLS)
def test_a_case_does_not_depend_on_its_neighbours(generator, priors, settings, region):
    together = drawn(generator(**settings), priors, region=region).images
    alone = generate(generator(**settings), priors[1:], "New effusion.", seeds=[4], region=region).images
    assert torch.allclose(together[1:], alone, atol=1e-5)


def test_less_strength_makes_fewer_steps(generator, priors):
    calls = []
    for strength in (1.0, 0.6, 0.01):
        drawn(generator(strength=strength), priors, on_step=calls.append)
    assert calls == [0, 1, 2, 3, 4, 2, 3, 4, 4]


def test_nothing_changes_outside_a_mask(generator, priors):
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[20:50, 30:60] = True
    made = drawn(generator(), priors, region=mask)
    assert torch.equal(made.images[:, :, ~mask], priors[:, :, ~mask])
    assert (made.images - priors)[:, :, 30:40, 40:50].abs().mean() > 0.05
    assert made.relevance is None
    assert (made.region[:, :, ~mask] == 0).all() and made.region.max() == 1


def test_a_region_of_the_inferer_is_the_region_of_a_call(generator, priors):
    mask = torch.zeros(SIZE, SIZE)
    mask[:, 32:] = 1
    inferred = CounterfactualInferer(region=mask)(priors, generator(), "New effusion.", seeds=[3, 4])
    assert torch.equal(inferred, drawn(generator(), priors, region=mask).images)


def test_the_region_found_by_itself_comes_with_its_map(generator, priors):
    made = drawn(generator(), priors, region="auto")
    assert made.relevance.shape == made.region.shape == priors.shape
    free = (made.region == 0).expand_as(priors)
    assert torch.equal(made.images[free], priors[free])


def test_the_inferer_makes_the_same_and_takes_the_description_from_the_image(generator, priors):
    from monai.data import MetaTensor

    inputs = MetaTensor(priors, meta={"description": "New effusion."})
    expected = generate(generator(), priors, "New effusion.", region="auto").images
    assert torch.equal(torch.as_tensor(CounterfactualInferer(region="auto")(inputs, generator())), expected)


@pytest.mark.parametrize("settings", [{"strength": 0}, {"strength": 1.1}, {"init_noise": "mine"}])
def test_settings_out_of_range_are_refused(generator, settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        generator(**settings)


def test_a_region_of_another_word_is_refused(generator, priors):
    with pytest.raises(ConfigError, match="mask or auto"):
        drawn(generator(), priors, region="somewhere")
    with pytest.raises(ConfigError, match="mask or auto"):
        CounterfactualInferer(region="somewhere")


def test_the_settings_say_what_is_not_usual(generator):
    assert set(generator().sampler.settings()) == {
        "steps", "solver", "text_guidance_scale", "image_guidance_scale"
    }  # fmt: skip
    settings = generator(strength=0.5, init_noise="from-prior").sampler.settings()
    assert (settings["strength"], settings["init_noise"]) == (0.5, "from-prior")


def test_the_settings_say_what_is_kept(generator):
    assert "keep_unchanged" not in generator().sampler.settings()
    assert generator(keep_unchanged=0.06).sampler.settings()["keep_unchanged"] == 0.06


def test_the_settings_say_where_guidance_is_off(generator):
    assert "guidance_interval" not in generator().sampler.settings()
    assert generator(guidance_interval=(0.0, 0.6)).sampler.settings()["guidance_interval"] == [0.0, 0.6]


def test_other_settings_leave_the_sampler_itself_as_it_was(generator):
    sampler = generator().sampler
    changed = sampler.with_settings(SamplingSettings(steps=2, strength=0.5))
    assert (changed.steps, changed.strength, changed.text_guidance_scale) == (2, 0.5, 2.0)
    assert (sampler.steps, sampler.strength) == (5, 1.0)
    assert changed.noise_scheduler is sampler.noise_scheduler
