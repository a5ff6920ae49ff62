"""The frontal chest of one visit: body outline, bones, lungs, diaphragm, and how findings displace them."""

from dataclasses import dataclass

import numpy as np

from biomedjourney_monai.phantom.anatomy import Anatomy
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.physics import Acquisition
from biomedjourney_monai.phantom.raster import (
    Axes,
    bell,
    chord,
    draw_polyline,
    draw_tubes,
    fill_polygon,
    smooth_curve,
    step,
)

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


RIBS = 10
_RIB_SAMPLES = 300
_VERTEBRA_CM = 2.3


def shape_bones(visit: Visit) -> np.ndarray:
    """Return all bone along the beam, cm of average bone, shape (S, S)."""
    return (draw_ribs(visit) + draw_spine(visit) + draw_shoulders(visit)) * np.float32(visit.anatomy.bone_density)


@dataclass(frozen=True)
class RibCage:
    """All ribs as points on their centre lines, each of shape (2, RIBS, P): side (right, left), number, point.

    Attributes:
        x, y, z: cm; x is already on the side of the patient.
        bone: length in cm that a point represents, 0 beyond the end of the rib.
        cartilage: the same for the cartilage between rib and sternum.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    bone: np.ndarray
    cartilage: np.ndarray


def shape_ribs(visit: Visit) -> RibCage:
    """Lay out ten rib pairs from the spine to the front."""
    a = visit.anatomy
    breath = visit.acquisition.inspiration
    number = np.arange(RIBS)[None, :]  # (1, RIBS)
    side = np.array([[-1.0], [1.0]])  # (2, 1)
    start_y = a.apex_y + 0.3 + a.rib_pitch_cm * number * (1 + 0.012 * number) * (1 + 0.012 * breath)
    drop = a.rib_drop_cm * (2.4 + 1.15 * number - 0.055 * number**2) * (1 - 0.05 * breath) + 0.6
    borders = [lateral_border(a, start_y + 0.40 * drop, side=s, inspiration=breath) for s in (-1, 1)]
    outer = np.concatenate(borders) + 0.30  # (2, RIBS)
    outer = np.where(number < 3, np.maximum(outer, 6.2 + 1.6 * number), outer)
    reach = 0.83 - 0.014 * np.abs(number - 2) - 0.012 * np.maximum(number - 5, 0) ** 2
    depth = 0.46 * a.depth_cm * (0.55 + 0.45 * np.minimum(1.0, (number + 1) / 5))
    first = np.arcsin(np.minimum(1.9 / outer, 0.9))
    share = np.linspace(0, 1, _RIB_SAMPLES)
    angle = first[..., None] + share * (np.pi * (reach + 0.10) - first)[..., None]  # (2, RIBS, P)
    turn = angle / np.pi
    x = side[..., None] * outer[..., None] * np.sin(angle) ** 0.92
    y = start_y[..., None] - 0.35 * np.sin(np.pi * np.clip(turn / 0.3, 0, 1))
    y = y + 1.9 * drop[..., None] * np.clip(turn - 0.02, 0, None) ** 1.65
    z = -depth[..., None] * np.cos(angle)
    length = np.sqrt(sum(np.square(np.diff(c, axis=-1, append=2 * c[..., -1:] - c[..., -2:-1])) for c in (x, y, z)))
    bone = step((reach[..., None] - turn) / 0.035)
    cartilage = (1 - bone) * step((reach[..., None] + 0.08 - turn) / 0.04)
    return RibCage(x, y, z, length * bone, length * cartilage)


def draw_ribs(visit: Visit) -> np.ndarray:
    """Return ten rib pairs, back and front, cm of bone."""
    a, axes = visit.anatomy, visit.axes
    rng = np.random.default_rng([a.seed, 5])
    cage = shape_ribs(visit)
    x = (cage.x + cage.z * visit.front_shift).astype(np.float32)
    y = (cage.y + rng.normal(0, 0.12, (2, RIBS, 1))).astype(np.float32)
    speckle = rng.random(cage.x.shape) ** 3
    back = cage.z < 0
    drawn = cage.bone > 0
    hollow = 0.45 + 0.55 * a.cortex
    r = a.rib_radius_cm
    behind, ahead = back & drawn, ~back & drawn
    ribs = 0.80 * draw_tubes(
        axes, x[behind], y[behind], cage.bone[behind], radius_cm=r, hollow=hollow, hollow_radius=0.80
    )
    ribs += 0.50 * draw_tubes(
        axes, x[ahead], y[ahead], cage.bone[ahead], radius_cm=1.14 * r, hollow=hollow, hollow_radius=0.84
    )
    if a.calcification > 0.15:
        chosen = cage.cartilage > 0
        chosen[:, 0] = chosen[:, 8:] = False
        weight = 0.75 * (a.calcification - 0.15) * (cage.cartilage * speckle)[chosen]
        ribs += draw_tubes(axes, x[chosen], y[chosen], weight, radius_cm=0.45 * r)
    # A rib seen end-on at the chest wall is long along the beam, but its brightness is limited in a radiograph.
    return np.float32(2.2) * np.tanh(ribs * np.float32(1 / 2.2))


def draw_spine(visit: Visit) -> np.ndarray:
    """Return the vertebral column, cm of bone."""
    y = visit.axes.y
    x, half = _spine_position(visit)
    within = np.mod(y / _VERTEBRA_CM, 1)  # 0 in the middle of a vertebral body
    phase = 2 * np.pi * within
    across = np.square(x / (half * (1 + 0.06 * np.cos(phase)).astype(np.float32)))
    body = np.sqrt(np.maximum(1 - across * across * across, 0))
    plates = np.exp(-np.square((within - 0.33) / 0.07)) + np.exp(-np.square((within - 0.67) / 0.07))
    strength = (0.52 + 0.12 * np.cos(phase) + 0.24 * plates) * (1.0 - 0.45 * step((y - 8) / 4))
    column = body * strength.astype(np.float32)
    aside = np.abs(x)
    pedicle_rows = (0.45 * np.exp(-np.square((within - 0.12) / 0.13))).astype(np.float32)
    process_rows = (0.42 * np.exp(-np.square((within - 0.55) / 0.2))).astype(np.float32)
    wing_rows = (0.25 * np.exp(-np.square((within - 0.1) / 0.16)) * (y < 8)).astype(np.float32)
    column += bell((aside - 0.62 * half) * np.float32(1 / 0.27)) * pedicle_rows
    column += bell(x * np.float32(1 / 0.26)) * process_rows
    return column + step((half + 1.5 - aside) * 2) * wing_rows


def _spine_position(visit: Visit) -> tuple[np.ndarray, np.ndarray]:
    """Return x from the spine's own midline, shape (S, S), and half the vertebrae's width, shape (S, 1)."""
    a, axes = visit.anatomy, visit.axes
    bend = a.scoliosis_cm * np.sin(axes.y / 7.5 + 0.6) - 6.5 * visit.front_shift
    return axes.x - bend.astype(np.float32), (a.spine_cm * (1 + 0.012 * axes.y)).astype(np.float32)


def spine_outline(visit: Visit) -> np.ndarray:
    """Return the vertebral bodies' outline, 0 or 1, shape (S, S)."""
    x, half = _spine_position(visit)
    return (np.abs(x) < half).astype(np.float32)


