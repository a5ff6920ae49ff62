"""Solvers: deterministic DDIM and its inverse, and higher-order solvers of diffusers used as numeric schedulers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from biomedjourney_monai.diffusion.schedule import to_clean_and_noise, trailing_timesteps
from biomedjourney_monai.diffusion.settings import SOLVERS
from biomedjourney_monai.errors import ConfigError

DDIM, DPM, UNIPC = SOLVERS
MOST_NOISE = 80.0
"""Standard deviation of the noise from which DPM-Solver++ starts, for images with a standard deviation of about 1: pure
noise to the eye (Karras et al. 2022, table 1). A cosine schedule ends at 20,000, and Karras' levels would lie on its
last few timesteps."""


@dataclass(frozen=True)
class Step:
    """One step of a solver.

    Attributes:
        timestep: at which to predict, an int64 scalar tensor.
        advance: `advance(prediction, latent)` returns the next latent.
        signal: share of signal variance that is then reached, a scalar tensor in (0, 1].
    """

    timestep: Tensor
    advance: Callable[[Tensor, Tensor], Tensor]
    signal: Tensor


def solve(
    predict: Callable[[Tensor, Tensor], Tensor],
    start: Tensor,
    alphas_cumprod: Tensor,
    *,
    solver: str,
    steps: int,
    prediction_type: str,
    first_step: int = 0,
    blend: Callable[[Tensor, Tensor], Tensor] | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Tensor:
    """Denoise a latent.

    Args:
        predict: `predict(noisy_latent, timestep)` with an int64 scalar tensor as timestep.
        start: the latent to start from, shape (B, C, h, w); standard normal unless `first_step` is above 0.
        alphas_cumprod: shape (T,), falling.
        solver: one of SOLVERS.
        steps: number of steps, in [1, T].
        prediction_type: what `predict` returns: epsilon, v_prediction or sample.
        first_step: number of steps to skip; `start` is then at the noise level of this step's timestep.
        blend: `blend(latent, signal)` replaces the latent after each step; `signal` is the share of signal variance
            that was reached, a scalar tensor in (0, 1].
        on_step: called with the index of each finished step.

    Returns:
        The clean latent, shape (B, C, h, w).

    Raises:
        ConfigError: if the solver is unknown, or has to skip steps and is not DDIM.
    """
    if first_step and solver != DDIM:
        raise ConfigError("only the solver ddim can start from a prior", found=solver, action="Pass --solver ddim")
    arguments = (alphas_cumprod, start.device, steps, prediction_type)
    plan = _ddim_steps(*arguments) if solver == DDIM else _diffusers_steps(solver, *arguments)
    latent = start
    for index, step in islice(enumerate(plan), first_step, None):
        latent = step.advance(predict(latent, step.timestep).float(), latent)
        if blend:
            latent = blend(latent, step.signal)
        if on_step:
            on_step(index)
    return latent


def _ddim_steps(alphas_cumprod: Tensor, device: torch.device, steps: int, prediction_type: str) -> Iterator[Step]:
    """The steps of DDIM (eta = 0), as diffusers' with `timestep_spacing="trailing"` and `set_alpha_to_one=True`.

    MONAI's own DDIM steps from t to t - T // N while its timesteps are spaced by `linspace`; here each step leads to
    the next timestep of the list, and the last one to the clean latent.

    Source: Song et al. 2021, DDIM, equation 12.
    """
    alphas_cumprod = alphas_cumprod.to(device, torch.float32)
    timesteps = trailing_timesteps(train_timesteps=len(alphas_cumprod), steps=steps).to(device)
    for index, timestep in enumerate(timesteps):
        following = alphas_cumprod[timesteps[index + 1]] if index + 1 < steps else alphas_cumprod.new_ones(())

        def advance(prediction: Tensor, latent: Tensor, at: Tensor = timestep, to: Tensor = following) -> Tensor:
            clean, noise = to_clean_and_noise(prediction, latent, alphas_cumprod[at], prediction_type=prediction_type)
            return to.sqrt() * clean + (1 - to).sqrt() * noise

        yield Step(timestep, advance, following)


def _diffusers_steps(
    solver: str, alphas_cumprod: Tensor, device: torch.device, steps: int, prediction_type: str
) -> Iterator[Step]:
    scheduler = make_scheduler(solver, alphas_cumprod, prediction_type=prediction_type)
    scheduler.set_timesteps(steps, device=device)
    scheduler.set_begin_index(0)  # otherwise it is looked up by the first timestep, which two levels may share
    for index, timestep in enumerate(scheduler.timesteps):

        def advance(prediction: Tensor, latent: Tensor, at: Tensor = timestep) -> Tensor:
            return scheduler.step(prediction, at, latent).prev_sample

        yield Step(timestep.long(), advance, 1 / (1 + scheduler.sigmas[index + 1].to(device) ** 2))


@torch.no_grad()
def invert(
    predict: Callable[[Tensor, Tensor], Tensor],
    clean: Tensor,
    alphas_cumprod: Tensor,
    *,
    timesteps: Tensor,
    prediction_type: str,
) -> Tensor:
    """Follow DDIM's path backwards, from a clean latent to a noisy one.

    Each step uses the noise that is predicted at the level reached so far, which is exact for infinitely small steps
    only: sampling from the result comes close to the clean latent.

    Args:
        predict: `predict(noisy_latent, timestep)` with an int64 scalar tensor as timestep.
        clean: scaled latent, shape (B, C, h, w).
        alphas_cumprod: shape (T,), falling.
        timesteps: to pass through, rising, int64, shape (N,).
        prediction_type: what `predict` returns.

    Returns:
        The latent at the last timestep, shape (B, C, h, w).

    Source: Song et al. 2021, DDIM, section 4.3.
    """
    alphas_cumprod = alphas_cumprod.to(clean.device, torch.float32)
    latent, at = clean, timesteps[0]
    for timestep in timesteps.to(clean.device):
        prediction = predict(latent, at).float()
        start, noise = to_clean_and_noise(prediction, latent, alphas_cumprod[at], prediction_type=prediction_type)
        signal = alphas_cumprod[timestep]
        latent = signal.sqrt() * start + (1 - signal).sqrt() * noise
        at = timestep
    return latent


def make_scheduler(solver: str, alphas_cumprod: Tensor, *, prediction_type: str) -> Any:
    """diffusers' scheduler for a noise schedule: DPM-Solver++ 2M with Karras' noise levels, or UniPC.

    DPM-Solver++ leaves out noise levels above MOST_NOISE.

    Raises:
        ConfigError: if the solver is unknown.

    Source: Lu et al. 2022, DPM-Solver++; Karras et al. 2022, equation 5; Zhao et al. 2023, UniPC.
    """
    if solver not in SOLVERS:
        raise ConfigError(f"the solver must be one of {', '.join(SOLVERS)}", found=str(solver))
    from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler

    alphas = alphas_cumprod.double().cpu()
    if solver == DPM:
        alphas = alphas[(1 - alphas) / alphas <= MOST_NOISE**2]
    betas = 1 - alphas / torch.cat([alphas.new_ones(1), alphas[:-1]])
    shared = {
        "num_train_timesteps": len(alphas),
        "trained_betas": betas.tolist(),
        "prediction_type": prediction_type,
        "timestep_spacing": "trailing",
        "final_sigmas_type": "zero",
    }
    if solver == DPM:
        return DPMSolverMultistepScheduler(**shared, use_karras_sigmas=True)
    return UniPCMultistepScheduler(**shared)
