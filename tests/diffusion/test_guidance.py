import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.diffusion.guidance import Conditions, Guidance, combine_guidance

NUMBERS = st.floats(-10, 10, width=32)
THREE = st.tuples(NUMBERS, NUMBERS, NUMBERS)


def as_latents(values):
    return [torch.full((1, 1, 1, 1), value) for value in values]


def test_combining_by_hand():
    null, image_only, full = as_latents([1.0, 3.0, 4.0])
    # 1 + 1.5 · (3 − 1) + 4 · (4 − 3) = 8
    assert combine_guidance(null, image_only, full, image_scale=1.5, text_scale=4.0).item() == pytest.approx(8.0)


@given(values=THREE, scale=NUMBERS)
def test_special_scales_give_the_predictions_themselves(values, scale):
    null, image_only, full = as_latents(values)
    for image_scale, text_scale, expected in [(1, 1, full), (1, 0, image_only), (0, 0, null)]:
        combined = combine_guidance(null, image_only, full, image_scale=image_scale, text_scale=text_scale)
        assert combined.item() == pytest.approx(expected.item(), abs=1e-4)
    same = combine_guidance(full, full, full, image_scale=scale, text_scale=scale)
    assert same.item() == pytest.approx(full.item(), abs=1e-4)


@given(values=THREE, image_scale=NUMBERS, text_scale=NUMBERS, shift=NUMBERS)
def test_a_shift_of_all_predictions_shifts_the_result(values, image_scale, text_scale, shift):
    latents = as_latents(values)
    moved = [latent + shift for latent in latents]
    scales = {"image_scale": image_scale, "text_scale": text_scale}
    difference = combine_guidance(*moved, **scales) - combine_guidance(*latents, **scales)
    assert difference.item() == pytest.approx(shift, abs=2e-3)


def test_predictions_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="shapes must agree"):
        combine_guidance(
            torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 1), image_scale=1, text_scale=1
        )


class Recorder:
    """A denoiser whose prediction tells which conditions it saw."""

    def __init__(self):
        self.batches = []

    def __call__(self, noisy, timesteps, prior, text):
        assert len(noisy) == len(timesteps) == len(prior) == len(text)
        self.batches.append(len(noisy))
        self.timesteps = timesteps
        return noisy + 10 * prior + 100 * text.mean(dim=(1, 2))[:, None, None, None]


def guide(denoiser, *, image_scale, text_scale):
    conditions = Conditions(
        denoiser,
        torch.tensor([1.0, 2.0])[:, None, None, None].expand(2, 1, 2, 2),
        torch.tensor([3.0, 4.0])[:, None, None].expand(2, 5, 6),
        torch.full((1, 5, 6), 2.0),
    )
    guidance = Guidance(conditions, image_scale=image_scale, text_scale=text_scale)
    return guidance(torch.full((2, 1, 2, 2), 0.5), torch.tensor(7))


def test_guidance_is_one_call_of_three_times_the_batch():
    denoiser = Recorder()
    guided = guide(denoiser, image_scale=1.5, text_scale=3.0)
    assert denoiser.batches == [6]
    assert denoiser.timesteps.tolist() == [7] * 6
    # null 200.5; image only 210.5, 220.5; full 310.5, 420.5
    expected = [200.5 + 1.5 * 10 + 3 * 100, 200.5 + 1.5 * 20 + 3 * 200]
    assert guided[:, 0, 0, 0].tolist() == pytest.approx(expected)


def test_without_guidance_only_the_full_prediction_is_made():
    denoiser = Recorder()
    assert guide(denoiser, image_scale=1, text_scale=1)[:, 0, 0, 0].tolist() == pytest.approx([310.5, 420.5])
    assert denoiser.batches == [2]


def test_the_short_way_equals_the_long_way():
    short = guide(Recorder(), image_scale=1, text_scale=1)
    almost = guide(Recorder(), image_scale=1, text_scale=1 + 1e-6)
    assert torch.allclose(short, almost, atol=1e-2)
