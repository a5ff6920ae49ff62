import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.networks.schedulers import DDPMScheduler

from biomedjourney_monai.diffusion import sampler as sampler_module
from biomedjourney_monai.diffusion.sampler import CounterfactualSampler, draw_noise
from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.networks.fast_path import speed_up

SEEDS = st.integers(0, 2**63 - 1)
PRIOR = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
TEXT = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1))
NULL = torch.zeros(1, 5, 6)


@given(seeds=st.lists(SEEDS, min_size=1, max_size=4))
def test_noise_depends_on_its_own_seed_alone(seeds):
    together = draw_noise((2, 3, 3), seeds)
    assert together.shape == (len(seeds), 2, 3, 3)
    for seed, noise in zip(seeds, together):
        assert torch.equal(draw_noise((2, 3, 3), [seed])[0], noise)


def test_noise_is_standard_normal_and_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    noise = draw_noise((8, 16, 16), range(20))
    assert torch.equal(torch.rand(2), expected)
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    assert float(noise.std()) == pytest.approx(1, abs=0.02)


def make_sampler(**settings):
    scheduler = DDPMScheduler(num_train_timesteps=1000, schedule="cosine", prediction_type="sample", clip_sample=False)
    return CounterfactualSampler(scheduler, **{"steps": 3, **settings})


def test_without_seeds_every_case_gets_the_samplers_own(make_denoiser):
    denoiser = make_denoiser()
    drawn = make_sampler(seed=4)(denoiser, PRIOR, TEXT, NULL).latent
    assert torch.equal(drawn, make_sampler()(denoiser, PRIOR, TEXT, NULL, seeds=[4, 4]).latent)
    assert not torch.equal(drawn, make_sampler()(denoiser, PRIOR, TEXT, NULL, seeds=[4, 5]).latent)


def test_seeds_must_be_one_for_each_case(make_denoiser):
    with pytest.raises(ValueError, match="one seed for each of 2"):
        make_sampler()(make_denoiser(), PRIOR, TEXT, NULL, seeds=[1])


@pytest.mark.parametrize("scale", ["text_guidance_scale", "image_guidance_scale"])
def test_each_guidance_scale_pulls(make_denoiser, scale):
    denoiser = make_denoiser(residual_to_prior=True)
    plain = make_sampler()(denoiser, PRIOR, TEXT, NULL).latent
    pulled = make_sampler(**{scale: 4.0})(denoiser, PRIOR, TEXT, NULL).latent
    assert (pulled - plain).abs().max() > 1e-3


def test_text_guidance_does_nothing_where_the_text_is_the_null_text(make_denoiser):
    denoiser = make_denoiser()
    text = NULL.expand(2, -1, -1)
    plain = make_sampler()(denoiser, PRIOR, text, NULL).latent
    guided = make_sampler(text_guidance_scale=7.0)(denoiser, PRIOR, text, NULL).latent
    assert torch.allclose(plain, guided, atol=1e-5)


def test_steps_are_announced_and_the_schedule_is_left_as_it_was(make_denoiser):
    announced = []
    sampler = make_sampler(steps=5)
    before = sampler.noise_scheduler.alphas_cumprod.clone()
    sampler(make_denoiser(), PRIOR, TEXT, NULL, on_step=announced.append)
    assert announced == [0, 1, 2, 3, 4]
    assert torch.equal(sampler.noise_scheduler.alphas_cumprod, before)


def test_bfloat16_changes_little(make_denoiser):
    full = make_sampler()(make_denoiser(residual_to_prior=True), PRIOR, TEXT, NULL).latent
    fast = speed_up(make_denoiser(residual_to_prior=True), precision="bfloat16")
    short = make_sampler()(fast, PRIOR, TEXT, NULL).latent
    assert short.dtype == torch.float32
    assert 0 < (full - short).abs().mean() < 0.02 * full.abs().mean()


