"""The lateral view, simpler than the frontal one: preparation must recognise it and leave it out.

Here the horizontal axis is z: the front of the patient is at image right.
"""

from dataclasses import dataclass

import numpy as np

from biomedjourney_monai.phantom.chest import DOME_RISE_CM, Visit
from biomedjourney_monai.phantom.mediastinum import heart_width_scale
from biomedjourney_monai.phantom.raster import bell, chord, draw_polyline, draw_tubes, smooth_curve, step

_RIBS = 11


@dataclass(frozen=True)
class LateralLayers:
    """Thicknesses of a lateral view and the outlines for the masks; each (S, S).

    Attributes:
        soft_cm, bone_cm: along the beam, before rotation.
        lungs: outline of both lungs, which overlap.
        heart, diaphragm, mediastinum, spine: outlines, 0 to 1.
    """

    soft_cm: np.ndarray
    bone_cm: np.ndarray
    lungs: np.ndarray
    heart: np.ndarray
    diaphragm: np.ndarray
    mediastinum: np.ndarray
    spine: np.ndarray


@dataclass(frozen=True)
class _Outline:
    """Borders of the chest from the side: z of back and front at each height, y of the diaphragm at each z."""

    back: np.ndarray  # (S, 1)
    front: np.ndarray  # (S, 1)
    dome: np.ndarray  # (1, S)
    across: np.ndarray  # (S, S), 0 back to 1 front
    inside: np.ndarray  # (S, S), within the ribs and above the diaphragm


def lateral_layers(visit: Visit, *, fine: bool = True) -> LateralLayers:
    """Stack body, lungs, heart and bones of a lateral view.

    Without `fine` bones and vessels are left out, which suffices to measure the display window.
    """
    a, axes = visit.anatomy, visit.axes
    outline = _chest_outline(visit)
    body = _body(visit, outline)
    heart_cm, heart = _heart(visit, outline)
    up = np.clip((axes.y - a.apex_y) / 7.0, 0, 1)
    width = 2 * (a.lung_width_cm - 2.6) * np.sqrt(1 - (1 - up) ** 2)
    off = np.abs(2 * outline.across - 1)
    profile = np.sqrt(np.maximum(1 - off * off * off, 0))
    lung_cm = (0.86 * width).astype(np.float32) * profile * outline.inside
    lung_cm = lung_cm * (0.62 + 0.38 * step((axes.y + 6) / 6))  # shoulders and scapulae overlap the apices
    middle = 5.5 * bell((axes.x + 0.5) / 3.6) * step((8 - axes.y) / 5)
    room = np.maximum(lung_cm - np.maximum(heart_cm, middle), 0.25 * lung_cm)
    share, added = _findings(visit, outline)
    soft = body - room * (1 - share) + added
    bone = np.zeros_like(soft)
    if fine:
        soft += _vessels(visit, outline) * outline.inside
        bone = _bones(visit, outline) * np.float32(a.bone_density) * step((body - 2) / 2)
    trachea_z = -1.0 - 0.18 * (axes.y + 6)
    soft -= 1.8 * chord(np.square((axes.x - trachea_z) / 0.85)) * step((-3.5 - axes.y) / 0.8)
    under = step((axes.y - outline.dome) / 0.2) * step((3.0 + outline.dome - axes.y) / 0.2)
    within = ((outline.across > 0) & (outline.across < 1)).astype(np.float32)
    upper = step((3.2 - np.abs(axes.x + 0.5)) / 0.3) * outline.inside * (1 - heart) * (axes.y < a.heart_y - 1)
    spine = (np.abs(axes.x - _spine_z(visit)) < 1.7).astype(np.float32)
    return LateralLayers(soft, bone, outline.inside, heart, under * within, upper, spine)


def _spine_z(visit: Visit) -> np.ndarray:
    """Return z of the vertebral bodies at each height, shape (S, 1): curved, more with age."""
    a, y = visit.anatomy, visit.axes.y
    curve = 1.5 + 1.6 * a.unfolding
    return (-0.5 * a.depth_cm + 3.4 + curve * np.square((y + 1) / 14)).astype(np.float32)


