import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.diffusion.guidance import Conditions
from biomedjourney_monai.diffusion.relevance import (
    at_pixels,
    otsu_threshold,
    region_from_mask,
    region_of,
    relevance_map,
    soften,
)

ALPHAS = torch.linspace(0.99, 0.01, 1000)
NULL, TEXT = torch.zeros(1, 5, 6), torch.ones(2, 5, 6)


def denoiser_of_a_corner(noisy, timesteps, prior_latent, text_states):
    """Predicts the prior, plus a change in the top left corner wherever there is a text."""
    change = torch.zeros_like(noisy)
    change[:, :, :2, :2] = 1
    return prior_latent + change * text_states.mean(dim=(1, 2))[:, None, None, None]


def corner_map(denoiser=denoiser_of_a_corner, kind="sample"):
    prior, noise = torch.randn(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    schedule = SimpleNamespace(alphas_cumprod=ALPHAS, prediction_type=kind)
    return relevance_map(Conditions(with_scale(denoiser), prior, TEXT, NULL), schedule, noise=noise)


def with_scale(denoiser):
    denoiser.scale_factor = 1.0
    return denoiser


def test_the_map_is_high_where_the_text_acts_and_zero_elsewhere():
    relevance = corner_map()
    assert relevance.shape == (2, 1, 8, 8)
    assert torch.allclose(relevance[:, :, :2, :2], torch.ones(2, 1, 2, 2))
    assert relevance.sum() == pytest.approx(8)


def test_the_map_of_a_denoiser_of_noise_is_the_same():
    def epsilon(noisy, timesteps, prior_latent, text_states):
        clean = denoiser_of_a_corner(noisy, timesteps, prior_latent, text_states)
        signal = ALPHAS[timesteps][:, None, None, None]
        return (noisy - signal.sqrt() * clean) / (1 - signal).sqrt()

    assert torch.allclose(corner_map(epsilon, "epsilon"), corner_map(), atol=1e-4)


def test_each_level_sees_a_noise_of_its_own_of_the_same_numbers():
    seen = []

    def listen(noisy, timesteps, prior_latent, text_states):
        signal = ALPHAS[timesteps][:, None, None, None]
        seen.append(((noisy - signal.sqrt() * prior_latent) / (1 - signal).sqrt())[:2])
        return prior_latent

    corner_map(listen)
    assert len(seen) == 3
    for one, other in itertools.combinations(seen, 2):
        assert float((one - other).abs().mean()) > 0.5
        assert torch.allclose(one.flatten(2).sort().values, other.flatten(2).sort().values, atol=1e-4)


def test_a_text_without_effect_leaves_an_empty_map_and_region():
    relevance = corner_map(lambda noisy, t, prior, text: prior)
    assert not relevance.any()
    assert not region_of(relevance).any()


def test_a_region_covers_what_is_relevant_and_one_position_around_it():
    region = region_of(corner_map(), feather=0)
    expected = torch.zeros(2, 1, 8, 8)
    expected[:, :, :3, :3] = 1
    assert torch.equal(region, expected)


def test_the_soft_edge_lies_outside_the_region_and_falls_off():
    hard = torch.zeros(1, 1, 9, 9)
    hard[:, :, :, :3] = 1
    row = soften(hard, feather=1.0)[0, 0, 4]
    assert torch.equal(row[:3], torch.ones(3))
    assert 0 < row[3] < 1
    assert bool((row[3:].diff() <= 0).all())
    assert row[8] == 0


def test_a_latent_position_that_a_mask_touches_is_allowed():
    mask = torch.zeros(1, 1, 64, 64)
    mask[:, :, 9, 17] = 1
    region = region_from_mask(mask, latent_hw=(8, 8), feather=0)
    assert region.sum() == 1
    assert region[0, 0, 1, 2] == 1
    assert at_pixels(region, (64, 64)).shape == (1, 1, 64, 64)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=64))
def test_the_threshold_is_one_of_least_variance_within_the_parts(values):
    array = np.array(values, np.float64)
    bins = np.minimum((array * 64).astype(int), 63)
    centres = (bins + 0.5) / 64

    def within(cut):
        parts = [centres[bins < cut], centres[bins >= cut]]
        return sum(len(part) * part.var() for part in parts if len(part))

    found = round(otsu_threshold(torch.tensor(array)) * 64)
    assert within(found) <= min(within(cut) for cut in range(1, 65)) + 1e-6
