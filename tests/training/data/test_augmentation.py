import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.training.data.augmentation import (
    Augmentation,
    Jitter,
    apply_jitter,
    draw_crop,
    draw_jitter,
    move_mask,
    swap_sides,
)


def spot(row, column, size=65):
    image = np.zeros((size, size))
    image[row, column] = 1
    return torch.from_numpy(ndimage.gaussian_filter(image, 2) * 25)


def place(image):
    """Row and column of the centre of mass."""
    return np.array(ndimage.center_of_mass(image.numpy()))


def test_the_first_variant_is_the_image_itself():
    image = spot(20, 40)
    assert draw_jitter(seed=3, name="a", variant=0) == Jitter()
    assert apply_jitter(image, Jitter()) is image


def test_a_shift_goes_to_the_right_and_down():
    moved = apply_jitter(spot(20, 40), Jitter(shift_x=4 / 65, shift_y=8 / 65), intensity=False)
    assert place(moved) == pytest.approx([28, 44], abs=0.05)


def test_a_rotation_is_counter_clockwise_around_the_centre():
    moved = apply_jitter(spot(32, 52), Jitter(rotation_degrees=5.0), intensity=False)
    angle = np.deg2rad(5)
    assert place(moved) == pytest.approx([32 - 20 * np.sin(angle), 32 + 20 * np.cos(angle)], abs=0.05)


def test_a_scale_above_one_enlarges():
    moved = apply_jitter(spot(32, 52), Jitter(scale=1.05), intensity=False)
    assert place(moved) == pytest.approx([32, 53], abs=0.05)


def test_contrast_and_brightness_by_hand():
    image = torch.full((4, 4), 0.7)
    shaded = apply_jitter(image, Jitter(contrast=1.1, brightness=0.02))
    assert float(shaded[1, 1]) == pytest.approx(0.5 + 0.2 * 1.1 + 0.02)
    assert torch.equal(apply_jitter(image, Jitter(contrast=1.1), intensity=False)[1:3, 1:3], image[1:3, 1:3])


@given(seed=st.integers(0, 2**31), variant=st.integers(1, 20), name=st.text(max_size=20))
def test_left_stays_left(seed, variant, name):
    jitter = draw_jitter(seed=seed, name=name, variant=variant)
    assert not jitter.mirrored
    assert abs(jitter.rotation_degrees) <= 5
    left, right = (place(apply_jitter(spot(32, column), jitter, intensity=False))[1] for column in (16, 48))
    assert left < 32 < right


@given(seed=st.integers(0, 99), variant=st.integers(1, 9))
def test_the_same_name_gets_the_same_change_and_others_another(seed, variant):
    one, same, other = (draw_jitter(seed=seed, name=name, variant=variant) for name in ("a", "a", "b"))
    assert one == same != other
    assert one != draw_jitter(seed=seed, name="a", variant=variant + 1)


def test_the_papers_flip_mirrors_every_other_variant():
    mirrored = [Augmentation("jitter", reproduce_paper_flip=True).draw("a", v).mirrored for v in range(4)]
    assert mirrored == [False, True, False, True]
    image = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    flipped = apply_jitter(image, Jitter(mirrored=True), intensity=False)
    assert torch.allclose(flipped, image.flip(-1), atol=1e-6)


@given(st.lists(st.sampled_from(["left", "Right", "LEFT", "leftward", "Bilateral", "effusion.", "", "RIGHT-sided"])))
def test_swapping_sides_twice_gives_the_text_back(words):
    text = " ".join(words)
    assert swap_sides(swap_sides(text)) == text
    assert text.lower().count("left") == swap_sides(text).lower().count("right")


@pytest.mark.parametrize(
    "text, swapped",
    [
        ("New left effusion.", "New right effusion."),
        ("LEFT lower lobe, right apex", "RIGHT lower lobe, left apex"),
        ("Right-sided", "Left-sided"),
        ("No acute process.", "No acute process."),
    ],
)
def test_side_words_are_swapped(text, swapped):
    assert swap_sides(text) == swapped


@given(seed=st.integers(0, 50), variant=st.integers(1, 9), name=st.sampled_from(["a", "b"]))
def test_a_crop_is_a_window_within_the_image(seed, variant, name):
    crop = draw_crop(seed=seed, name=name, variant=variant)
    assert 1 <= crop.scale <= 1.125
    assert crop.rotation_degrees == crop.brightness == 0
    assert (crop.contrast, crop.mirrored) == (1, False)
    assert torch.allclose(apply_jitter(torch.ones(33, 33), crop), torch.ones(33, 33), atol=1e-5)  # nothing from outside
    mask = torch.ones(33, 33, dtype=torch.bool)
    assert move_mask(mask, crop).all()


def test_crops_reach_every_edge():
    crops = [draw_crop(seed=0, name="a", variant=variant) for variant in range(1, 200)]
    for axis in ("shift_x", "shift_y"):
        reached = [getattr(crop, axis) / ((crop.scale - 1) / 2) for crop in crops]
        assert min(reached) < -0.9
        assert max(reached) > 0.9


def test_a_mask_moves_with_its_image_and_gaps_are_invalid():
    mask = torch.ones(16, 16, dtype=torch.bool)
    moved = move_mask(mask, Jitter(shift_x=0.25))
    assert not moved[:, :4].any()
    assert moved[:, 5:].all()
    assert move_mask(mask, Jitter()) is mask


def test_an_augmentation_draws_what_its_kind_says():
    assert Augmentation().draw("a", 3) == Jitter()
    assert Augmentation("crop", 7).draw("a", 3) == draw_crop(seed=7, name="a", variant=3)
    assert Augmentation("jitter", 7).draw("a", 3) == draw_jitter(seed=7, name="a", variant=3)
    assert [Augmentation(kind).leaves_gaps for kind in ("none", "crop", "jitter")] == [False, False, True]
    with pytest.raises(ConfigError, match="none, crop, jitter"):
        Augmentation("flip")


@pytest.mark.parametrize("kind", ["none", "crop", "jitter"])
def test_only_the_papers_flip_mirrors_and_every_other_variant(kind):
    flips = Augmentation(kind, reproduce_paper_flip=True)
    assert [flips.draw("a", variant).mirrored for variant in range(4)] == [False, True, False, True]
    assert not any(Augmentation(kind).draw("a", variant).mirrored for variant in range(4))
    assert flips.changes
