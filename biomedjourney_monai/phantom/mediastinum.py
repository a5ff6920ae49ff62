"""Heart, great vessels, hila, trachea and bronchi from the front."""

from dataclasses import dataclass

import cv2
import numpy as np

from biomedjourney_monai.phantom.chest import Lung, Visit
from biomedjourney_monai.phantom.raster import chord, draw_polyline, draw_tubes, smooth_curve, step

HEART_SCALE = (1.0, 1.21, 1.40, 1.60)
"""Size of the heart relative to normal, by severity of cardiomegaly."""


@dataclass(frozen=True)
class Mediastinum:
    """Thickness in cm and outlines, all of shape (S, S).

    Attributes:
        solid: heart and vessels, which replace lung.
        air: trachea and main bronchi.
        heart: outline of the heart, antialiased 0 to 1.
        upper: outline of the mediastinum above the heart.
        calcium: calcification of the aortic arch, cm of bone.
    """

    solid: np.ndarray
    air: np.ndarray
    heart: np.ndarray
    upper: np.ndarray
    calcium: np.ndarray


def heart_width_scale(visit: Visit) -> float:
    """Return the heart's size relative to an average healthy one."""
    portable = 1.10 if visit.acquisition.view_position == "AP" else 1.0
    return visit.anatomy.heart_size * HEART_SCALE[visit.findings.cardiomegaly] * portable


def shape_mediastinum(visit: Visit) -> Mediastinum:
    """Lay out heart, vessels and airways."""
    a, axes = visit.anatomy, visit.axes
    shift = visit.mediastinal_shift
    heart_cm, heart = _shape_heart(visit, shift)
    x = axes.x - np.float32(3.0 * visit.front_shift + 0.7 * shift)
    y = axes.y
    knob_x, knob_y = 2.15 + 0.45 * a.unfolding, -5.9 - 0.5 * a.unfolding
    around = np.square((x - knob_x) / a.knob_cm) + np.square((y - knob_y) / (1.12 * a.knob_cm))
    knob = 5.5 * chord(around)
    ascending = 5.2 * chord(np.square((x + 1.15 + 0.55 * a.unfolding) / 1.65) + np.square((y + 3.4) / 4.2))
    trunk = 4.2 * chord(np.square((x - 2.35) / 1.45) + np.square((y + 2.3) / 2.0))
    cava = 3.2 * chord(np.square((x + 2.0) / 1.15)) * step((y + 12) / 3) * step((1.0 - y) / 3)
    band = 7.0 * chord(np.square(x / a.mediastinum_cm)) * step((y + 15.5) / 4) * step((9.5 - y) / 3)
    descending = _descending_aorta(visit, knob_x, knob_y)
    solid = np.maximum.reduce([heart_cm, knob, ascending, trunk, cava, band, descending])
    solid = cv2.GaussianBlur(solid, (0, 0), 0.14 / axes.pixel_cm)
    edge = max(0.6 * axes.pixel_cm, 0.1)
    wide = a.mediastinum_cm + 0.3 * step((y + 9) / 3)
    upper = np.maximum.reduce(
        [step((wide - np.abs(x)) / edge), (knob > 0).astype(np.float32), (ascending > 0).astype(np.float32),
         (trunk > 0).astype(np.float32)]
    )  # fmt: skip
    upper = upper * step((y + 13.2) / 0.3) * (1 - heart) * step((a.heart_y - 1 - y) / 0.3)
    ring = np.exp(-np.square((np.sqrt(around) - 0.96) / 0.11)) * (x > knob_x - 0.25 * a.knob_cm) * (y < knob_y + 1.0)
    calcium = ring * np.float32(1.1 * max(a.calcification - 0.25, 0))
    return Mediastinum(solid, _airways(visit, shift), heart, upper, calcium)


