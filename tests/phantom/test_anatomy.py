"""Who a patient is: the seed decides, age shows in bone and aorta, the group in contrast alone."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.phantom.anatomy import draw_anatomy, grow_vessels

CONTRAST = {"bone_density", "vessel_contrast", "streaks"}


def test_same_arguments_same_body():
    one, two = (draw_anatomy(5, sex="F", age=61.0, group=1) for _ in range(2))
    assert one == two
    assert np.array_equal(one.textures, two.textures)
    assert np.array_equal(one.vessels[0].height, two.vessels[0].height)


def test_other_seed_other_body():
    assert draw_anatomy(5, sex="F", age=61, group=1) != draw_anatomy(6, sex="F", age=61, group=1)


def test_group_changes_contrast_and_nothing_else():
    first, second = (asdict(draw_anatomy(7, sex="M", age=50, group=g)) for g in (0, 1))
    assert {name for name in first if first[name] != second[name]} == CONTRAST | {"group"}


def test_bone_thins_and_aorta_unfolds_with_age():
    young = [draw_anatomy(s, sex="M", age=25, group=0) for s in range(30)]
    old = [draw_anatomy(s, sex="M", age=85, group=0) for s in range(30)]
    assert all(o.bone_density < y.bone_density for y, o in zip(young, old))
    assert min(o.unfolding for o in old) > max(y.unfolding for y in young)
    assert min(o.calcification for o in old) > max(y.calcification for y in young)


def test_only_women_have_breast_shadows():
    assert draw_anatomy(1, sex="F", age=40, group=0).breast > 0
    assert draw_anatomy(1, sex="M", age=40, group=0).breast == 0


@pytest.mark.parametrize("bad", [{"sex": "X"}, {"age": 0}, {"age": 200}, {"age": float("nan")}, {"group": 3}])
def test_impossible_patients_are_refused(bad):
    with pytest.raises(ConfigError):
        draw_anatomy(1, **{"sex": "M", "age": 50, "group": 0, **bad})


def test_textures_are_standardised():
    textures = draw_anatomy(3, sex="M", age=50, group=0).textures
    assert textures.dtype == np.float32
    assert np.allclose(textures.std(axis=(1, 2)), 1, atol=1e-3)


def _tree(seed: int = 0):
    return grow_vessels(np.random.default_rng(seed), hilum_height=0.5)


def test_same_seed_same_tree_and_other_seed_other_tree():
    assert np.array_equal(_tree(1).across, _tree(1).across)
    assert not np.array_equal(_tree(1).across[:500], _tree(2).across[:500])


def test_tree_reaches_apex_base_and_lateral_border():
    tree = _tree()
    assert tree.height.min() < 0.1
    assert tree.height.max() > 0.97
    assert tree.across.max() > 0.9


def test_vessels_thin_toward_the_periphery():
    tree = _tree()
    from_hilum = np.hypot((tree.across - 0.12) * 11.5, (tree.height - 0.5) * 20)
    central, far = tree.radius_cm[from_hilum < 2.5].mean(), tree.radius_cm[from_hilum > 7].mean()
    assert central > 1.7 * far
    assert tree.radius_cm.min() > 0.02
    assert tree.radius_cm.max() < 0.8