def _chest_outline(visit: Visit) -> _Outline:
    a, axes, breath = visit.anatomy, visit.axes, visit.acquisition.inspiration
    half = 0.5 * a.depth_cm
    down = np.clip((axes.y - a.apex_y) / (a.dome_y - a.apex_y), 0, 1.4)
    back = (_spine_z(visit) - 3.4 + 3.5 * np.clip(1 - down * 6, 0, 1) ** 2).astype(np.float32)
    front = (half - 1.6 - 8.0 * (1 - np.minimum(down, 1)) ** 1.7 + 0.1 * breath).astype(np.float32)
    rise = max(DOME_RISE_CM[visit.findings.atelectasis_left], DOME_RISE_CM[visit.findings.atelectasis_right])
    top = a.dome_y - 0.6 * a.dome_step_cm + 0.85 * breath - 0.6 * rise
    from_top = axes.x - 2.5
    dome = top + np.where(from_top < 0, 0.036, 0.022) * np.square(from_top) + 0.9 * step((-from_top - 7) / 4)
    across = (axes.x - back) / np.maximum(front - back, 0.5)
    edge = max(0.6 * axes.pixel_cm, 0.08)
    inside = step((axes.x - back) / edge) * step((front - axes.x) / edge) * step((axes.y - a.apex_y) / edge)
    return _Outline(back, front, dome.astype(np.float32), across, inside * step((dome - axes.y) / edge))


def _body(visit: Visit, outline: _Outline) -> np.ndarray:
    """Return the trunk with raised arms as solid soft tissue, cm, shape (S, S)."""
    a, axes = visit.anatomy, visit.axes
    back = outline.back - 0.9 - 0.55 * a.wall_cm
    front = outline.front + 1.2 + 0.6 * a.wall_cm + 0.8 * step((axes.y - 8) / 4)
    middle, half = 0.5 * (back + front), 0.5 * (front - back)
    across = np.square((axes.x - middle) / half)
    width = 1.72 * (a.lung_width_cm + a.wall_cm)
    trunk = np.float32(width) * np.sqrt(np.maximum(1 - across * across, 0)) * step((axes.y - a.apex_y + 1.0) / 9.0)
    neck = 18.0 * chord(np.square((axes.x - 0.8) / 7.5)) * step((-9 - axes.y) / 6)
    arm_z = 1.0 - 0.55 * (axes.y + 12)
    arms = 25.0 * np.maximum(1 - np.square((axes.x - arm_z) / 8.0), 0) * step((-9.5 - axes.y) / 7)
    breast = 0.0
    if a.breast:
        out = np.square((axes.x - outline.front - 0.8) / 3.2) + np.square((axes.y - a.breast_y) / 4.4)
        breast = np.float32(5.0 * a.breast) * np.maximum(1 - out, 0)
    shoulders = np.maximum(neck, arms)
    return (np.sqrt(trunk * trunk + 0.7 * shoulders * shoulders) + breast).astype(np.float32)


def _heart(visit: Visit, outline: _Outline) -> tuple[np.ndarray, np.ndarray]:
    a, axes = visit.anatomy, visit.axes
    scale = heart_width_scale(visit)
    dz = axes.x - np.float32(0.5 * a.depth_cm - 6.6 - 1.4 * (scale - 1))
    dy = axes.y - np.float32(a.heart_y - 0.2)
    along, beside = 0.72 * dz + 0.69 * dy, 0.72 * dy - 0.69 * dz
    inside = np.square(along / (4.5 * scale)) + np.square(beside / (6.4 * scale))
    outline_of_heart = step((1 - inside) * np.float32(2.4 / max(0.7 * axes.pixel_cm, 0.1))) * outline.inside
    return np.float32(12.0) * np.maximum(1 - inside, 0) ** np.float32(0.75), outline_of_heart


def _findings(visit: Visit, outline: _Outline) -> tuple[np.ndarray, np.ndarray]:
    """Return the soft-tissue share of the lungs and additional soft tissue in cm, the same for both sides."""
    a, axes, f = visit.anatomy, visit.axes, visit.findings
    share: np.ndarray = np.full((axes.size, axes.size), a.parenchyma, np.float32)
    added = np.zeros_like(share)
    if f.edema:
        haze = np.exp(-np.square(axes.x / 5.0) - np.square((axes.y + 1) / 6.0))
        share += np.float32((0, 0.15, 0.26, 0.40)[f.edema]) * haze + np.float32(0.03 * f.edema)
    atelectasis = max(f.atelectasis_left, f.atelectasis_right)
    for k in range(atelectasis and atelectasis + 1):
        line = outline.dome - 1.5 - 1.5 * k + 0.1 * (axes.x - 1) - axes.y
        added += 3.0 * bell(line / (0.25 + 0.06 * atelectasis)) * step((4 - np.abs(axes.x - 1)) / 1.0) * outline.inside
    effusion = max(f.effusion_left, f.effusion_right)
    if effusion:
        end = float(outline.dome[0, np.abs(axes.x[0] + 0.4 * a.depth_cm).argmin()])
        out = np.clip(np.abs(axes.x + 1) / (0.45 * a.depth_cm), 0, 1)
        rise = (0, 5.0, 9.0, 15.0)[effusion] * ((0, 0.1, 0.5, 0.7)[effusion] + (0, 0.9, 0.5, 0.3)[effusion] * out**3)
        fluid = 0.55 * step((axes.y - end + rise) / 0.5)
        share = 1 - (1 - share) * (1 - fluid)
    pneumothorax = max(f.pneumothorax_left, f.pneumothorax_right)
    if pneumothorax:
        depth = (0, 1.2, 2.4, 4.0)[pneumothorax]
        free = step((depth - (outline.front - axes.x)) / 0.3)
        share -= np.float32(0.5 * a.parenchyma) * free
    return np.clip(share, 0, 0.97), added.astype(np.float32)


