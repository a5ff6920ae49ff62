import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.diffusion.schedule import PREDICTION_TYPES, to_clean_and_noise, trailing_timesteps


@given(data=st.data(), train_timesteps=st.integers(1, 2000))
def test_timesteps_fall_evenly_from_the_noisiest(data, train_timesteps):
    steps = data.draw(st.integers(1, train_timesteps))
    timesteps = trailing_timesteps(train_timesteps=train_timesteps, steps=steps)
    assert timesteps.dtype == torch.int64
    assert len(timesteps) == steps
    assert timesteps[0] == train_timesteps - 1
    assert timesteps[-1] >= 0
    gaps = (timesteps[:-1] - timesteps[1:]).tolist()
    assert all(abs(gap - train_timesteps / steps) <= 1 and gap >= 1 for gap in gaps)


def test_timesteps_by_hand():
    assert trailing_timesteps(train_timesteps=1000, steps=1).tolist() == [999]
    assert trailing_timesteps(train_timesteps=1000, steps=4).tolist() == [999, 749, 499, 249]
    assert trailing_timesteps(train_timesteps=1000, steps=3).tolist() == [999, 666, 332]


@pytest.mark.parametrize("steps", [0, -1, 1001, 5000])
def test_impossible_step_counts_are_refused(steps):
    with pytest.raises(ValueError, match=r"\[1, 1000\]"):
        trailing_timesteps(train_timesteps=1000, steps=steps)


def predictions(clean, noise, alpha):
    """What a perfect denoiser says, by the definitions."""
    return {
        "epsilon": noise,
        "sample": clean,
        "v_prediction": alpha**0.5 * noise - (1 - alpha) ** 0.5 * clean,
    }


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@given(alpha=st.floats(0.01, 0.99), seed=st.integers(0, 2**31))
def test_a_perfect_prediction_implies_clean_latent_and_noise(prediction_type, alpha, seed):
    clean, noise = torch.randn(2, 1, 3, 2, 2, generator=torch.Generator().manual_seed(seed))
    noisy = alpha**0.5 * clean + (1 - alpha) ** 0.5 * noise
    prediction = predictions(clean, noise, alpha)[prediction_type]
    found = to_clean_and_noise(prediction, noisy, torch.tensor(alpha), prediction_type=prediction_type)
    assert torch.allclose(found[0], clean, atol=1e-4)
    assert torch.allclose(found[1], noise, atol=1e-4)


def test_an_unknown_prediction_type_is_refused():
    with pytest.raises(ValueError, match="velocity"):
        to_clean_and_noise(torch.zeros(1), torch.zeros(1), torch.tensor(0.5), prediction_type="velocity")
