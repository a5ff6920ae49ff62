"""Ribs, spine, clavicles, scapulae and arms from the front, as centimetres of bone."""

from __future__ import annotations

import numpy as np

from biomedjourney_monai.phantom.chest import Visit, lateral_border
from biomedjourney_monai.phantom.raster import (
    bell,
    chord,
    draw_polyline,
    draw_tubes,
    fill_polygon,
    smooth_curve,
    step,
)

RIBS = 10
_RIB_SAMPLES = 300


def shape_bones(visit: Visit) -> np.ndarray:
    """Return all bone along the beam, cm of average bone, shape (S, S)."""
    return (draw_ribs(visit) + draw_spine(visit) + draw_shoulders(visit)) * np.float32(visit.anatomy.bone_density)


def rib_curve(visit: Visit, number: int, side: int) -> tuple[np.ndarray, ...]:
    """Follow one rib from the spine round to the front.

    Returns:
        x, y, z in cm and the length that each sample stands for, each shape (300,).
    """
    a = visit.anatomy
    breath = visit.acquisition.inspiration
    start_y = a.apex_y + 0.3 + a.rib_pitch_cm * number * (1 + 0.012 * number) * (1 + 0.012 * breath)
    drop = a.rib_drop_cm * (2.4 + 1.15 * number - 0.055 * number**2) * (1 - 0.05 * breath) + 0.6
    side_y = start_y + 0.40 * drop
    outer = float(lateral_border(a, np.array([side_y]), side=side, inspiration=breath)[0]) + 0.30
    outer = max(outer, 6.2 + 1.6 * number) if number < 3 else outer
    reach = 0.83 - 0.014 * abs(number - 2) - 0.012 * max(number - 5, 0) ** 2
    angle = np.linspace(np.arcsin(min(1.9 / outer, 0.9)), np.pi * (reach + 0.10), _RIB_SAMPLES)
    turn = angle / np.pi
    depth = 0.46 * a.depth_cm * (0.55 + 0.45 * min(1.0, (number + 1) / 5))
    x = outer * np.sin(angle) ** 0.92
    y = start_y - 0.35 * np.sin(np.pi * np.clip(turn / 0.3, 0, 1)) + 1.9 * drop * np.clip(turn - 0.02, 0, None) ** 1.65
    z = -depth * np.cos(angle)
    length = np.hypot(np.hypot(np.gradient(x), np.gradient(y)), np.gradient(z))
    bone = step((reach - turn) / 0.035)
    cartilage = (1 - bone) * step((reach + 0.08 - turn) / 0.04)
    return x, y, z, length * bone, length * cartilage


def draw_ribs(visit: Visit) -> np.ndarray:
    """Return ten rib pairs, back and front, cm of bone."""
    a, axes = visit.anatomy, visit.axes
    rng = np.random.default_rng([a.seed, 5])
    groups: dict[str, list[tuple[np.ndarray, ...]]] = {"back": [], "front": [], "cartilage": []}
    for side in (-1, 1):
        for number in range(RIBS):
            tilt = rng.normal(0, 0.12)
            x, y, z, bone, cartilage = rib_curve(visit, number, side)
            x = side * x + z * visit.front_shift
            y = y + tilt
            back = z < 0.0
            groups["back"].append((x[back], y[back], bone[back]))
            groups["front"].append((x[~back], y[~back], bone[~back]))
            speckle = rng.random(_RIB_SAMPLES) ** 3
            if 1 <= number <= 7:
                groups["cartilage"].append((x, y, cartilage * speckle))
    joined = {name: tuple(np.concatenate(p).astype(np.float32) for p in zip(*parts)) for name, parts in groups.items()}
    r = a.rib_radius_cm
    hollow = 0.45 + 0.55 * a.cortex
    ribs = 0.80 * draw_tubes(axes, *joined["back"], radius_cm=r, hollow=hollow, hollow_radius=0.80)
    ribs += 0.50 * draw_tubes(axes, *joined["front"], radius_cm=1.14 * r, hollow=hollow, hollow_radius=0.84)
    if a.calcification > 0.15:
        ribs += 0.75 * (a.calcification - 0.15) * draw_tubes(axes, *joined["cartilage"], radius_cm=0.45 * r)
    # A rib seen end-on at the chest wall is long along the beam, yet no radiograph whitens without bound.
    return np.float32(2.2) * np.tanh(ribs * np.float32(1 / 2.2))


def draw_spine(visit: Visit) -> np.ndarray:
    """Return the vertebral column, cm of bone."""
    a, axes = visit.anatomy, visit.axes
    y = axes.y
    pitch = 2.3
    x = axes.x + np.float32(6.5 * visit.front_shift) - (a.scoliosis_cm * np.sin(y / 7.5 + 0.6)).astype(np.float32)
    phase = 2 * np.pi * y / pitch
    growth = 1 + 0.012 * y
    half = (a.spine_cm * growth * (1 + 0.06 * np.cos(phase))).astype(np.float32)
    body = np.sqrt(np.maximum(1 - (x / half) ** 6, 0))
    plates = np.exp(-np.square((np.mod(y / pitch, 1) - 0.33) / 0.07)) + np.exp(
        -np.square((np.mod(y / pitch, 1) - 0.67) / 0.07)
    )
    strength = (0.50 + 0.14 * np.cos(phase) + 0.34 * plates) * (1.0 - 0.45 * step((y - 8) / 4))
    column = body * strength.astype(np.float32)
    within = np.mod(y / pitch, 1)
    pedicle = bell((np.abs(x) - 0.62 * half) / 0.27) * np.exp(-np.square((within - 0.12) / 0.13)).astype(np.float32)
    process = bell(x / 0.26) * np.exp(-np.square((within - 0.55) / 0.2)).astype(np.float32)
    wing = step((half + 1.5 - np.abs(x)) / 0.5) * np.exp(-np.square((within - 0.1) / 0.16)).astype(np.float32)
    return column + 0.6 * pedicle + 0.55 * process + np.float32(0.25) * wing * (y < 8)


def spine_outline(visit: Visit) -> np.ndarray:
    """Return the vertebral bodies' outline, 0 or 1, shape (S, S)."""
    a, axes = visit.anatomy, visit.axes
    x = axes.x + np.float32(6.5 * visit.front_shift) - (a.scoliosis_cm * np.sin(axes.y / 7.5 + 0.6)).astype(np.float32)
    return (np.abs(x) < a.spine_cm * (1 + 0.012 * axes.y)).astype(np.float32)


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
