"""The pulmonary vessels: a tree that divides its territory repeatedly, as real ones do."""

from dataclasses import dataclass

import numpy as np

_WIDTH_CM, _HEIGHT_CM = 11.5, 20.0  # a flattened lung, so that lengths and angles are meaningful
_STEP_CM = 0.14
_LEAF_RADIUS_CM = 0.074
_MURRAY = 1 / 2.75  # radius ~ (number of leaves served) ** _MURRAY


@dataclass(frozen=True)
class VesselTree:
    """Points along all branches of one lung.

    Attributes:
        across: 0 at the mediastinal border to 1 at the lateral border, shape (P,).
        height: 0 at the apex to 1 at the diaphragm, shape (P,).
        radius_cm: shape (P,).
        length_cm: the length of vessel that a point represents, shape (P,).
    """

    across: np.ndarray
    height: np.ndarray
    radius_cm: np.ndarray
    length_cm: np.ndarray


def grow_vessels(rng: np.random.Generator, *, hilum_height: float) -> VesselTree:
    """Grow arteries and veins of one lung from its hilum."""
    arteries = _grow(rng, root=(1.5, hilum_height * _HEIGHT_CM), leaves=_draw_leaves(rng, 210))
    veins = _grow(rng, root=(1.1, (hilum_height + 0.11) * _HEIGHT_CM), leaves=_draw_leaves(rng, 110))
    points = np.concatenate([arteries, veins]).astype(np.float32)
    return VesselTree(points[:, 0] / _WIDTH_CM, points[:, 1] / _HEIGHT_CM, points[:, 2], points[:, 3])


def _draw_leaves(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw end points, about evenly over the lung and slightly denser below; shape (count, 2) in cm."""
    candidates = rng.uniform((0.0, 0.0), (1.0, 1.10), (3 * count, 2))
    keep = rng.random(3 * count) < 0.45 + 0.55 * candidates[:, 1]
    return candidates[keep][:count] * (_WIDTH_CM, _HEIGHT_CM)


def _grow(rng: np.random.Generator, *, root: tuple[float, float], leaves: np.ndarray) -> np.ndarray:
    """Divide the leaves among branches from `root`; return rows (x, y, radius, length)."""
    pieces: list[np.ndarray] = []
    stack = [(np.array(root), leaves, 0)]
    while stack:
        node, served, depth = stack.pop()
        toward = served.mean(axis=0) - node
        if len(served) == 1:
            pieces.append(_branch(rng, node, served[0], _LEAF_RADIUS_CM, tapers=True))
            continue
        if depth:
            share = rng.uniform(0.30, 0.52)
            end = node + toward * share + rng.normal(0, 0.06, 2) * np.hypot(*toward)
            pieces.append(_branch(rng, node, end, _LEAF_RADIUS_CM * len(served) ** _MURRAY))
        else:
            end = node
        across = (served - end) @ np.array([-toward[1], toward[0]]) if depth > 1 else _angles(served - end)
        order = np.argsort(across)
        cut = int(np.clip(round(len(served) * rng.uniform(0.28, 0.72)), 1, len(served) - 1))
        stack += [(end, served[order[:cut]], depth + 1), (end, served[order[cut:]], depth + 1)]
    return np.concatenate(pieces)


def _angles(offsets: np.ndarray) -> np.ndarray:
    return np.arctan2(offsets[:, 1], offsets[:, 0])


def _branch(
    rng: np.random.Generator, start: np.ndarray, end: np.ndarray, radius: float, *, tapers: bool = False
) -> np.ndarray:
    """Sample a gently curved branch; return rows (x, y, radius, length)."""
    chord = end - start
    length = float(np.hypot(*chord))
    count = max(int(length / _STEP_CM), 2)
    along = (np.arange(count) + 0.5) / count
    bend = rng.normal(0, 0.08) * np.array([-chord[1], chord[0]])
    wave = rng.normal(0, 0.03) * np.array([-chord[1], chord[0]])
    points = start + along[:, None] * chord + (4 * along * (1 - along))[:, None] * bend
    points += np.sin(2 * np.pi * along)[:, None] * wave
    radii = radius * (1 - 0.45 * along) if tapers else np.full(count, radius) * (1.06 - 0.12 * along)
    return np.column_stack([points, radii, np.full(count, length / count)])
