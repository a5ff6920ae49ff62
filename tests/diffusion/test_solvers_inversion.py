import torch

from biomedjourney_monai.diffusion.schedule import add_noise, trailing_timesteps
from biomedjourney_monai.diffusion.solvers import invert, solve

ALPHAS = torch.linspace(0.9999, 0.002, 1000)


def smooth_epsilon(latent, timestep):
    """A prediction that changes slowly from step to step, as a trained one does."""
    return 0.3 * torch.tanh(latent) + 0.1 * torch.cos(timestep / 1000)


def round_trip_error(steps):
    clean = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    timesteps = trailing_timesteps(train_timesteps=1000, steps=steps)
    noise = invert(smooth_epsilon, clean, ALPHAS, timesteps=timesteps.flip(0), prediction_type="epsilon")
    again = solve(smooth_epsilon, noise, ALPHAS, solver="ddim", steps=steps, prediction_type="epsilon")
    return float((again - clean).abs().mean())


def test_sampling_from_the_inverse_comes_back_the_better_the_more_steps():
    few, many = round_trip_error(20), round_trip_error(500)
    assert many < 0.05
    assert many < few / 3


def test_inversion_of_a_known_noise_finds_it():
    clean = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    timesteps = torch.tensor([0, 300, 999])
    found = invert(lambda latent, t: noise, clean, ALPHAS, timesteps=timesteps, prediction_type="epsilon")
    assert torch.allclose(found, add_noise(clean, noise, ALPHAS[999]), atol=1e-2)


def test_noise_is_added_by_variance():
    clean, noise = torch.full((1,), 3.0), torch.full((1,), 2.0)
    assert torch.allclose(add_noise(clean, noise, 0.36), torch.tensor([0.6 * 3 + 0.8 * 2]))
