"""How findings move the structures of a real film: a larger heart, a raised diaphragm."""

import cv2
import numpy as np

from biomedjourney_monai.phantom.chest import DOME_RISE_CM, Lung
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.mediastinum import HEART_SCALE
from biomedjourney_monai.phantom.raster import Axes, step

LEFT_GROWTH, RIGHT_GROWTH = 1.25, 0.6
"""Of the heart's growth, toward the patient's left and right: it enlarges mostly to the left."""

WALL_CM = 0.8
"""Lung that stays between an enlarged heart and the chest wall."""


def move_structures(
    image: np.ndarray, axes: Axes, lungs: tuple[Lung, Lung], heart: np.ndarray, findings: FindingState
) -> np.ndarray:
    """Enlarge the heart and raise the diaphragm of a film; where nothing moves, pixels keep their values.

    Args:
        image: float32 in [0, 1], shape (S, S).
        axes: the film's patient centimetres.
        lungs: right, left.
        heart: bool outline, shape (S, S); without a heart nothing is enlarged.
        findings: of which cardiomegaly and atelectasis move structures.
    """
    across, down = np.zeros(image.shape, np.float32), np.zeros(image.shape, np.float32)
    if findings.cardiomegaly and heart.any():
        across = _heart_growth(axes, lungs, heart, HEART_SCALE[findings.cardiomegaly])
    for lung, severity in zip(lungs, (findings.atelectasis_right, findings.atelectasis_left)):
        if severity:
            down = down + _dome_rise(axes, lung, DOME_RISE_CM[severity], bottom=_bottom(image, axes))
    if not across.any() and not down.any():
        return image
    rows, columns = np.indices(image.shape, dtype=np.float32)
    moved = cv2.remap(
        image, columns + across / np.float32(axes.pixel_cm), rows + down / np.float32(axes.pixel_cm),
        cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.where((across != 0) | (down != 0), np.clip(moved, 0, 1), image)


def _heart_growth(axes: Axes, lungs: tuple[Lung, Lung], heart: np.ndarray, scale: float) -> np.ndarray:
    """Return how far right of each pixel its content comes from, in cm, shape (S, S)."""
    rows = np.flatnonzero(heart.any(axis=1))
    spans = np.array([axes.x[0, np.flatnonzero(heart[row])[[0, -1]]] for row in rows])
    centre = float(np.median(spans.mean(axis=1))) * 0.5
    dx = axes.x - np.float32(centre)
    y = axes.y[:, 0]
    base = min(float(axes.y[rows[-1], 0]), float(max(lung.dome.min() for lung in lungs)) + 2.0)
    strength = step((y - axes.y[rows[0], 0] + 0.5) / 1.8) * (1 - step((y - base - 0.5) / 1.5))
    source = np.zeros(heart.shape, np.float32)
    for side, growth, lung in ((1, LEFT_GROWTH, lungs[1]), (-1, RIGHT_GROWTH, lungs[0])):
        edge = np.interp(y, y[rows], np.maximum(side * (spans[:, 1 if side > 0 else 0] - centre), 0.5))
        edge = cv2.GaussianBlur(edge.astype(np.float32)[:, None], (0, 0), 0.6 / axes.pixel_cm)
        wall = np.maximum(lung.lateral - np.float32(side * centre), edge + 1.0)
        grown = edge * np.float32(1 + growth * (scale - 1))
        grown = np.maximum(np.minimum(grown, wall - WALL_CM), edge)
        grown = edge + (grown - edge) * strength[:, None].astype(np.float32)
        out = np.maximum(side * dx, 0)
        inside = out * edge / grown
        between = edge + (out - grown) * (wall - edge) / np.maximum(wall - grown, 0.1)
        content = np.where(out <= grown, inside, np.where(out < wall, between, out))
        source += np.float32(side) * (content - out)
    return source


def _bottom(image: np.ndarray, axes: Axes) -> float:
    """Return y of the last row that is not black, less a margin."""
    rows = np.flatnonzero((image > 0.04).mean(axis=1) > 0.2)
    return float(axes.y[rows[-1] if len(rows) else -1, 0]) - 2 * axes.pixel_cm


def _dome_rise(axes: Axes, lung: Lung, rise_cm: float, *, bottom: float) -> np.ndarray:
    """Return how far below each pixel its content comes from, in cm, shape (S, S); nothing moves at the bottom."""
    top = float(lung.top.min())
    above = np.clip((axes.y - top) / np.maximum(lung.dome - rise_cm - top, 1.0), 0, 1)
    reach = np.minimum(3 * rise_cm + 4, np.maximum(bottom - lung.dome + rise_cm, 0.1))
    below = 1 - np.clip((axes.y - (lung.dome - rise_cm)) / reach, 0, 1)
    beside = step((lung.u - 1.5) / 1.5) * (1 - step((lung.u - lung.lateral + 2.0) / 2.5))
    rise = np.float32(rise_cm) * beside * above**2 * below
    rise[rise < 0.01] = 0
    return rise
