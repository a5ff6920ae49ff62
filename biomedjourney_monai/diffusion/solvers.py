"""Solvers: deterministic DDIM, and higher-order solvers of diffusers used as plain numeric schedulers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from biomedjourney_monai.diffusion.schedule import to_clean_and_noise, trailing_timesteps
from biomedjourney_monai.diffusion.settings import SOLVERS
from biomedjourney_monai.errors import ConfigError

DDIM, DPM, UNIPC = SOLVERS
MOST_NOISE = 80.0
"""Standard deviation of the noise, the image's being about 1, from which DPM-Solver++ starts: all noise to the eye
(Karras et al. 2022, table 1). A cosine schedule ends at 20,000; Karras' levels would lie on its last few timesteps."""


def ddim_sample(
    predict: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    alphas_cumprod: Tensor,
    *,
    steps: int,
    prediction_type: str,
    first_step: int = 0,
    blend: Callable[[Tensor, Tensor], Tensor] | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Tensor:
    """Denoise with DDIM (eta = 0).

    MONAI's own DDIM steps from t to t - T // N while its timesteps are spaced by `linspace`; here each step goes to
    the next timestep of the list, and the last one to the clean latent: diffusers' DDIM with
    `timestep_spacing="trailing"` and `set_alpha_to_one=True`.

    Args:
        predict: `predict(noisy_latent, timestep)` with an int64 scalar tensor as timestep.
        noise: the latent to start from, shape (B, C, h, w); standard normal unless `first_step` is above 0.
        alphas_cumprod: shape (T,), falling.
        steps: number of steps, in [1, T].
        prediction_type: what `predict` returns: epsilon, v_prediction or sample.
        first_step: leave out so many of the first steps; `noise` is then at the noise level of this step's timestep.
        blend: `blend(latent, signal)` after each step, with the share of signal variance that was reached, a scalar
            tensor in (0, 1]; what it returns goes on.
        on_step: called with the index of each finished step.

    Returns:
        The clean latent, shape (B, C, h, w).

    Source: Song et al. 2021, DDIM, equation 12.
    """
    alphas_cumprod = alphas_cumprod.to(noise.device, torch.float32)
    timesteps = trailing_timesteps(train_timesteps=len(alphas_cumprod), steps=steps).to(noise.device)
    latent = noise
    for index in range(first_step, steps):
        timestep = timesteps[index]
        following = alphas_cumprod[timesteps[index + 1]] if index + 1 < steps else alphas_cumprod.new_ones(())
        clean, direction = to_clean_and_noise(
            predict(latent, timestep).float(), latent, alphas_cumprod[timestep], prediction_type=prediction_type
        )
        latent = following.sqrt() * clean + (1 - following).sqrt() * direction
        if blend:
            latent = blend(latent, following)
        if on_step:
            on_step(index)
    return latent


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
    """Denoise with one of SOLVERS; arguments and result as in `ddim_sample`.

    Raises:
        ConfigError: if the solver is unknown, or is to start within its steps and is not DDIM.
    """
    hooks = {"blend": blend, "on_step": on_step}
    if solver == DDIM:
        return ddim_sample(
            predict,
            start,
            alphas_cumprod,
            steps=steps,
            prediction_type=prediction_type,
            first_step=first_step,
            **hooks,
        )
    if first_step:
        raise ConfigError("only the solver ddim can start from a prior", found=solver, action="Pass --solver ddim")
    scheduler = make_scheduler(solver, alphas_cumprod, prediction_type=prediction_type)
    scheduler.set_timesteps(steps, device=start.device)
    scheduler.set_begin_index(0)  # else it is looked up by the first timestep, which two levels may share
    latent = start
    for index, timestep in enumerate(scheduler.timesteps):
        latent = scheduler.step(predict(latent, timestep.long()).float(), timestep, latent).prev_sample
        if blend:
            latent = blend(latent, 1 / (1 + scheduler.sigmas[index + 1].to(latent.device) ** 2))
        if on_step:
            on_step(index)
    return latent


def make_scheduler(solver: str, alphas_cumprod: Tensor, *, prediction_type: str) -> Any:
    """diffusers' scheduler for a noise schedule: DPM-Solver++ 2M with Karras' noise levels, or UniPC.

    DPM-Solver++ leaves out what lies beyond MOST_NOISE.

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
    }
    if solver == DPM:
        return DPMSolverMultistepScheduler(**shared, use_karras_sigmas=True, final_sigmas_type="zero")
    return UniPCMultistepScheduler(**shared, final_sigmas_type="zero")
