"""The effect of the findings on one lung, seen from the front."""

from dataclasses import dataclass

import numpy as np

from biomedjourney_monai.phantom.chest import Lung, Visit
from biomedjourney_monai.phantom.raster import bell, step

PNEUMOTHORAX_DEPTH_CM = (0.0, 1.8, 3.4, 5.8)
EFFUSION_RISE_CM = (0.0, 5.4, 9.4, 15.0)
"""Height of the meniscus at the chest wall above the costophrenic angle, by severity."""


@dataclass
class LungContent:
    """The content of one lung's outline; all of shape (S, S).

    Attributes:
        soft_share: soft tissue as a share of the lung's thickness, 0 to 1.
        added_cm: additional soft tissue: bands, septal lines, the pleural line.
        vessels: factor on the vessels, 0 in free pleural air.
        fluid: share of the thickness taken by effusion, 0 to 1.
        lung: 1 in lung, 0 in free pleural air.
    """

    soft_share: np.ndarray
    added_cm: np.ndarray
    vessels: np.ndarray
    fluid: np.ndarray
    lung: np.ndarray


def fill_lung(visit: Visit, lung: Lung, textures: np.ndarray) -> LungContent:
    """Fill one lung according to the findings.

    `textures` are streaks, interstitium and clouds on this view's grid, shape (3, S, S).
    """
    atelectasis, effusion, pneumothorax = visit.side_severities(lung.side)
    shape = lung.inside.shape
    gravity = np.float32(0.05) * (np.clip(lung.height, 0, 1.2) - 0.5)
    soft = np.float32(visit.anatomy.parenchyma - 0.02 * visit.acquisition.inspiration) + gravity
    soft = soft + np.float32(0.010) * textures[2] + np.float32(0.012) * textures[1]
    zeros, ones = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    content = LungContent(soft, zeros, ones, zeros.copy(), ones.copy())
    if visit.findings.edema:
        _add_edema(visit, lung, content, textures)
    if atelectasis:
        _add_atelectasis(visit, lung, content, atelectasis)
    if pneumothorax:
        _add_pneumothorax(visit, lung, content, pneumothorax)
    if effusion:
        _add_effusion(visit, lung, content, effusion)
    return content


def _of_patient(visit: Visit, lung: Lung, stream: int) -> np.random.Generator:
    """Return a generator that depends only on the patient and the side."""
    return np.random.default_rng([visit.anatomy.seed, stream, 0 if lung.side < 0 else 1])


def _add_edema(visit: Visit, lung: Lung, content: LungContent, textures: np.ndarray) -> None:
    """Perihilar haze, interstitial net, cuffed bronchi, septal lines."""
    severity = visit.findings.edema
    y = visit.axes.y
    rng = _of_patient(visit, lung, 21)
    centre_y = -0.6 if lung.side < 0 else -1.2
    haze = np.exp(-np.square((lung.u - 4.4) / 4.6) - np.square((y - centre_y) / 6.2))
    cloud = np.maximum(1 + np.float32(0.28 + 0.06 * severity) * textures[2], 0.2)
    content.soft_share += np.float32((0, 0.19, 0.31, 0.46)[severity]) * haze * cloud
    spread = step((lung.height - 0.45) / 0.55)
    content.soft_share += np.float32((0, 0.035, 0.07, 0.12)[severity]) * (0.5 + 0.5 * spread)
    content.added_cm += np.float32((0, 0.30, 0.45, 0.55)[severity]) * textures[1] * (0.4 + 0.6 * haze)
    for _ in range((0, 2, 3, 4)[severity]):
        cx, cy = lung.side * rng.uniform(3.4, 5.8), centre_y + rng.normal(0, 2.0)
        rows, columns = visit.axes.box(cx - 1, cx + 1, cy - 1, cy + 1)
        distance = np.hypot(visit.axes.x[:, columns] - cx, y[rows] - cy)
        width = max(0.13, 0.6 * visit.axes.pixel_cm)
        content.added_cm[rows, columns] += (1.0 + 0.3 * severity) * bell((distance - rng.uniform(0.22, 0.34)) / width)
    _add_septal_lines(visit, lung, content, rng, severity)
    if lung.side < 0:  # the minor fissure thickens
        width = max(0.10, 0.5 * visit.axes.pixel_cm)
        line = y - np.float32(0.3) + np.float32(0.03) * (lung.u - 6)
        content.added_cm += np.float32((0, 0.5, 0.9, 1.3)[severity]) * bell(line / width) * step((lung.u - 5) / 1.5)


def _add_septal_lines(visit: Visit, lung: Lung, content: LungContent, rng: np.random.Generator, severity: int) -> None:
    """Kerley B lines: short, horizontal, at the lateral base."""
    axes = visit.axes
    width = max(0.085, 0.5 * axes.pixel_cm)
    base = lung.hemithorax_end
    for k in range((0, 6, 9, 12)[severity]):
        line_y = base - 2.4 - 0.75 * k + rng.normal(0, 0.1)
        edge = float(np.interp(line_y, axes.y[:, 0], lung.lateral[:, 0]))
        length = rng.uniform(1.2, 2.0)
        left, right = sorted((lung.side * (edge - length), lung.side * (edge - 0.15)))
        rows, columns = axes.box(left, right, line_y - 0.5, line_y + 0.5)
        slope = rng.normal(0, 0.08)
        offset = axes.y[rows] - line_y - slope * (lung.u[:, columns] - edge)
        content.added_cm[rows, columns] += np.float32(0.55 + 0.2 * severity) * bell(offset / width)


