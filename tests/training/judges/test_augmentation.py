import pytest
import torch

from biomedjourney_monai.training.judges.augmentation import augment


def _augment(images, masks=None, seed=0):
    return augment(images, masks, generator=torch.Generator().manual_seed(seed))


def test_images_stay_in_range_and_shape():
    images, _ = _augment(torch.rand(8, 1, 64, 64))
    assert images.shape == (8, 1, 64, 64)
    assert images.min() >= 0
    assert images.max() <= 1


def test_same_generator_same_images():
    images = torch.rand(4, 1, 32, 32)
    torch.testing.assert_close(_augment(images, seed=3)[0], _augment(images, seed=3)[0])


def test_masks_move_with_the_image():
    masks = torch.zeros(16, 1, 64, 64)
    masks[..., 20:44, 12:30] = 1
    images, moved = _augment(masks.clone(), masks)
    assert set(moved.unique().tolist()) <= {0.0, 1.0}
    assert ((images > 0.5) == (moved > 0.5)).float().mean() > 0.98


def test_image_left_stays_left():
    masks = torch.zeros(64, 1, 64, 64)
    masks[..., 24:40, 8:20] = 1
    _, moved = _augment(torch.rand(64, 1, 64, 64), masks)
    assert (moved[..., :32].sum(dim=(1, 2, 3)) > moved[..., 32:].sum(dim=(1, 2, 3))).all()


def test_wedges_are_black():
    images, _ = _augment(torch.full((32, 1, 64, 64), 0.6))
    moved = images[(images == 0).flatten(1).any(dim=1)]
    assert len(moved) > 10
    assert moved[:, 0, 32, 32].mean().item() == pytest.approx(0.6, abs=0.1)
