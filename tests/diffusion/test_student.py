"""Sampling with a student of few steps: one evaluation a step, and refusals before the first."""

import pytest
import torch

from biomedjourney_monai.diffusion.guidance import Conditions, Guidance
from biomedjourney_monai.diffusion.sampler import CounterfactualSampler
from biomedjourney_monai.diffusion.schedule import from_clean, to_clean_and_noise
from biomedjourney_monai.errors import SettingError
from biomedjourney_monai.networks.distilled import Distilled

TEXT, NULL = torch.ones(2, 3, 4), torch.zeros(1, 3, 4)


class Student:
    """Predicts prior + text mean · text scale + image scale / 10, and counts the cases that it is asked for."""

    scale_factor = torch.tensor(1.0)
    distilled = Distilled(steps=(2, 1, 4), text_guidance_scale=(1, 5), image_guidance_scale=(1, 3))

    def __init__(self):
        self.batches = []

    def __call__(self, noisy, timesteps, prior, text, scales=None):
        self.batches.append(len(noisy))
        text_scale, image_scale = scales[:, :, None, None, None].unbind(1)
        return prior + text.mean((1, 2))[:, None, None, None] * text_scale + image_scale / 10


@pytest.fixture
def schedule():
    from monai.networks.schedulers import DDPMScheduler

    return DDPMScheduler(num_train_timesteps=1000, schedule="cosine", prediction_type="sample", clip_sample=False)


def sample(schedule, student, **settings):
    given = {"steps": 2, "text_guidance_scale": 3.0, "image_guidance_scale": 2.0, **settings}
    prior = torch.zeros(2, 1, 4, 4)
    return CounterfactualSampler(schedule, **given)(student, prior, TEXT, NULL, seeds=[0, 1])


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_each_step_is_one_evaluation(schedule, steps):
    student = Student()
    sampled = sample(schedule, student, steps=steps)
    assert student.batches == [2] * steps
    assert torch.allclose(sampled.latent, torch.full((2, 1, 4, 4), 3.2), atol=1e-5)
    assert sampled.within is sampled.without is None


def test_scales_of_each_case_are_inputs():
    student = Student()
    prior = torch.zeros(2, 1, 4, 4)
    text, image = torch.tensor([1.0, 5.0]), torch.tensor([1.0, 3.0])
    guidance = Guidance(Conditions(student, prior, TEXT, NULL), image_scale=image, text_scale=text)
    assert guidance(prior, torch.tensor(999))[:, 0, 0, 0].tolist() == pytest.approx([1.1, 5.3])


@pytest.mark.parametrize("wrong", [{"steps": 5}, {"text_guidance_scale": 7.5}, {"init_noise": "from-prior"}])
def test_it_is_asked_nothing_that_it_was_not_trained_for(schedule, wrong):
    student = Student()
    with pytest.raises(SettingError, match=next(iter(wrong))):
        sample(schedule, student, **wrong)
    assert not student.batches


@pytest.mark.parametrize("kind", ["sample", "epsilon", "v_prediction"])
def test_from_clean_is_the_inverse(kind):
    clean, noisy = torch.randn(2, 2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    prediction = from_clean(clean, noisy, torch.tensor(0.3), prediction_type=kind)
    assert torch.allclose(
        to_clean_and_noise(prediction, noisy, torch.tensor(0.3), prediction_type=kind)[0], clean, atol=1e-5
    )
