"""The frontal chest of one visit: body outline, lungs, diaphragm, and how findings displace them."""

from dataclasses import dataclass

import numpy as np

from biomedjourney_monai.phantom.anatomy import Anatomy
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.physics import Acquisition
from biomedjourney_monai.phantom.raster import Axes, step

DOME_RISE_CM = (0.0, 1.5, 2.6, 3.9)
"""Elevation of the diaphragm by atelectasis on its side, by severity."""

SHIFT_TOWARD_ATELECTASIS_CM = (0.0, 0.25, 0.7, 1.3)
SHIFT_FROM_EFFUSION_CM = (0.0, 0.0, 0.2, 0.8)
SHIFT_FROM_PNEUMOTHORAX_CM = (0.0, 0.0, 0.2, 0.8)


@dataclass(frozen=True)
class Visit:
    """The input of all drawing functions: anatomy, acquisition, findings and grid."""

    anatomy: Anatomy
    acquisition: Acquisition
    findings: FindingState
    axes: Axes

    @property
    def front_shift(self) -> float:
        """Shift to image right in cm of a structure 1 cm in front of the middle, from the patient's turn."""
        return self.acquisition.turn

    @property
    def mediastinal_shift(self) -> float:
        """Shift of heart and mediastinum in cm, positive to the patient's left."""
        f = self.findings
        pull, fluid, air = SHIFT_TOWARD_ATELECTASIS_CM, SHIFT_FROM_EFFUSION_CM, SHIFT_FROM_PNEUMOTHORAX_CM
        left = pull[f.atelectasis_left] - fluid[f.effusion_left] - air[f.pneumothorax_left]
        right = pull[f.atelectasis_right] - fluid[f.effusion_right] - air[f.pneumothorax_right]
        return left - right

    def side_severities(self, side: int) -> tuple[int, int, int]:
        """Return the severities of (atelectasis, effusion, pneumothorax) on one side: -1 right, +1 left."""
        f = self.findings
        if side > 0:
            return f.atelectasis_left, f.effusion_left, f.pneumothorax_left
        return f.atelectasis_right, f.effusion_right, f.pneumothorax_right


@dataclass(frozen=True)
class Lung:
    """One lung seen from the front.

    Attributes:
        side: -1 the patient's right (image left), +1 the left.
        u: distance from the midline in cm, positive on this side, shape (1, S).
        lateral: lateral border, cm from the midline, shape (S, 1).
        medial: medial border, same units and shape.
        top: y of the upper border at each column, shape (1, S).
        dome: y of the diaphragm at each column, shape (1, S).
        across: 0 medial to 1 lateral, shape (S, S).
        height: 0 apex to 1 diaphragm, shape (S, S).
        inside: 1 within the outline above the diaphragm, antialiased, shape (S, S).
        chamber: 1 within the outline, the recess below the dome included.
        thickness: of the lung along the beam, cm, recess included, shape (S, S).
        hemithorax_end: y of the costophrenic angle.
    """

    side: int
    u: np.ndarray
    lateral: np.ndarray
    medial: np.ndarray
    top: np.ndarray
    dome: np.ndarray
    across: np.ndarray
    height: np.ndarray
    inside: np.ndarray
    chamber: np.ndarray
    thickness: np.ndarray
    hemithorax_end: float

    def dome_at(self, u: np.ndarray | float) -> np.ndarray:
        """Return y of the diaphragm at distances u from the midline."""
        order = slice(None) if self.side > 0 else slice(None, None, -1)
        return np.interp(u, self.u[0, order], self.dome[0, order])


def lateral_border(anatomy: Anatomy, y: np.ndarray, *, side: int, inspiration: float = 0.0) -> np.ndarray:
    """Return the distance in cm of the lateral lung border from the midline at heights y, same shape."""
    a = anatomy
    apex_x = 4.4
    width = a.lung_width_cm * (1.015 if side < 0 else 1.0) * (1 + 0.012 * inspiration)
    up = np.clip((a.base_y - y) / (a.base_y - a.apex_y), 0, 1)
    below = np.maximum(y - a.base_y, 0)
    spread = apex_x + (width - apex_x) * np.sqrt(np.maximum(1 - up**2.3, 0))
    return (spread * (1 - 0.0006 * below**2)).astype(np.float32)


