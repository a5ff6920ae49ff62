"""One radiograph of a phantom patient, with exact masks."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.phantom.anatomy import TEXTURE_FIELD_CM, TEXTURE_SIZE, Anatomy
from biomedjourney_monai.phantom.chest import (
    Lung,
    Visit,
    blend_domes,
    shape_abdomen,
    shape_body,
    shape_bones,
    shape_breasts,
    shape_lung,
    spine_outline,
)
from biomedjourney_monai.phantom.findings import Devices, FindingState
from biomedjourney_monai.phantom.lateral import LateralLayers, lateral_layers
from biomedjourney_monai.phantom.mediastinum import Mediastinum, shape_hila, shape_mediastinum
from biomedjourney_monai.phantom.pathology import fill_lung, pleural_depth_cm
from biomedjourney_monai.phantom.physics import Acquisition, axes_of, detect, develop, finish, line_integral, rotate
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


WINDOW_SIZE = 48
"""Side of the small healthy image that sets the display window, so that findings never change the exposure."""

BEHIND_HEART_CM = 0.45
"""How much further people's outlines of the left lung field reach behind heart and aorta than the renderer's lung."""


@dataclass(frozen=True)
class Rendering:
    """A radiograph and its masks.

    Attributes:
        image: float32 in [0, 1], shape (S, S), bright is dense.
        masks: uint8 0 or 1, shape (6, S, S) in the order of `schema.STRUCTURES`, or None.
    """

    image: np.ndarray
    masks: np.ndarray | None


def render(
    anatomy: Anatomy,
    acquisition: Acquisition,
    findings: FindingState,
    *,
    devices: Devices = Devices(),  # noqa: B008 (frozen)
    size: int = 256,
    with_masks: bool = False,
) -> Rendering:
    """Render one radiograph.

    Noise, geometry and exposure depend only on acquisition and anatomy, so the same two with other findings give the
    true counterfactual.

    Args:
        size: pixels per side, 64 or more.
        with_masks: also draw the masks of `schema.STRUCTURES`.

    Raises:
        ConfigError: if the size is too small.
    """
    if size < 64:
        raise ConfigError("size must be >= 64 pixels", found=str(size))
    visit = Visit(anatomy, acquisition, findings, axes_of(acquisition, size, chest_cm=anatomy.lung_width_cm))
    layers = lateral_layers(visit) if _is_lateral(acquisition) else frontal_layers(visit)
    soft = rotate(layers.soft_cm, acquisition.rotation_degrees)
    metal = np.float32(0) if _is_lateral(acquisition) else draw_devices(visit, devices)
    bone = rotate(layers.bone_cm + metal, acquisition.rotation_degrees)
    low, high = display_window(anatomy, acquisition)
    detected = detect(line_integral(soft, bone, hardness=acquisition.hardness), acquisition)
    image = finish(develop(detected, acquisition, low=low, high=high), acquisition)
    if not with_masks:
        return Rendering(image, None)
    outlines = lateral_outlines(layers) if isinstance(layers, LateralLayers) else frontal_outlines(visit, layers)
    return Rendering(image, _cut_masks(outlines, acquisition))


def _is_lateral(acquisition: Acquisition) -> bool:
    return acquisition.view_position == "LATERAL"


def _cut_masks(outlines: list[np.ndarray], acquisition: Acquisition) -> np.ndarray:
    """Rotate outlines (0 to 1) with the image and threshold them at one half; uint8, shape (6, S, S)."""
    turned = [rotate(np.ascontiguousarray(o, np.float32), acquisition.rotation_degrees) for o in outlines]
    return np.stack([t > 0.5 for t in turned]).astype(np.uint8)


@dataclass(frozen=True)
class Layers:
    """Thicknesses of one view before rotation, and the shapes for the masks; each (S, S)."""

    soft_cm: np.ndarray
    bone_cm: np.ndarray
    lungs: tuple[Lung, Lung]
    lung_tissue: tuple[np.ndarray, np.ndarray]  # 1 where a lung is neither fluid nor free pleural air, right and left
    mediastinum: Mediastinum


def frontal_layers(visit: Visit, *, fine: bool = True) -> Layers:
    """Stack body, lungs, mediastinum and bones of a PA or AP view.

    Without `fine` bones, vessels and textures are left out, which suffices to measure the display window.
    """
    axes = visit.axes
    lungs = (shape_lung(visit, -1), shape_lung(visit, 1))
    middle = shape_mediastinum(visit)
    body = shape_body(visit)
    textures = textures_of(visit) if fine else np.zeros((3, axes.size, axes.size), np.float32)
    soft = body + shape_breasts(visit) + shape_abdomen(visit, lungs)
    soft += np.float32(0.42 * visit.anatomy.streaks) * textures[0] * step((body - 3) / 3)
    belly = step((axes.y - blend_domes(axes, lungs) - 1) / 1.5) * step((body - 3) / 3)
    soft += np.float32(0.5) * textures[2] * belly
    hila = shape_hila(visit, lungs, visit.mediastinal_shift)
    behind = np.float32(0.14)  # lung that stays visible behind the heart
    tissue = []
    for lung in lungs:
        content = fill_lung(visit, lung, textures)
        tissue.append(lung.inside * content.lung * (1 - content.fluid))
        room = np.maximum(lung.thickness - middle.solid * lung.chamber, behind * lung.thickness)
        share = 1 - (1 - np.clip(content.soft_share, 0.0, 0.97)) * (1 - content.fluid)
        soft -= room * (1 - share)
        vessels = hila * content.vessels
        if fine:
            vessels = vessels + draw_vessels(visit, lung) * content.vessels
        soft += (content.added_cm + vessels) * lung.inside * (1 - np.float32(0.35) * middle.heart)
    above = 1 - step((axes.y - blend_domes(axes, lungs)) / 0.8)
    soft += np.float32(0.12) * middle.solid * above - middle.air
    bone = shape_bones(visit) + middle.calcium if fine else np.zeros_like(soft)
    return Layers(soft, bone * step((body - 1.0) / 1.0), lungs, tuple(tissue), middle)


def textures_of(visit: Visit) -> np.ndarray:
    """Resample the patient's textures onto this view's grid, shape (3, S, S)."""
    axes = visit.axes
    scale = axes.pixel_cm * TEXTURE_SIZE / TEXTURE_FIELD_CM
    left = (float(axes.x[0, 0]) / TEXTURE_FIELD_CM + 0.5) * TEXTURE_SIZE - 0.5
    top = (float(axes.y[0, 0]) / TEXTURE_FIELD_CM + 0.5) * TEXTURE_SIZE - 0.5
    matrix = np.array([[scale, 0, left], [0, scale, top]], np.float32)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.stack(
        [cv2.warpAffine(layer, matrix, (axes.size, axes.size), flags=how, borderMode=cv2.BORDER_REFLECT)
         for layer in visit.anatomy.textures]
    )  # fmt: skip


_VESSEL_CLASSES_CM = (0.0, 0.085, 0.13, 0.20, 0.30, 0.45, 9.0)


def draw_vessels(visit: Visit, lung: Lung) -> np.ndarray:
    """Return the blood in one lung's vessels along the beam, cm, shape (S, S)."""
    axes, a = visit.axes, visit.anatomy
    tree = a.vessels[0 if lung.side < 0 else 1]
    x, y = place_vessels(visit, lung)
    edema = visit.findings.edema
    wider = 1 + 0.10 * edema + 0.16 * edema * (tree.height < 0.5)  # blood diverts to the upper lobes
    radius = tree.radius_cm * wider.astype(np.float32)
    total = np.zeros((axes.size, axes.size), np.float32)
    for thin, thick in pairwise(_VESSEL_CLASSES_CM):
        chosen = (radius >= thin) & (radius < thick)
        if not chosen.any():
            continue
        typical = float(np.sqrt(np.mean(np.square(radius[chosen]))))
        weight = tree.length_cm[chosen] * np.square(radius[chosen] / typical)
        total += draw_tubes(axes, x[chosen], y[chosen], weight, radius_cm=typical)
    return np.float32(2.5 * a.vessel_contrast) * np.tanh(total * np.float32(0.75))