def draw_shoulders(visit: Visit) -> np.ndarray:
    """Return clavicles, scapulae and upper arms, cm of bone."""
    a, axes = visit.anatomy, visit.axes
    clavicles, edges = [], []
    total = np.zeros((axes.size, axes.size), np.float32)
    over_lungs = 1.6 if visit.acquisition.view_position == "AP" else 0.0
    front, back = 8.0 * visit.front_shift, -7.5 * visit.front_shift
    for side in (-1, 1):
        y0, rise = a.clavicle_y, a.clavicle_rise_cm
        bar = [
            (1.5, y0 + 0.9),
            (3.6, y0 + 0.75),
            (7.0, y0 - 0.35 * rise),
            (11.5, y0 - 0.95 * rise),
            (15.8, y0 - rise + 0.25),
        ]
        clavicles.append(draw_polyline(smooth_curve([(side * px + front, py) for px, py in bar]), 0.1))
        sx = a.scapula_x - over_lungs
        lean = a.scapula_turn
        blade = smooth_curve(
            [(sx + 0.2, -12.0), (sx - 0.5 - 4 * lean, -8.0), (sx - 0.2 - 3 * lean, -3.5), (sx + 0.6 - 3 * lean, 0.8),
             (sx + 2.0, -3.5), (sx + 3.9, -8.0), (sx + 4.6, -10.8)], 60,
        )  # fmt: skip
        blade = blade * (side, 1) + (back, 0)
        total += np.float32(0.34) * fill_polygon(axes, blade.astype(np.float32))
        edges.append(draw_polyline(blade, 0.12))
        spine = smooth_curve([(sx + 0.2, -10.2), (sx + 2.6, -11.6), (sx + 5.0, -13.0)], 12) * (side, 1) + (back, 0)
        edges.append(draw_polyline(spine, 0.12))
        head = np.square((side * axes.x - (sx + 5.0)) / 2.2) + np.square((axes.y + 10.2) / 2.3)
        total += np.float32(1.5) * chord(head) - np.float32(0.6) * chord(head * 1.3)
        shaft_x = sx + 5.4 + 0.14 * (axes.y + 9)
        shaft = np.square((side * axes.x - shaft_x) / 1.15)
        total += (np.float32(1.6) * chord(shaft) - np.float32(1.0) * chord(shaft * 2.0)) * step((axes.y + 9) / 1.5)
    x, y, length = (np.concatenate(p) for p in zip(*clavicles))
    hollow = 0.30 + 0.5 * a.cortex
    total += 0.85 * draw_tubes(axes, x, y, length, radius_cm=0.62, hollow=hollow, hollow_radius=0.7)
    x, y, length = (np.concatenate(p) for p in zip(*edges))
    return total + np.float32(0.5) * draw_tubes(axes, x, y, length, radius_cm=0.24)
