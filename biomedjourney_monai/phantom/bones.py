"""Ribs, spine, clavicles, scapulae and arms from the front, as centimetres of bone."""

from dataclasses import dataclass

import numpy as np

from biomedjourney_monai.phantom.chest import Visit, lateral_border
from biomedjourney_monai.phantom.raster import bell, chord, draw_polyline, draw_tubes, fill_polygon, smooth_curve, step

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
