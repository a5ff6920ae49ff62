import pytest
import torch
from diffusers import DDIMScheduler
from monai.networks.schedulers import DDPMScheduler

from biomedjourney_monai.diffusion.schedule import PREDICTION_TYPES
from biomedjourney_monai.diffusion.solvers import SOLVERS, make_scheduler, solve
from biomedjourney_monai.errors import ConfigError

SCALED_LINEAR = {"schedule": "scaled_linear_beta", "beta_start": 0.00085, "beta_end": 0.012}
ALPHAS = DDPMScheduler(num_train_timesteps=1000, **SCALED_LINEAR).alphas_cumprod.float()
COSINE = DDPMScheduler(num_train_timesteps=1000, schedule="cosine").alphas_cumprod.float()
NOISE = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def wavy(latent, timestep):
    """A prediction that depends on latent and timestep, smoothly."""
    return torch.sin(1.7 * latent + 0.001 * float(timestep)) * 0.7


def towards(target):
    """The noise that a perfect network predicts where every image is `target`."""

    def predict(latent, timestep):
        signal = ALPHAS[int(timestep)]
        return (latent - signal.sqrt() * target) / (1 - signal).sqrt()

    return predict


@pytest.mark.parametrize("steps", [1, 4, 10, 50])  # divisors of T: with others diffusers steps past its own timesteps
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_ddim_is_that_of_diffusers_step_for_step(prediction_type, steps):
    scheduler = DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type=prediction_type,
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(steps)
    latent, theirs = NOISE, []
    for timestep in scheduler.timesteps:
        latent = scheduler.step(wavy(latent, timestep), timestep, latent).prev_sample
        theirs.append(latent)
    ours, kind = [], prediction_type
    solve(
        wavy,
        NOISE,
        ALPHAS,
        solver="ddim",
        steps=steps,
        prediction_type=kind,
        blend=lambda latent, signal: ours.append(latent) or latent,
    )
    assert len(ours) == steps
    for mine, other in zip(ours, theirs):
        assert float((mine - other).norm() / other.norm()) < 1e-5


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_finds_what_a_perfect_network_points_at(solver):
    target = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    found = solve(towards(target), NOISE, ALPHAS, solver=solver, steps=10, prediction_type="epsilon")
    assert float((found - target).abs().max()) < 1e-3


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_blend_after_the_last_step_sees_a_clean_latent(solver):
    signals = []

    def blend(latent, signal):
        signals.append(float(signal))
        return latent

    solve(wavy, NOISE, ALPHAS, solver=solver, steps=5, prediction_type="epsilon", blend=blend)
    assert signals == sorted(signals)
    assert len(signals) == 5
    assert signals[-1] == 1


def test_what_a_blend_returns_goes_on():
    zero = solve(
        wavy, NOISE, ALPHAS, solver="ddim", steps=5, prediction_type="epsilon", blend=lambda latent, signal: latent * 0
    )
    assert float(zero.abs().max()) == 0


def test_second_order_is_nearer_to_the_fine_solution_than_ddim():
    def at(solver, steps):
        return solve(wavy, NOISE, ALPHAS, solver=solver, steps=steps, prediction_type="v_prediction")

    fine = at("ddim", 1000)
    errors = {solver: float((at(solver, 20) - fine).norm() / fine.norm()) for solver in SOLVERS}
    assert errors["unipc"] < errors["ddim"]
    assert errors["dpm++"] < errors["ddim"]


def test_the_first_steps_can_be_left_out():
    levels = []
    solve(
        wavy,
        NOISE,
        ALPHAS,
        solver="ddim",
        steps=4,
        prediction_type="epsilon",
        first_step=3,
        blend=lambda latent, signal: levels.append(float(signal)) or latent,
    )
    assert levels == [1.0]


def test_the_same_noise_schedule_reaches_diffusers():
    scheduler = make_scheduler("unipc", ALPHAS, prediction_type="epsilon")
    assert float((scheduler.alphas_cumprod - ALPHAS).abs().max()) < 1e-6


def test_an_unknown_solver_and_a_late_start_of_another_are_refused():
    with pytest.raises(ConfigError, match="ddim, dpm\\+\\+, unipc; found euler"):
        make_scheduler("euler", ALPHAS, prediction_type="epsilon")
    with pytest.raises(ConfigError, match="only the solver ddim"):
        solve(wavy, NOISE, ALPHAS, solver="unipc", steps=4, prediction_type="epsilon", first_step=1)


@pytest.mark.parametrize("steps", [1, 2, 6, 10, 25, 50])
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_takes_a_schedule_that_ends_in_pure_noise(solver, steps):
    target = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    seen = []

    def know(latent, timestep):
        seen.append(int(timestep))
        return target

    found = solve(know, NOISE, COSINE, solver=solver, steps=steps, prediction_type="sample")
    assert float((found - target).abs().max()) < 1e-2
    assert len(seen) == steps and seen == sorted(seen, reverse=True)
    assert seen[0] > 980


def test_karras_levels_are_not_spent_on_pure_noise():
    scheduler = make_scheduler("dpm++", COSINE, prediction_type="sample")
    scheduler.set_timesteps(6)
    assert len(set(scheduler.timesteps.tolist())) == 6
    assert 70 < float(scheduler.sigmas[0]) <= 80
    levels = make_scheduler("dpm++", ALPHAS, prediction_type="epsilon")
    assert len(levels.alphas_cumprod) == 1000  # a schedule that ends before is whole
