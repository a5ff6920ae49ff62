import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.networks.schedulers import DDPMScheduler

from biomedjourney_monai.networks.prior_expectation import PriorExpectation, from_residual
from biomedjourney_monai.networks.weights.geometry import GEOMETRY_KEY, geometry_of

CHANNELS = 3
SCHEDULE = DDPMScheduler(num_train_timesteps=50, schedule="cosine", prediction_type="sample", clip_sample=False)


def make(pairs=None):
    expectation = PriorExpectation(channels=CHANNELS, alphas_cumprod=SCHEDULE.alphas_cumprod)
    return expectation if pairs is None else expectation.fit(*pairs)


def draw_pairs(count=64, *, share=(0.9, 0.5, 0.0), spread=(0.3, 0.8, 1.0), seed=0):
    """Next latents that follow the prior ones as a fitted expectation says, channel by channel."""
    generator = torch.Generator().manual_seed(seed)
    prior, rest = torch.randn(2, count, CHANNELS, 8, 8, generator=generator)
    shape = (1, CHANNELS, 1, 1)
    return prior, torch.tensor(share).reshape(shape) * prior + torch.tensor(spread).reshape(shape) * rest


def noised(clean, timestep, *, seed=1):
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    timesteps = torch.full((len(clean),), timestep)
    return SCHEDULE.add_noise(original_samples=clean, noise=noise, timesteps=timesteps), timesteps


def test_it_finds_what_the_prior_tells_in_each_channel():
    expectation = make(draw_pairs())
    assert torch.allclose(expectation.share, torch.tensor([0.9, 0.5, 0.0]), atol=0.02)
    assert torch.allclose(expectation.spread, torch.tensor([0.3, 0.8, 1.0]), atol=0.02)
    assert torch.allclose(expectation.alone.square(), torch.tensor([0.9, 0.89, 1.0]), atol=0.05)


@pytest.mark.parametrize("timestep", [0, 10, 25, 40, 49])
def test_without_a_network_nothing_linear_is_nearer_to_the_next_latent(timestep):
    """Least squares on the noisy and the prior latent, solved for these very numbers, is the least there can be."""
    prior, new = draw_pairs()
    noisy, timesteps = noised(new, timestep)
    found = make((prior, new))(torch.zeros_like(new), noisy, timesteps, prior)
    for channel in range(CHANNELS):
        known = torch.stack([noisy[:, channel].flatten(), prior[:, channel].flatten()], dim=1).double()
        target = new[:, channel].flatten().double()
        least = (known @ torch.linalg.lstsq(known, target).solution - target).square().mean()
        error = (found[:, channel].flatten() - target).square().mean()
        assert error <= 1.02 * least + 1e-7


@pytest.mark.parametrize("timestep", [5, 25, 45])
def test_what_is_left_to_the_network_has_one_size(timestep):
    prior, new = draw_pairs()
    noisy, timesteps = noised(new, timestep)
    expectation = make((prior, new))
    zero = expectation(torch.zeros_like(new), noisy, timesteps, prior)
    unit = expectation(torch.ones_like(new), noisy, timesteps, prior) - zero
    assert torch.allclose(((new - zero) / unit).std((0, 2, 3)), torch.ones(CHANNELS), atol=0.05)


def test_a_prior_without_structure_tells_nothing():
    prior, new = draw_pairs()
    expectation = make((prior, new))
    noisy, timesteps = noised(new, 30)
    flat = torch.tensor([0.4, -1.0, 0.2])[:, None, None].expand_as(new)  # the dummy prior
    null = expectation(torch.zeros_like(new), noisy, timesteps, torch.zeros_like(new))
    assert torch.equal(expectation(torch.zeros_like(new), noisy, timesteps, flat), null)
    signal = SCHEDULE.alphas_cumprod[30]
    variance = expectation.alone[:, None, None].square()
    assert torch.allclose(null, signal.sqrt() * variance / (signal * variance + 1 - signal) * noisy, atol=1e-6)


@given(st.lists(st.booleans(), min_size=2, max_size=5), st.integers(0, 49))
def test_each_case_is_its_own(blank, timestep):
    prior, new = draw_pairs(len(blank))
    prior[torch.tensor(blank)] = 0.0
    expectation = make(draw_pairs())
    noisy, timesteps = noised(new, timestep)
    output = torch.randn(new.shape, generator=torch.Generator().manual_seed(2))
    together = expectation(output, noisy, timesteps, prior)
    assert torch.equal(together, expectation(output, noisy, timesteps[:1], prior))  # one timestep for all
    for n in range(len(blank)):
        alone = expectation(*(value[n : n + 1] for value in (output, noisy, timesteps, prior)))
        assert torch.allclose(together[n : n + 1], alone, atol=1e-6)


def test_the_fit_is_saved_and_the_noise_schedule_is_not():
    assert set(make().state_dict()) == {"share", "spread", "alone"}


def test_there_must_be_pairs_of_one_shape():
    prior, new = draw_pairs(2)
    for pair in ((prior[:1], new), (prior[:0], new[:0])):
        with pytest.raises(ValueError, match="pair of equal shape"):
            make(pair)


def test_the_unet_of_a_residual_model_starts_with_its_own_changes(make_denoiser):
    """From noise alone, and where the next latent is expected to be the prior, both models say the same."""
    before = make_denoiser(residual_to_prior=True)
    schedule = torch.linspace(0.99, 0.0, 1000)
    expectation = PriorExpectation(channels=4, alphas_cumprod=schedule)
    expectation.spread.copy_(torch.tensor([0.5, 0.8, 1.0, 1.5]))
    state = {f"denoiser.{name}": value for name, value in before.state_dict().items()}
    changed, info = from_residual(state, {GEOMETRY_KEY: geometry_of(denoiser=before)}, expectation)
    after = make_denoiser(seed=1, prior_expectation=PriorExpectation(channels=4, alphas_cumprod=schedule))
    after.load_state_dict({name.removeprefix("denoiser."): value for name, value in changed.items()}, strict=True)
    assert info[GEOMETRY_KEY] == geometry_of(denoiser=after)
    noisy, prior = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    inputs = {"noisy_latent": noisy, "prior_latent": prior, "timesteps": torch.tensor([999, 999])}
    inputs["text_states"] = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1))
    expected = before(**inputs)
    assert torch.allclose(after(**inputs), expected, atol=1e-4)
    assert not torch.allclose(expected, prior, atol=0.01)
