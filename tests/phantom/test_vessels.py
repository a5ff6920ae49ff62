"""The vessel tree: fills the lung, obeys its seed, thins outward."""

from __future__ import annotations

import numpy as np

from biomedjourney_monai.phantom.vessels import grow_vessels


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
