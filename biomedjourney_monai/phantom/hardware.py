"""Devices that persist between visits: pacemaker, tracheal tube, sternal wires."""

import numpy as np

from biomedjourney_monai.phantom.chest import Visit
from biomedjourney_monai.phantom.findings import Devices
from biomedjourney_monai.phantom.raster import draw_polyline, draw_tubes, smooth_curve, step


def draw_devices(visit: Visit, devices: Devices) -> np.ndarray:
    """Return the devices of a frontal view as the equivalent thickness of bone in cm, shape (S, S)."""
    total = np.zeros((visit.axes.size, visit.axes.size), np.float32)
    if devices.pacemaker:
        total += _pacemaker(visit)
    if devices.tube:
        total += _tracheal_tube(visit)
    if devices.wires:
        total += _sternal_wires(visit)
    return total


def _pacemaker(visit: Visit) -> np.ndarray:
    """A generator below the left clavicle; one lead in the right atrium, one at the apex of the right ventricle."""
    a, axes = visit.anatomy, visit.axes
    rng = np.random.default_rng([a.seed, 31])
    front = 9.0 * visit.front_shift
    x0, y0 = 9.2 + rng.normal(0, 0.5) + front, a.clavicle_y + 2.6 + rng.normal(0, 0.5)
    across, down = np.abs(axes.x - x0) / 2.4, np.abs(axes.y - y0) / 2.0
    can = step((1 - across**4 - down**4) / 0.25) * np.float32(3.2)
    apex = (a.heart_x + 2.2 + front * 0.5, a.heart_y + 2.6)
    atrium = (-2.9 + front * 0.3, a.heart_y - 1.6)
    vein = [(x0 - 1.5, y0 - 1.4), (5.0, a.clavicle_y + 0.2), (0.5, a.clavicle_y + 2.2), (-1.7, -6.5), (-2.2, -1.0)]
    leads = [
        smooth_curve([*vein, (-2.0, a.heart_y + 0.6), (0.5, a.heart_y + 2.6), apex], 60),
        smooth_curve([*vein, (-2.0, a.heart_y + 0.3), (-2.6, a.heart_y + 0.2), atrium], 60),
    ]
    return can + _metal_line(visit, leads, radius_cm=0.11, strength=7.0)


def _tracheal_tube(visit: Visit) -> np.ndarray:
    """A tube with a radiopaque stripe that ends above the carina."""
    a = visit.anatomy
    lean = -0.35 - 0.35 * a.unfolding + 0.5 * visit.mediastinal_shift
    middle = smooth_curve([(0.0, -20.5), (0.05, -14.0), (0.6 * lean, -8.8)], 30)
    aside = np.array([0.42, 0.0])
    walls = [middle - aside, middle + aside]
    return _metal_line(visit, walls, radius_cm=0.10, strength=3.5)


def _sternal_wires(visit: Visit) -> np.ndarray:
    """Five twisted loops down the sternum."""
    a = visit.anatomy
    rng = np.random.default_rng([a.seed, 32])
    turn = np.linspace(0, 2 * np.pi, 24)
    loops = []
    for k in range(5):
        x0, y0 = 9.0 * visit.front_shift + rng.normal(0, 0.15), -8.6 + 2.5 * k + rng.normal(0, 0.15)
        lean = rng.normal(0, 0.12)
        x, y = 0.95 * np.cos(turn), 0.38 * np.sin(turn)
        loops.append(np.stack([x0 + x - lean * y, y0 + y + lean * x], axis=1))
    return _metal_line(visit, loops, radius_cm=0.09, strength=8.0)


def _metal_line(visit: Visit, lines: list[np.ndarray], *, radius_cm: float, strength: float) -> np.ndarray:
    x, y, length = (np.concatenate(p) for p in zip(*(draw_polyline(line, 0.06) for line in lines)))
    return np.float32(strength) * draw_tubes(visit.axes, x, y, length, radius_cm=radius_cm)