def place_vessels(visit: Visit, lung: Lung) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y in cm of the tree's points in this visit's lung, each shape (P,)."""
    a, axes = visit.anatomy, visit.axes
    tree = a.vessels[0 if lung.side < 0 else 1]
    across, height = tree.across, tree.height
    severity = visit.side_severities(lung.side)[2]
    if severity:
        depth = pleural_depth_cm(visit, severity)
        squeeze = 1 - np.clip(1.1 * depth / 12.0 * (1.35 - 0.85 * height), 0, 0.8)
        across = across * squeeze
        height = height + (1 - height) * np.clip(1.3 * depth / 24.0, 0, 0.6) * (1 - height)
    y = np.float32(a.apex_y) + height * np.float32(lung.dome.min() + 0.5 - a.apex_y)
    for _ in range(2):
        lateral = np.interp(y, axes.y[:, 0], lung.lateral[:, 0])
        medial = np.interp(y, axes.y[:, 0], lung.medial[:, 0])
        u = medial + across * (lateral - medial)
        y = a.apex_y + height * (lung.dome_at(u) - a.apex_y)
    x = lung.side * u + 0.4 * visit.mediastinal_shift * (1 - across)
    return x.astype(np.float32), y.astype(np.float32)


@lru_cache(maxsize=8)
def display_window(anatomy: Anatomy, acquisition: Acquisition) -> tuple[float, float]:
    """Return the attenuation at the dark and the bright end of the display, from the healthy patient."""
    visit = Visit(
        anatomy, acquisition, FindingState(), axes_of(acquisition, WINDOW_SIZE, chest_cm=anatomy.lung_width_cm)
    )
    draw = lateral_layers if _is_lateral(acquisition) else frontal_layers
    layers = draw(visit, fine=False)
    integral = line_integral(layers.soft_cm, np.float32(0), hardness=acquisition.hardness)
    half, top = anatomy.lung_width_cm, anatomy.apex_y
    if _is_lateral(acquisition):
        half, top = 0.4 * anatomy.depth_cm, anatomy.apex_y + 5
    measured = integral[(np.abs(visit.axes.x) < half) & (visit.axes.y > top)]
    low, high = np.percentile(measured, [acquisition.window_low, acquisition.window_high])
    return float(low), float(high)


def frontal_outlines(visit: Visit, layers: Layers) -> list[np.ndarray]:
    """Return the outlines of `schema.STRUCTURES` from a frontal view's layers, each (S, S), 0 to 1."""
    axes = visit.axes
    right, left = layers.lungs
    right_lung, left_lung = layers.lung_tissue
    heart = layers.mediastinum.heart
    free = 1 - heart
    dome = np.where(axes.x < 0, right.dome, left.dome)
    heart = heart * (axes.y < dome + 1.2)
    under = (axes.y >= dome) & (axes.y < dome + 3.0) & (np.abs(axes.x) > 1.0)
    lateral = np.where(axes.x < 0, right.lateral, left.lateral)
    diaphragm = (under & (np.abs(axes.x) < lateral)).astype(np.float32)
    return [left_lung * free, right_lung * free, heart, diaphragm, layers.mediastinum.upper, spine_outline(visit)]


