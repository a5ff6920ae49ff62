import numpy as np
import pytest
import torch

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.schema import CHEXPERT_LABELS
from biomedjourney_monai.training.judges.films import Films, augment, film_loss, to_batch, train_films

EDEMA = CHEXPERT_LABELS.index("Edema")


@pytest.fixture
def films():
    """Films whose brightness is the edema, and in which half of everything else is unknown."""
    rng = np.random.default_rng(0)
    labels = np.full((16, 14), np.nan, np.float32)
    labels[:, EDEMA] = np.arange(16) % 2
    images = (60 + 120 * labels[:, EDEMA, None, None] + rng.normal(0, 8, (16, 128, 128))).clip(0, 255)
    half = np.where(np.arange(16) < 8, 1.0, np.nan).astype(np.float32)
    return Films(images.astype(np.uint8), labels, half, 0 * half, 50 * half)


def outputs(count, *, edema=0.0, sex=0.0):
    labels = torch.zeros(count, 14)
    labels[:, EDEMA] = edema
    return labels, torch.full((count,), sex), torch.zeros(count, 3), torch.full((count,), 60.0)


def test_what_is_unknown_has_no_part_in_the_loss(films):
    nothing = Films(
        films.images[:4],
        np.full((4, 14), np.nan, np.float32),
        *(np.full(4, np.nan, np.float32) for _ in range(3)),
    )
    assert float(film_loss(outputs(4, edema=9.0, sex=-9.0), nothing)) == 0


def test_the_loss_falls_for_the_right_answer(films):
    positive = films.rows(films.labels[:, EDEMA] == 1)
    right, wrong = (float(film_loss(outputs(8, edema=edema), positive)) for edema in (3.0, -3.0))
    assert right < wrong
    assert float(film_loss(outputs(8, sex=3.0), positive)) < float(film_loss(outputs(8, sex=-3.0), positive))


def test_images_come_in_the_range_of_networks(films):
    batch = to_batch(np.array([[[0, 255]]], np.uint8))
    assert batch.shape == (1, 1, 1, 2)
    assert batch.flatten().tolist() == [0, 1]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(films):
    one, same, other = (train_films(films, steps=2, seed=seed) for seed in (1, 1, 2))
    states = [torch.cat([value.flatten().float() for value in net.state_dict().values()]) for net in (one, same, other)]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.slow
def test_an_interrupted_training_ends_like_one_without(films, tmp_path, monkeypatch):
    monkeypatch.setattr("biomedjourney_monai.training.judges.films.SAVE_EVERY", 2)

    class StoppedError(Exception):
        pass

    def stop(network, step):
        if step == 4:
            raise StoppedError

    file = tmp_path / "state.pt"
    with pytest.raises(StoppedError):
        train_films(films, steps=5, seed=1, checkpoint=file, watch=stop)
    resumed = train_films(films, steps=5, seed=1, checkpoint=file)
    whole = train_films(films, steps=5, seed=1)
    for mine, expected in zip(resumed.state_dict().values(), whole.state_dict().values()):
        torch.testing.assert_close(mine, expected)
    with pytest.raises(WeightsError, match="another training"):
        train_films(films, steps=6, seed=1, checkpoint=file)


def test_the_global_generator_is_left_as_it_was(films):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train_films(films, steps=1, seed=1)
    assert torch.equal(torch.rand(1), expected)


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
