import numpy as np
import pytest
import torch
from monai.networks.schedulers import DDPMScheduler

from biomedjourney_monai.diffusion.schedule import PREDICTION_TYPES
from biomedjourney_monai.diffusion.solvers import solve

ALPHAS = {
    name: DDPMScheduler(num_train_timesteps=1000, schedule=name).alphas_cumprod.double().numpy()
    for name in ("cosine", "scaled_linear_beta")
}


def predict_anything(noisy, timestep):
    """A denoiser that is wrong in a smooth way; works on arrays and tensors."""
    return 0.6 * noisy + 0.1 * (noisy * 0.5) ** 2 - 0.3 * float(timestep) / 1000


def ddim_by_the_paper(noise, alphas, *, steps, prediction_type):
    """Song et al. 2021, equation 14: a step of x / sqrt(alpha) along the noise; numpy, float64."""
    timesteps = (np.round(np.arange(len(alphas), 0, -len(alphas) / steps)).astype(int) - 1).tolist()
    x = noise.astype(np.float64)
    for index, timestep in enumerate(timesteps):
        alpha = alphas[timestep]
        following = alphas[timesteps[index + 1]] if index + 1 < steps else 1.0
        said = predict_anything(x, timestep)
        if prediction_type == "epsilon":
            epsilon = said
        elif prediction_type == "sample":
            epsilon = (x - np.sqrt(alpha) * said) / np.sqrt(1 - alpha)
        else:
            epsilon = np.sqrt(alpha) * said + np.sqrt(1 - alpha) * x
        step = np.sqrt((1 - following) / following) - np.sqrt((1 - alpha) / alpha)
        x = np.sqrt(following) * (x / np.sqrt(alpha) + step * epsilon)
    return x


@pytest.mark.parametrize(
    ("schedule", "prediction_type"),
    [
        (schedule, prediction_type)
        for schedule in ALPHAS
        for prediction_type in PREDICTION_TYPES
        if (schedule, prediction_type) != ("cosine", "epsilon")  # no signal at the last timestep: nothing to divide by
    ],
)
@pytest.mark.parametrize("steps", [1, 4, 10, 50])
def test_sampling_follows_the_paper(schedule, prediction_type, steps):
    noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    alphas = ALPHAS[schedule]
    kind = {"prediction_type": prediction_type, "solver": "ddim"}
    found = solve(predict_anything, noise, torch.tensor(alphas), steps=steps, **kind)
    expected = ddim_by_the_paper(noise.numpy(), alphas, steps=steps, prediction_type=prediction_type)
    assert np.allclose(found.numpy(), expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("steps", [7, 20, 100])
def test_a_denoiser_that_knows_the_clean_latent_gets_it_back(prediction_type, steps):
    alphas = torch.tensor(ALPHAS["scaled_linear_beta"], dtype=torch.float32)
    noise, clean = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(1))

    def know(noisy, timestep):
        signal, sigma = alphas[timestep].sqrt(), (1 - alphas[timestep]).sqrt()
        if prediction_type == "sample":
            return clean
        epsilon = (noisy - signal * clean) / sigma
        return epsilon if prediction_type == "epsilon" else signal * epsilon - sigma * clean

    found = solve(know, noise, alphas, steps=steps, prediction_type=prediction_type, solver="ddim")
    assert torch.allclose(found, clean, atol=1e-3)


def test_every_step_is_announced_and_sees_its_timestep():
    seen, announced = [], []

    def predict(noisy, timestep):
        seen.append((int(timestep), timestep.dtype))
        return noisy

    solve(
        predict,
        torch.zeros(1, 1, 2, 2),
        torch.tensor(ALPHAS["cosine"]),
        steps=4,
        prediction_type="epsilon",
        solver="ddim",
        on_step=announced.append,
    )
    assert seen == [(t, torch.int64) for t in (999, 749, 499, 249)]
    assert announced == [0, 1, 2, 3]


def test_half_precision_predictions_do_not_spread():
    noise = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = solve(
        lambda noisy, timestep: noisy.bfloat16(),
        noise,
        torch.tensor(ALPHAS["cosine"]),
        steps=3,
        prediction_type="sample",
        solver="ddim",
    )
    assert found.dtype == torch.float32