def _shape_heart(visit: Visit, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the heart's thickness in cm and its outline."""
    a, axes = visit.anatomy, visit.axes
    scale = heart_width_scale(visit)
    grown = scale - 1
    breath = visit.acquisition.inspiration
    centre_x = a.heart_x + 0.9 * grown + shift + 4.0 * visit.front_shift
    centre_y = a.heart_y + 0.35 * breath - 0.5 * grown
    width = scale * (1 - 0.03 * breath)
    dx, dy = axes.x - np.float32(centre_x), axes.y - np.float32(centre_y)
    cos, sin = float(np.cos(a.heart_tilt)), float(np.sin(a.heart_tilt))
    along, beside = cos * dx + sin * dy, cos * dy - sin * dx
    ventricle = np.square((along - 0.35) / (6.6 * width)) + np.square(beside / (4.6 * width**0.85))
    atrium = np.square((dx + 2.7 + 0.35 * grown) / (3.35 * width)) + np.square((dy + 0.5) / (4.3 * width**0.6))
    appendage = np.square((dx - 0.35) / (2.1 * width**0.6)) + np.square((dy + 4.6) / 2.5)
    round_parts = zip((10.5, 9.0, 6.5), (ventricle, atrium, appendage))
    thickness = np.sqrt(sum(np.float32(depth**2) * np.maximum(1 - part, 0) for depth, part in round_parts))
    nearest = np.minimum.reduce([ventricle, atrium, appendage])
    outline = step((1 - nearest) * np.float32(2.4 / max(0.7 * axes.pixel_cm, 0.1)))
    return thickness, outline


def _descending_aorta(visit: Visit, knob_x: float, knob_y: float) -> np.ndarray:
    """Return the aorta from the arch down along the spine, cm; unfolding bows it to the left."""
    a, axes = visit.anatomy, visit.axes
    low, bow = 9.0, 1.6 * a.unfolding
    along = np.clip((axes.y - knob_y) / (low - knob_y), 0, 1)
    centre = (knob_x + 0.1) * (1 - along) + (0.9 + 0.4 * bow) * along + 3.0 * bow * along * (1 - along)
    radius = 1.15 * (1 + 0.2 * a.unfolding)
    across = (axes.x - (centre - 4.5 * visit.front_shift).astype(np.float32)) * np.float32(1 / radius)
    ends = step((axes.y - knob_y) / 1.2) * step((low - axes.y) / 1.2)
    return chord(np.square(across)) * (1.8 * radius * ends).astype(np.float32)


def _airways(visit: Visit, shift: float) -> np.ndarray:
    """Return the air of trachea and main bronchi along the beam, cm."""
    a, axes = visit.anatomy, visit.axes
    lean = -0.35 - 0.35 * a.unfolding + 0.5 * shift
    carina = (lean, -4.6)
    centre = (lean * step((axes.y + 9.3) / 4.6)).astype(np.float32)
    ends = (2.1 * step((-4.4 - axes.y) / 0.6)).astype(np.float32)
    trachea = chord(np.square((axes.x - centre) * np.float32(1 / 0.85))) * ends
    right = draw_polyline(smooth_curve([carina, (lean - 1.5, -2.7), (-3.1 + 0.3 * shift, -1.0)], 12), 0.15)
    left = draw_polyline(smooth_curve([carina, (lean + 2.0, -3.2), (3.6 + 0.3 * shift, -2.0)], 12), 0.15)
    return trachea + np.float32(0.75) * draw_tubes(axes, *_joined(right, left), radius_cm=0.55)


def _joined(*lines: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.concatenate(parts) for parts in zip(*lines))


def shape_hila(visit: Visit, lungs: tuple[Lung, Lung], shift: float) -> np.ndarray:
    """Return the soft shadow of both hila, cm, shape (S, S)."""
    total = np.zeros((visit.axes.size, visit.axes.size), np.float32)
    for lung, centre_y in zip(lungs, (-1.2, -2.0)):
        x = lung.u - np.float32(3.7 + lung.side * 0.5 * shift)
        total += 2.2 * np.exp(-np.square(x / 1.3) - np.square((visit.axes.y - centre_y) / 2.3)) * lung.inside
    return total