def lateral_outlines(layers: LateralLayers) -> list[np.ndarray]:
    """Return the outlines of `schema.STRUCTURES` from a lateral view, where both lungs overlap."""
    lungs = layers.lungs * (1 - layers.heart)
    return [lungs, lungs, layers.heart, layers.diaphragm, layers.mediastinum, layers.spine]


def lung_fields(anatomy: Anatomy, acquisition: Acquisition, findings: FindingState, *, size: int) -> np.ndarray:
    """Outline both lung fields of a frontal view as people do, without rendering it.

    A field reaches from the border of the spine to the chest wall and down to the diaphragm; what the heart, vessels,
    fluid or free air hide of it belongs to it, unlike in the masks of `schema.STRUCTURES`.

    Returns:
        uint8 0 or 1, shape (2, S, S): the patient's left field, then the right one.
    """
    visit = Visit(anatomy, acquisition, findings, axes_of(acquisition, size, chest_cm=anatomy.lung_width_cm))
    y, edge = visit.axes.y, max(0.6 * visit.axes.pixel_cm, 0.1)
    fields = []
    for lung, beyond in ((shape_lung(visit, 1), BEHIND_HEART_CM), (shape_lung(visit, -1), 0.0)):
        across = step((lung.lateral - lung.u) / edge) * step((lung.u - lung.medial + np.float32(beyond)) / edge)
        fields.append(across * step((y - lung.top) / edge) * (1 - step((y - lung.dome) / edge)))
    return _cut_masks(fields, acquisition)