def medial_border(anatomy: Anatomy, y: np.ndarray) -> np.ndarray:
    """Return the distance in cm of the medial lung border from the midline at heights y, same shape."""
    from_apex = np.clip((y - anatomy.apex_y) / 4.5, 0, 1)
    return (1.85 + 2.55 * (1 - np.sqrt(1 - (1 - from_apex) ** 2))).astype(np.float32)


def dome_line(anatomy: Anatomy, u: np.ndarray, *, top: float) -> np.ndarray:
    """Return y of the diaphragm at distances u from the midline, same shape."""
    out = np.maximum(u - anatomy.dome_x, 0) / (anatomy.lung_width_cm - anatomy.dome_x)
    inward = np.maximum(anatomy.dome_x - u, 0) / anatomy.dome_x
    wave = 0.10 * np.sin(0.75 * u + anatomy.seed % 7)
    return (top + anatomy.dome_height_cm * out**2.1 + 1.5 * inward**2 + wave).astype(np.float32)


def dome_top(visit: Visit, side: int) -> float:
    """Return y of the top of one diaphragm, which depends on breath, side and atelectasis."""
    a = visit.anatomy
    healthy = a.dome_y - (a.dome_step_cm if side < 0 else 0.0) + 0.85 * visit.acquisition.inspiration
    return healthy - DOME_RISE_CM[visit.side_severities(side)[0]]


def shape_lung(visit: Visit, side: int) -> Lung:
    """Lay out one lung; side is -1 for the patient's right, +1 for the left."""
    a, axes, inspiration = visit.anatomy, visit.axes, visit.acquisition.inspiration
    edge = max(0.6 * axes.pixel_cm, 0.07)
    u = axes.x * np.float32(side)
    lateral = lateral_border(a, axes.y, side=side, inspiration=inspiration)
    medial = medial_border(a, axes.y)
    top_of_dome = dome_top(visit, side)
    dome = dome_line(a, u, top=top_of_dome)
    heights = np.linspace(a.apex_y, a.base_y, 200)
    widths = lateral_border(a, heights, side=side, inspiration=inspiration)
    top = np.interp(u, widths, heights).astype(np.float32)
    across = (u - medial) / np.maximum(lateral - medial, 0.1)
    height = (axes.y - np.float32(a.apex_y)) / np.maximum(dome - np.float32(a.apex_y), 1)
    chamber = step((lateral - u) / edge) * step((u - medial) / edge)
    chamber *= step((axes.y - top) / edge)
    below = axes.y - dome
    open_above = 1 - step(below / edge)
    inside = chamber * open_above
    up = np.clip((a.base_y - axes.y) / (a.base_y - a.apex_y), 0, 1)
    depth = a.lung_depth_cm * (1 + 0.03 * inspiration) * np.sqrt(np.maximum(1 - up**2.4, 0))
    profile = _DEPTH_PROFILE[np.clip(across * _DEPTH_BINS, 0, _DEPTH_BINS - 1).astype(np.int32)]
    recess = np.float32(0.32) * np.exp(np.minimum(-below, 0) / np.float32(1.5))
    thickness = depth.astype(np.float32) * profile * chamber * (open_above + (1 - open_above) * recess)
    end = float(dome_line(a, np.array([a.lung_width_cm]), top=top_of_dome)[0])
    return Lung(side, u, lateral, medial, top, dome, across, height, inside, chamber, thickness, end)


_DEPTH_BINS = 2048
_DEPTH_PROFILE = ((1 - np.abs(np.linspace(-1, 1, _DEPTH_BINS)) ** 3.0) ** 0.5).astype(np.float32)