@pytest.mark.parametrize(
    "interval, guided", [((0.0, 1.0), [3, 3, 3, 3]), ((0.4, 0.9), [1, 3, 3, 1]), ((0.0, 0.3), [1, 1, 1, 3])]
)
def test_guidance_is_paid_for_within_its_interval_only(make_denoiser, interval, guided):
    denoiser, batches = make_denoiser(), []
    denoiser.register_forward_hook(lambda module, arguments, output: batches.append(len(output) // len(PRIOR)))
    make_sampler(steps=4, text_guidance_scale=3.0, guidance_interval=interval)(denoiser, PRIOR, TEXT, NULL)
    assert batches == guided  # the timesteps are 999, 749, 499 and 249


@pytest.mark.parametrize("threshold", [-0.01, 1.5])
def test_an_impossible_share_to_keep_is_refused(threshold):
    with pytest.raises(ConfigError, match=r"keep_unchanged must be in \[0, 1\]"):
        make_sampler(keep_unchanged=threshold)


@pytest.mark.parametrize("interval", [(0.5, 0.5), (0.8, 0.2), (-0.1, 1.0), (0.0, 1.1)])
def test_an_impossible_guidance_interval_is_refused(interval):
    with pytest.raises(ConfigError, match="two rising numbers"):
        make_sampler(guidance_interval=interval)


@pytest.mark.parametrize("kind", ["sample", "epsilon", "v_prediction"])
def test_the_first_step_tells_what_is_expected_with_the_description_and_without(make_denoiser, kind):
    denoiser, sampler = make_denoiser(), make_sampler(text_guidance_scale=3.0, image_guidance_scale=2.0)
    sampler.noise_scheduler.prediction_type = kind
    sampled = sampler(denoiser, PRIOR, TEXT, NULL, seeds=[1, 2])
    noise, last = draw_noise((4, 4, 4), [1, 2]), torch.full((2,), 999)
    alpha = sampler.noise_scheduler.alphas_cumprod[999]
    for found, text in zip((sampled.without, sampled.within), (NULL.expand(2, -1, -1), TEXT)):
        with torch.no_grad():
            prediction = denoiser(noise, last, PRIOR, text)
        clean = {
            "sample": prediction,
            "epsilon": (noise - (1 - alpha).sqrt() * prediction) / alpha.sqrt(),
            "v_prediction": alpha.sqrt() * noise - (1 - alpha).sqrt() * prediction,
        }[kind]
        torch.testing.assert_close(found, clean, rtol=1e-3, atol=1e-4 * float(clean.abs().max()))


def test_without_guidance_nothing_is_told_of_the_description(make_denoiser):
    guided = make_sampler(text_guidance_scale=3.0)(make_denoiser(), PRIOR, TEXT, NULL)
    assert guided.without is not None and guided.within is not None
    plain = make_sampler(text_guidance_scale=1.0)(make_denoiser(), PRIOR, TEXT, NULL)
    assert plain.without is plain.within is None


def draw(denoiser, **settings):
    sampler = make_sampler(text_guidance_scale=3.0, **settings)
    return sampler(denoiser, PRIOR, TEXT, NULL, seeds=[1, 2])


def test_an_average_is_the_mean_over_noises_of_which_the_seeds_own_is_the_first(make_denoiser, monkeypatch):
    denoiser, noises = make_denoiser(), draw_noise((4, 4, 4), [1, 2], count=3).unflatten(0, (2, 3))
    assert torch.equal(noises[:, 0], draw_noise((4, 4, 4), [1, 2])) and not torch.equal(noises[:, 0], noises[:, 1])
    mean = draw(denoiser, average=3)
    singly = []
    for own in noises.unbind(1):
        monkeypatch.setattr(sampler_module, "draw_noise", lambda shape, seeds, count, own=own: own)
        singly.append(draw(denoiser))
    for name in ("latent", "without", "within"):
        expected = torch.stack([getattr(one, name) for one in singly]).mean(dim=0)
        torch.testing.assert_close(getattr(mean, name), expected, rtol=1e-4, atol=1e-5)


def test_an_average_depends_on_its_own_seed_alone_and_takes_regions(make_denoiser):
    denoiser, sampler = make_denoiser(), make_sampler(average=2)
    both = sampler(denoiser, PRIOR, TEXT, NULL, seeds=[1, 2]).latent
    alone = sampler(denoiser, PRIOR[1:], TEXT[1:], NULL, seeds=[2]).latent
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)
    masks = torch.zeros(2, 1, 32, 32)
    masks[1, :, :, 16:] = 1
    for region in (masks, masks[1:], "auto"):
        sampled = sampler(denoiser, PRIOR, TEXT, NULL, seeds=[1, 2], region=region)
        assert len(sampled.latent) == len(sampled.region) == 2
    sampled = sampler(denoiser, PRIOR, TEXT, NULL, seeds=[1, 2], region=masks)
    assert sampled.region[0].max() == 0 < sampled.region[1].max()


def test_inverted_noise_is_not_averaged(make_denoiser):
    denoiser = make_denoiser()
    inverted = draw(denoiser, init_noise="from-prior")
    assert torch.equal(draw(denoiser, init_noise="from-prior", average=4).latent, inverted.latent)


@pytest.mark.parametrize("count", [0, 65])
def test_an_impossible_number_of_noises_is_refused(count):
    with pytest.raises(ConfigError, match=rf"average must be in \[1, 64\]; found {count}"):
        make_sampler(average=count)