def _add_atelectasis(visit: Visit, lung: Lung, content: LungContent, severity: int) -> None:
    """Plate-like bands above the raised diaphragm and, when worse, a collapsed wedge at the base."""
    y = visit.axes.y
    rng = _of_patient(visit, lung, 22)
    middle = lung.dome_at(7.0)
    for k in range(1 + severity):
        centre = middle - 1.5 - 1.55 * k + rng.normal(0, 0.25)
        slope, bend = rng.normal(-0.10, 0.16), rng.normal(0, 0.015)
        start, stop = rng.uniform(4.0, 6.0), rng.uniform(11.0, 13.2)
        width = 0.25 + 0.06 * severity + rng.uniform(0, 0.08)
        from_middle = lung.u - 7.5
        line = centre + slope * from_middle + bend * from_middle**2
        ends = step((lung.u - start) / 0.8) * step((stop - lung.u) / 0.8)
        strength = (0, 3.3, 3.6, 3.9)[severity] * rng.uniform(0.85, 1.15)
        content.added_cm += np.float32(strength) * bell((y - line) / width) * ends
    above = lung.dome - y
    base = step((1.6 + 1.5 * severity - above) / (1.2 + 0.5 * severity))
    content.soft_share += np.float32((0, 0.18, 0.22, 0.26)[severity]) * base
    if severity >= 2:  # lower lobe collapse: dense triangle with a straight lateral edge
        reach = (0, 0, 4.6, 7.0)[severity]
        edge_u = 3.0 + reach * np.clip((y + 2.0) / (lung.dome.min() + 2.0), 0, 1.2)
        wedge = step((edge_u - lung.u) / 0.7) * step((y + 1.0) / 3.0)
        content.soft_share += np.float32((0, 0, 0.26, 0.46)[severity]) * wedge


def pleural_depth_cm(visit: Visit, severity: int) -> float:
    """Return the distance between chest wall and lung in a pneumothorax; it varies a little with the breath."""
    return PNEUMOTHORAX_DEPTH_CM[severity] * (1 - 0.05 * visit.acquisition.inspiration)


def _add_pneumothorax(visit: Visit, lung: Lung, content: LungContent, severity: int) -> None:
    """Free air without vessels outside a thin pleural line; the lung behind it is smaller and denser."""
    y = visit.axes.y
    depth = pleural_depth_cm(visit, severity)
    beside = np.maximum(lung.lateral - lung.u, 0.01)
    above = np.maximum(y - lung.top, 0.01)
    distance = beside * above / np.sqrt(beside**2 + above**2)
    retreat = depth * (1.35 - 0.85 * np.clip(lung.height, 0, 1))
    wavy = np.float32(0.12) * np.sin(0.9 * y + visit.anatomy.seed % 5)
    inward = distance - (retreat + wavy)
    free = 1 - step(inward / max(0.7 * visit.axes.pixel_cm, 0.12))
    content.vessels *= 1 - free
    content.lung *= 1 - free
    collapsed = np.float32((0, 0.02, 0.06, 0.15)[severity])
    content.soft_share += collapsed
    content.soft_share *= 1 - free
    content.soft_share += np.float32(0.015) * free
    content.added_cm *= 1 - free
    line = bell(inward / max(0.11, 0.55 * visit.axes.pixel_cm))
    content.added_cm += np.float32(0.95 + 0.1 * severity) * line * (lung.height < 0.97)


def _add_effusion(visit: Visit, lung: Lung, content: LungContent, severity: int) -> None:
    """Fluid that climbs the chest wall: blunt angle, meniscus, then a white base."""
    y = visit.axes.y
    surface = effusion_surface(visit, lung, severity)
    content.fluid = step((y - surface) / np.float32(0.35 + 0.25 * severity)) * np.float32(
        (0, 0.90, 0.95, 0.985)[severity]
    )
    content.vessels *= 1 - 0.9 * content.fluid
    content.added_cm *= 1 - 0.9 * content.fluid


def effusion_surface(visit: Visit, lung: Lung, severity: int) -> np.ndarray:
    """Return y of the fluid's surface, shape (S, S): low in the middle, a meniscus at the chest wall."""
    rise = EFFUSION_RISE_CM[severity]
    level = (0.0, 0.17, 0.56, 0.72)[severity]
    out = np.clip((lung.u - 2.0) / np.maximum(lung.lateral - 2.0, 1.0), 0, 1)
    curve = out ** (3.0, 3.4, 3.2, 3.0)[severity]
    inward = np.exp(np.minimum(-(lung.u - 2.5) / 1.2, 0)) * (0.0, 0.0, 0.10, 0.10)[severity]
    return np.float32(lung.hemithorax_end + 0.4) - np.float32(rise) * (level + (1 - level) * curve + inward)