def shape_body(visit: Visit) -> np.ndarray:
    """Return the thickness of the trunk, shoulders, neck and arms as solid soft tissue, cm, shape (S, S)."""
    a, axes = visit.anatomy, visit.axes
    x = np.abs(axes.x)
    y = axes.y
    half = a.lung_width_cm + a.wall_cm - 0.7 * np.exp(-np.square((y - 1) / 6)) + 0.9 * step((y - 10) / 6)
    trunk = np.float32(a.depth_cm) * _TRUNK_PROFILE[np.minimum(x / half * _TRUNK_BINS, _TRUNK_BINS).astype(np.int32)]
    shoulder_y = -18.6 + 1.0 * (1 - a.body_mass) + 3.9 * (np.maximum(x - 4.0, 0) / 14) ** 1.25
    falls = step((y - shoulder_y - 1.6) / 1.9)
    deep = step((y - shoulder_y - 4.5) / 5.0)
    shoulder = np.float32(0.76 * a.depth_cm) * falls * (1 - step((y + 3.5) / 4.5))
    shoulder = shoulder * (1 - 0.25 * step((x - 15) / 5))
    neck_half = 5.6 * a.body_mass**0.4 + 0.25 * np.maximum(y + 18, 0) ** 1.5
    neck = 13.5 * np.sqrt(np.maximum(1 - np.square(x / neck_half), 0)) * (1 - step((y + 13) / 3.5))
    arm_y0, arm_x0 = -8.0, a.lung_width_cm + a.wall_cm + 1.8
    arm_half = np.float32(3.4 * a.body_mass**0.5)
    arm_x = arm_x0 + 0.14 * (y - arm_y0)
    arm = 1.7 * arm_half * np.sqrt(np.maximum(1 - np.square((x - arm_x) / arm_half), 0)) * step((y + 10) / 4)
    body = np.maximum(trunk * (0.12 + 0.88 * deep) * falls, shoulder)
    return np.maximum(np.maximum(body, neck), arm).astype(np.float32)


_TRUNK_BINS = 2048
_TRUNK_PROFILE = (np.maximum(1 - np.linspace(0, 1, _TRUNK_BINS + 1) ** 2.8, 0) ** 0.42).astype(np.float32)


def shape_breasts(visit: Visit) -> np.ndarray:
    """Return extra soft tissue in front: breasts, or the pectoral muscles; cm, shape (S, S)."""
    a, axes = visit.anatomy, visit.axes
    x = axes.x - np.float32(9.5 * visit.front_shift)
    if a.breast:
        out = (np.abs(x) - 7.2) / (5.0 * a.breast**0.25)
        down = (axes.y - a.breast_y) / (4.2 * a.breast**0.45)
        return (2.7 * a.breast) * np.sqrt(np.maximum(1 - out**2 - down**2, 0)) * step((down + 0.55) / 0.75)
    out, down = (np.abs(x) - 8.0) / 6.5, (axes.y + 3.5) / 5.5
    return np.float32(1.1 * a.body_mass) * np.maximum(1 - out**2 - down**2, 0)


def blend_domes(axes: Axes, lungs: tuple[Lung, Lung]) -> np.ndarray:
    """Return y of the whole diaphragm, the two sides joined under the heart, shape (1, S)."""
    share = step(axes.x / np.float32(3.0))
    return lungs[0].dome * (1 - share) + lungs[1].dome * share


def shape_abdomen(visit: Visit, lungs: tuple[Lung, Lung]) -> np.ndarray:
    """Return extra soft tissue below the diaphragm (liver, spleen) less the stomach's gas, cm, shape (S, S)."""
    a, axes = visit.anatomy, visit.axes
    left = lungs[1]
    edge = max(0.6 * axes.pixel_cm, 0.1)
    under = step((axes.y - blend_domes(axes, lungs)) / edge)
    inside = step((a.lung_width_cm + 0.4 - np.abs(axes.x)) / 0.8)
    belly = np.float32(0.9 + 1.2 * a.body_mass) * under * inside * step((axes.y - 4) / 7)
    if a.gas > 0.3:
        floor = float(left.dome_at(a.gas_x)) + 0.9 + 0.9 * a.gas
        out = (axes.x - a.gas_x) / (1.5 + 1.4 * a.gas)
        down = (axes.y - floor) / (0.6 + 0.9 * a.gas)
        belly = belly - np.float32(2.2 + 3.2 * a.gas) * under * np.minimum(1.6 * np.maximum(1 - out**2 - down**2, 0), 1)
    return belly
