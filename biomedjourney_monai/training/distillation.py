"""Batches for a student of few steps: states on its own path, and where its teacher's guided path ends."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from biomedjourney_monai.diffusion.guidance import Conditions, Guidance
from biomedjourney_monai.diffusion.schedule import add_noise, from_clean, to_clean_and_noise, trailing_timesteps
from biomedjourney_monai.diffusion.solvers import DDIM, solve
from biomedjourney_monai.errors import SettingError
from biomedjourney_monai.networks.denoiser import Denoiser
from biomedjourney_monai.networks.fast_path import FastDenoiser
from biomedjourney_monai.training.inferers import AutocastInferer
from biomedjourney_monai.training.prepare_batch import DiffusionPrepareBatch, WeightedTarget

METHODS = ("direct", "progressive", "consistency")


class DistillPrepareBatch(DiffusionPrepareBatch):
    """Draw noise and scales, follow teacher and student from them, and let the student learn the teacher's end.

    The teacher goes its whole way by DDIM under two-scale guidance, three evaluations a step. The student goes its own
    way of few steps, one evaluation each; at every state of it the target is the clean latent at which the teacher
    arrived from the same noise. So a later step learns to correct the errors of the student's earlier steps.

    Args:
        noise_scheduler, scale_factor, null_text_states, **more: of `DiffusionPrepareBatch`. Only the text is dropped,
            since a student is never asked without a prior.
        teacher: frozen.
        student: the network that is trained.
        teacher_steps: of the teacher's path.
        path_steps: steps of the student's paths; each batch takes one of them.
        method: "direct"; "progressive", where a student's step learns two of the teacher's from the same state; or
            "consistency", where the states are noised target films, as many as a path has steps, at timesteps of the
            teacher's path, and the student learns to agree with itself after one step of the teacher.
        drop_text: probability of the empty description.
        precision: of the student's path, as in training.

    Source: Luhman and Luhman 2021, Knowledge Distillation in Iterative Generative Models; Salimans and Ho 2022,
        Progressive Distillation; Luo et al. 2023, Latent Consistency Models; states of the student's own path as in
        Ross et al. 2011 (DAgger).
    """

    def __init__(
        self,
        *args: Any,
        teacher: Denoiser | FastDenoiser,
        student: Denoiser,
        teacher_steps: int = 5,
        path_steps: Sequence[int] = (2,),
        method: str = "direct",
        drop_text: float = 0.05,
        precision: str = "bfloat16",
        **more: Any,
    ) -> None:
        super().__init__(*args, drop_text=drop_text, drop_image=0.0, drop_both=0.0, **more)
        assert student.distilled is not None, "distilled says what the student is trained for"
        self.teacher, self.student, self.distilled = teacher, student, student.distilled
        if method not in METHODS:
            raise SettingError("method", f"must be one of {', '.join(METHODS)}", found=str(method))
        if method == "consistency" and max(path_steps) > teacher_steps:
            raise SettingError("path_steps", f"must be at most teacher_steps, {teacher_steps}", found=str(path_steps))
        self.method, self.teacher_steps, self.path_steps = method, teacher_steps, tuple(path_steps)
        self.inferer, self.kind = AutocastInferer(precision=precision), str(self.noise_scheduler.prediction_type)

    @torch.no_grad()
    def __call__(
        self,
        batchdata: dict[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **_: Any,
    ) -> tuple[Tensor, WeightedTarget, tuple[()], dict[str, Tensor]]:
        """Returns: N states for each of B examples, (N·B, C, h, w), their weighted target, four keyword arguments."""
        prior, text = self._drop_conditions(batchdata["prior_latent"], batchdata["text_states"])
        noise, scales = self._normal(prior.shape), self._scales(len(prior))
        steps = self.path_steps[int(torch.randint(len(self.path_steps), (1,), generator=self.generator))]
        prior, text, noise, scales, valid = (
            value.to(device, non_blocking=non_blocking) for value in (prior, text, noise, scales, batchdata["valid"])
        )
        guided = self._guided(prior, text, scales)
        if self.method == "consistency":
            film = self.scale_factor * batchdata["new_mean"].to(noise)
            states, timesteps, clean = self._consistent(guided, film, noise, (prior, text, scales), steps=steps)
        else:
            states, timesteps = self._follow_student(noise, prior, text, scales, steps=steps)
            if self.method == "direct":
                clean = self._follow_teacher(guided, noise).repeat(steps, 1, 1, 1)
            else:
                steps_of_path = zip(states, timesteps, [*timesteps[1:], None])
                clean = torch.cat([self._two_steps(guided, *step) for step in steps_of_path])
        times = timesteps.repeat_interleave(len(prior)).to(noise.device)  # (N·B,)
        noisy = torch.cat(states)
        signal = self.noise_scheduler.alphas_cumprod.to(noisy)[times].reshape(-1, 1, 1, 1)
        target = from_clean(clean, noisy, signal, prediction_type=self.kind)
        weight = self._weight(valid.repeat(steps, 1, 1, 1), times.cpu())
        inputs = {
            "timesteps": times,
            "prior_latent": prior.repeat(steps, 1, 1, 1),
            "text_states": text.repeat(steps, 1, 1),
            "scales": scales.repeat(steps, 1),
        }
        return noisy, WeightedTarget(target, weight.to(noisy.device), times), (), inputs

    def _scales(self, count: int) -> Tensor:
        """Guidance scales, shape (count, 2), text first, evenly from the student's ranges."""
        share = self._own(torch.rand(self.processes * count, 2, generator=self.generator))
        ranges = self.distilled.text_guidance_scale, self.distilled.image_guidance_scale
        low, high = (torch.tensor([limits[end] for limits in ranges]) for end in (0, 1))
        return low + (high - low) * share

    def _guided(self, prior: Tensor, text: Tensor, scales: Tensor) -> Guidance:
        """The teacher under two-scale guidance."""
        given = Conditions(self.teacher, prior, text, self.null_text_states.to(text))
        text_scale, image_scale = scales[:, :, None, None, None].unbind(1)  # (B, 1, 1, 1) each
        return Guidance(given, image_scale=image_scale, text_scale=text_scale)

    def _follow_teacher(self, guided: Guidance, noise: Tensor) -> Tensor:
        """The clean latent at which the teacher arrives, same shape as the noise."""
        alphas, steps = self.noise_scheduler.alphas_cumprod, self.teacher_steps
        return solve(guided, noise, alphas, solver=DDIM, steps=steps, prediction_type=self.kind)

    def _two_steps(self, guided: Guidance, state: Tensor, at: Tensor, following: Tensor | None) -> Tensor:
        """The clean latent that takes a student from a state, in one step, to where two steps of the teacher lead.

        `at` and `following` are the timesteps of the state and of the student's next; None for the clean latent.
        """
        alphas = self.noise_scheduler.alphas_cumprod.to(state)
        middle = (at + (0 if following is None else following)) // 2
        end = torch.ones_like(alphas[0]) if following is None else alphas[following]
        latent = state
        for here, signal in ((at, alphas[middle]), (middle, end)):
            latent = self._advance(guided(latent, here.to(latent.device)), latent, alphas[here], signal)
        kept = ((1 - end) / (1 - alphas[at])).sqrt()  # of the state, in a step of DDIM
        return (latent - kept * state) / (end.sqrt() - kept * alphas[at].sqrt())

    def _consistent(
        self, guided: Guidance, film: Tensor, noise: Tensor, given: tuple[Tensor, Tensor, Tensor], *, steps: int
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Noised films, their timesteps, and the clean latents that the student sees one teacher's step later.

        `film` is the scaled latent of the target, `given` prior, text and scales. After the path's last step the clean
        latent is the teacher's.
        """
        alphas = self.noise_scheduler.alphas_cumprod.to(noise)
        grid = trailing_timesteps(train_timesteps=len(alphas), steps=self.teacher_steps)
        places = torch.randperm(len(grid), generator=self.generator)[:steps].sort().values
        states, clean = [], []
        for place in places.tolist():
            at, last = grid[place], place + 1 == len(grid)
            state = add_noise(film, noise, alphas[at])
            signal = torch.ones_like(alphas[0]) if last else alphas[grid[place + 1]]
            latent = self._advance(guided(state, at.to(state.device)), state, alphas[at], signal)
            if not last:
                prediction = self.inferer(latent, self.student, self._same(grid[place + 1], latent), *given)
                latent = to_clean_and_noise(prediction.float(), latent, signal, prediction_type=self.kind)[0]
            states.append(state)
            clean.append(latent)
        return states, grid[places], torch.cat(clean)

    def _follow_student(
        self, noise: Tensor, prior: Tensor, text: Tensor, scales: Tensor, *, steps: int
    ) -> tuple[list[Tensor], Tensor]:
        """The states of the student's path, from the noise on, and their timesteps."""
        alphas = self.noise_scheduler.alphas_cumprod.to(noise)
        timesteps = trailing_timesteps(train_timesteps=len(alphas), steps=steps)
        states = [noise]
        for at, following in pairwise(timesteps):
            latent = states[-1]
            prediction = self.inferer(latent, self.student, self._same(at, latent), prior, text, scales)
            states.append(self._advance(prediction, latent, alphas[at], alphas[following]))
        return states, timesteps

    @staticmethod
    def _same(timestep: Tensor, latent: Tensor) -> Tensor:
        """One timestep for every case of a batch."""
        return timestep.expand(len(latent)).to(latent.device)

    def _advance(self, prediction: Tensor, latent: Tensor, signal: Tensor, following: Tensor) -> Tensor:
        """One step of DDIM from one noise level to another."""
        clean, noise = to_clean_and_noise(prediction.float(), latent, signal, prediction_type=self.kind)
        return add_noise(clean, noise, following)
