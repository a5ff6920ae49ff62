"""What a student learns: the end of its teacher's path, or two of its teacher's steps."""

import pytest
import torch
from monai.networks.schedulers import DDPMScheduler
from torch import nn

from biomedjourney_monai.errors import SettingError
from biomedjourney_monai.networks.distilled import Distilled
from biomedjourney_monai.training.distillation import DistillPrepareBatch

BATCH = {
    "prior_latent": torch.zeros(2, 1, 4, 4),
    "text_states": torch.ones(2, 3, 4),
    "valid": torch.ones(2, 1, 4, 4),
}


class Halving(nn.Module):
    """Predicts half of what it is given as the clean latent, whatever the conditions, and counts the calls."""

    def __init__(self, distilled=None):
        super().__init__()
        self.distilled, self.calls, self.scale_factor = distilled, 0, torch.tensor(1.0)

    def forward(self, noisy, timesteps, prior, text, scales=None):
        self.calls += 1
        return 0.5 * noisy


def prepare(**more):
    schedule = DDPMScheduler(num_train_timesteps=1000, schedule="cosine", prediction_type="sample", clip_sample=False)
    student = Halving(Distilled(steps=(2, 1), text_guidance_scale=(1, 5), image_guidance_scale=(1, 3)))
    given = {"scale_factor": 1.0, "null_text_states": torch.zeros(1, 3, 4), "precision": "float32"}
    return DistillPrepareBatch(schedule, teacher=Halving(), student=student, **given, **more), schedule


def ddim(state, signal, following):
    """One step by hand, with half of the state as the clean latent."""
    noise = (state - signal**0.5 * 0.5 * state) / (1 - signal) ** 0.5
    return following**0.5 * 0.5 * state + (1 - following) ** 0.5 * noise


def test_a_progressive_step_leads_where_two_steps_of_the_teacher_lead():
    prepared, schedule = prepare(method="progressive", path_steps=(2,))
    noisy, target, _, inputs = prepared(BATCH)
    assert inputs["timesteps"].tolist() == [999, 999, 499, 499] and prepared.teacher.calls == 4
    at = {step: float(schedule.alphas_cumprod[step]) for step in (999, 749, 499, 249)}
    first, second = noisy.double().chunk(2)
    ends = ddim(ddim(first, at[999], at[749]), at[749], at[499]), ddim(ddim(second, at[499], at[249]), at[249], 1.0)
    clean = target.target.double().chunk(2)
    noise = (first - at[999] ** 0.5 * clean[0]) / (1 - at[999]) ** 0.5
    torch.testing.assert_close(at[499] ** 0.5 * clean[0] + (1 - at[499]) ** 0.5 * noise, ends[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(clean[1], ends[1], rtol=1e-4, atol=1e-4)


def test_a_direct_student_learns_the_end_of_the_path_at_each_of_its_states():
    prepared, schedule = prepare(path_steps=(2,), teacher_steps=2)
    noisy, target, _, _ = prepared(BATCH)
    at = [float(schedule.alphas_cumprod[step]) for step in (999, 499)]
    end = ddim(ddim(noisy[:2].double(), at[0], at[1]), at[1], 1.0)
    torch.testing.assert_close(target.target.double(), end.repeat(2, 1, 1, 1), rtol=1e-4, atol=1e-4)


def test_a_consistent_student_agrees_with_itself_after_one_step_of_the_teacher():
    prepared, schedule = prepare(method="consistency", path_steps=(4,), teacher_steps=4)
    noisy, target, _, inputs = prepared({**BATCH, "new_mean": torch.full((2, 1, 4, 4), 0.7)})
    assert inputs["timesteps"].tolist() == [step for step in (999, 749, 499, 249) for _ in range(2)]
    assert prepared.teacher.calls == 4 and prepared.student.calls == 3
    at = [float(schedule.alphas_cumprod[step]) for step in (999, 749, 499, 249)]
    states = noisy.double().chunk(4)
    noise = (states[0] - at[0] ** 0.5 * 0.7) / (1 - at[0]) ** 0.5
    for state, clean, here, following in zip(states, target.target.double().chunk(4), at, [*at[1:], 1.0], strict=True):
        torch.testing.assert_close(state, here**0.5 * 0.7 + (1 - here) ** 0.5 * noise, rtol=1e-4, atol=1e-4)
        end = ddim(state, here, following)
        torch.testing.assert_close(clean, end if following == 1 else 0.5 * end, rtol=1e-4, atol=1e-4)


def test_another_method_is_refused():
    with pytest.raises(SettingError, match="method must be one of direct, progressive, consistency; found adversarial"):
        prepare(method="adversarial")


def test_a_consistent_path_longer_than_the_teachers_is_refused():
    with pytest.raises(SettingError, match="path_steps must be at most teacher_steps, 3; found"):
        prepare(method="consistency", path_steps=(2, 4), teacher_steps=3)