def _vessels(visit: Visit, outline: _Outline) -> np.ndarray:
    """Draw one vessel tree behind and one in front of the hila."""
    a, axes = visit.anatomy, visit.axes
    total = np.zeros((axes.size, axes.size), np.float32)
    for tree, toward in zip(a.vessels, (-1.0, 1.0)):
        y = a.apex_y + tree.height * (a.dome_y + 1.0 - a.apex_y)
        z = -0.8 + toward * tree.across * 0.42 * a.depth_cm
        for thin, thick in ((0.0, 0.12), (0.12, 0.25), (0.25, 9.0)):
            chosen = (tree.radius_cm >= thin) & (tree.radius_cm < thick)
            radius = float(tree.radius_cm[chosen].mean())
            total += draw_tubes(axes, z[chosen], y[chosen], tree.length_cm[chosen], radius_cm=radius)
    return np.float32(1.9 * a.vessel_contrast) * np.tanh(total * np.float32(0.75))


def _bones(visit: Visit, outline: _Outline) -> np.ndarray:
    """Return vertebrae, ribs, sternum and scapulae, cm of bone."""
    a, axes = visit.anatomy, visit.axes
    within = np.mod(axes.y / 2.35, 1)
    across = np.square((axes.x - _spine_z(visit)) / 1.6)
    plates = np.exp(-np.square((within - 0.12) / 0.08)) + np.exp(-np.square((within - 0.88) / 0.08))
    gap = 1 - 0.75 * np.exp(-np.square(np.minimum(within, 1 - within) / 0.06))
    bone = np.sqrt(np.maximum(1 - across**3, 0)) * (0.75 * gap + 0.45 * plates).astype(np.float32)
    lines = []
    back, front, y_rows = outline.back[:, 0], outline.front[:, 0], axes.y[:, 0]
    for number in range(_RIBS):
        for copy in (0.0, 0.8):
            start = a.apex_y + 0.8 + a.rib_pitch_cm * number + copy
            end = start + 3.0 + 0.75 * number
            z0, z1 = np.interp(start, y_rows, back) + 0.3, np.interp(end, y_rows, front) - 0.4
            z1 = z0 + (z1 - z0) * (0.96 if number < 7 else 0.75)
            path = [(z0, start), (z0 + 0.3 * (z1 - z0), start + 0.22 * (end - start)), (z1, end)]
            lines.append(draw_polyline(smooth_curve(path, 20), 0.15))
    x, y, length = (np.concatenate(p) for p in zip(*lines))
    hollow = 0.45 + 0.55 * a.cortex
    bone += 0.5 * draw_tubes(axes, x, y, length, radius_cm=a.rib_radius_cm, hollow=hollow, hollow_radius=0.8)
    heights = np.linspace(a.apex_y + 4.0, a.apex_y + 18.0, 12)
    sternum = np.stack([np.interp(heights, y_rows, front) + 0.55, heights], axis=1)
    bone += 2.0 * draw_tubes(axes, *draw_polyline(sternum, 0.1), radius_cm=0.55, hollow=0.7, hollow_radius=0.6)
    z0 = float(np.interp(-8.0, y_rows, back))
    blades = [smooth_curve([(z0 + d, -13.0), (z0 + 0.6 + d, -7.5), (z0 - 0.2 + d, -1.5)], 20) for d in (0.2, 1.9)]
    x, y, length = (np.concatenate(p) for p in zip(*(draw_polyline(blade, 0.1) for blade in blades)))
    return bone + 1.6 * draw_tubes(axes, x, y, length, radius_cm=0.3)
