"""The prior's own pixels stay where nothing changed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.networks.unchanged import keep_unchanged

SIDE = 128


def _images(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A prior, and what an autoencoder with a small error makes of it."""
    generator = torch.Generator().manual_seed(seed)
    prior = 0.3 + 0.4 * torch.rand((1, 1, SIDE, SIDE), generator=generator)
    return prior, prior + 0.02 * torch.randn((1, 1, SIDE, SIDE), generator=generator)


def test_small_differences_are_undone_to_the_prior_itself():
    prior, reconstruction = _images()
    kept = keep_unchanged(reconstruction + 0.005, reconstruction, prior, threshold=0.05)
    assert (kept - prior).abs().max() < 2e-4


def test_a_large_change_is_shown_in_its_place_alone():
    prior, reconstruction = _images()
    counterfactual = reconstruction.clone()
    counterfactual[..., 80:110, 70:110] += 0.25
    kept = keep_unchanged(counterfactual, reconstruction, prior, threshold=0.05)
    assert torch.allclose(kept[..., 88:102, 78:102], prior[..., 88:102, 78:102] + 0.25, atol=0.002)
    assert (kept - prior)[..., :60, :].abs().max() < 1e-6
    assert (kept - prior)[..., :50].abs().max() < 1e-6  # nothing on the other side


def test_at_the_threshold_half_of_the_change_is_shown():
    prior, reconstruction = _images()
    kept = keep_unchanged(reconstruction + 0.05, reconstruction, prior, threshold=0.05)
    assert torch.allclose(kept, prior + 0.025, atol=1e-5)


def test_without_a_threshold_the_counterfactual_comes_back():
    prior, reconstruction = _images()
    counterfactual = reconstruction.flip(-2)
    assert keep_unchanged(counterfactual, reconstruction, prior, threshold=0) is counterfactual


@given(threshold=st.floats(0.001, 0.5), seed=st.integers(0, 50))
def test_the_result_lies_between_prior_and_change(threshold, seed):
    prior, reconstruction = _images(seed)
    change = 0.3 * torch.rand(prior.shape, generator=torch.Generator().manual_seed(seed + 1))
    kept = keep_unchanged(reconstruction + change, reconstruction, prior, threshold=threshold)
    assert bool((kept >= prior - 1e-5).all()) and bool((kept <= (prior + change).clamp(0, 1) + 1e-5).all())


def test_each_image_of_a_batch_is_treated_alone():
    prior, reconstruction = (torch.cat(pair) for pair in zip(_images(1), _images(2)))
    counterfactual = reconstruction + torch.tensor([0.0, 0.3])[:, None, None, None]
    both = keep_unchanged(counterfactual, reconstruction, prior, threshold=0.05)
    alone = keep_unchanged(counterfactual[1:], reconstruction[1:], prior[1:], threshold=0.05)
    assert torch.equal(both[1:], alone)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_the_shape_stays(size):
    image = torch.rand(2, 1, size, size)
    assert keep_unchanged(image, image, image, threshold=0.1).shape == image.shape


def test_what_cannot_be_meant_is_refused():
    image = torch.rand(1, 1, 32, 32)
    with pytest.raises(ValueError, match="threshold must be >= 0"):
        keep_unchanged(image, image, image, threshold=-0.1)
    with pytest.raises(ValueError, match="shapes must agree"):
        keep_unchanged(image, image[..., :16], image, threshold=0.1)


def test_a_change_that_the_description_does_not_make_is_undone():
    prior, reconstruction = _images()
    counterfactual = reconstruction.clone()
    counterfactual[..., 80:110, 20:50] += 0.25
    counterfactual[..., 5:20, 100:120] -= 0.25  # such as a side marker
    effect = torch.zeros_like(prior)
    effect[..., 80:110, 20:50] = 0.1
    kept = keep_unchanged(counterfactual, reconstruction, prior, threshold=0.05, effect=effect)
    assert torch.allclose(kept[..., 88:102, 28:42], prior[..., 88:102, 28:42] + 0.25, atol=0.005)
    assert (kept - prior)[..., :60, :].abs().max() < 0.01
    without = keep_unchanged(counterfactual, reconstruction, prior, threshold=0.05)
    assert (without - prior)[..., :60, :].abs().max() > 0.2


def test_the_effect_must_be_of_the_images_shape():
    image = torch.rand(1, 1, 32, 32)
    with pytest.raises(ValueError, match="shapes"):
        keep_unchanged(image, image, image, threshold=0.1, effect=image[..., :16])
