"""The body of a phantom patient, which all visits share.

Lengths are centimetres. The origin is the middle of the chest, x grows to image right (the patient's left),
y grows downward, z grows to the front.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from biomedjourney_monai.errors import ConfigError

_WIDTH_CM, _HEIGHT_CM = 11.5, 20.0  # a flattened lung, so that lengths and angles are meaningful
_STEP_CM = 0.14
_LEAF_RADIUS_CM = 0.074
_MURRAY = 1 / 2.75  # radius ~ (number of leaves served) ** _MURRAY


@dataclass(frozen=True)
class VesselTree:
    """Points along all branches of one lung.

    Attributes:
        across: 0 at the mediastinal border to 1 at the lateral border, shape (P,).
        height: 0 at the apex to 1 at the diaphragm, shape (P,).
        radius_cm: shape (P,).
        length_cm: the length of vessel that a point represents, shape (P,).
    """

    across: np.ndarray
    height: np.ndarray
    radius_cm: np.ndarray
    length_cm: np.ndarray


def grow_vessels(rng: np.random.Generator, *, hilum_height: float) -> VesselTree:
    """Grow arteries and veins of one lung from its hilum."""
    arteries = _grow(rng, root=(1.5, hilum_height * _HEIGHT_CM), leaves=_draw_leaves(rng, 210))
    veins = _grow(rng, root=(1.1, (hilum_height + 0.11) * _HEIGHT_CM), leaves=_draw_leaves(rng, 110))
    points = np.concatenate([arteries, veins]).astype(np.float32)
    return VesselTree(points[:, 0] / _WIDTH_CM, points[:, 1] / _HEIGHT_CM, points[:, 2], points[:, 3])


def _draw_leaves(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw end points, about evenly over the lung and slightly denser below; shape (count, 2) in cm."""
    candidates = rng.uniform((0.0, 0.0), (1.0, 1.10), (3 * count, 2))
    keep = rng.random(3 * count) < 0.45 + 0.55 * candidates[:, 1]
    return candidates[keep][:count] * (_WIDTH_CM, _HEIGHT_CM)


def _grow(rng: np.random.Generator, *, root: tuple[float, float], leaves: np.ndarray) -> np.ndarray:
    """Divide the leaves among branches from `root`; return rows (x, y, radius, length)."""
    pieces: list[np.ndarray] = []
    stack = [(np.array(root), leaves, 0)]
    while stack:
        node, served, depth = stack.pop()
        toward = served.mean(axis=0) - node
        if len(served) == 1:
            pieces.append(_branch(rng, node, served[0], _LEAF_RADIUS_CM, tapers=True))
            continue
        if depth:
            share = rng.uniform(0.30, 0.52)
            end = node + toward * share + rng.normal(0, 0.06, 2) * np.hypot(*toward)
            pieces.append(_branch(rng, node, end, _LEAF_RADIUS_CM * len(served) ** _MURRAY))
        else:
            end = node
        across = (served - end) @ np.array([-toward[1], toward[0]]) if depth > 1 else _angles(served - end)
        order = np.argsort(across)
        cut = int(np.clip(round(len(served) * rng.uniform(0.28, 0.72)), 1, len(served) - 1))
        stack += [(end, served[order[:cut]], depth + 1), (end, served[order[cut:]], depth + 1)]
    return np.concatenate(pieces)


def _angles(offsets: np.ndarray) -> np.ndarray:
    return np.arctan2(offsets[:, 1], offsets[:, 0])


def _branch(
    rng: np.random.Generator, start: np.ndarray, end: np.ndarray, radius: float, *, tapers: bool = False
) -> np.ndarray:
    """Sample a gently curved branch; return rows (x, y, radius, length)."""
    chord = end - start
    length = float(np.hypot(*chord))
    count = max(int(length / _STEP_CM), 2)
    along = (np.arange(count) + 0.5) / count
    bend = rng.normal(0, 0.08) * np.array([-chord[1], chord[0]])
    wave = rng.normal(0, 0.03) * np.array([-chord[1], chord[0]])
    points = start + along[:, None] * chord + (4 * along * (1 - along))[:, None] * bend
    points += np.sin(2 * np.pi * along)[:, None] * wave
    radii = radius * (1 - 0.45 * along) if tapers else np.full(count, radius) * (1.06 - 0.12 * along)
    return np.column_stack([points, radii, np.full(count, length / count)])


TEXTURE_SIZE = 192
TEXTURE_FIELD_CM = 48.0

_BONE_OF_GROUP = (1.0, 1.38, 0.72)
_VESSEL_OF_GROUP = (1.0, 0.86, 1.16)
_STREAKS_OF_GROUP = (1.0, 0.75, 1.3)


@dataclass(frozen=True)
class Anatomy:
    """Everything that a patient's visits share, as plain numbers; vessels and textures are drawn on first use."""

    seed: int
    sex: str  # "F" or "M"
    age: float  # years
    group: int  # 0, 1 or 2: changes tissue contrast only

    body_mass: float  # 1 is average
    wall_cm: float  # chest wall beside the lungs
    depth_cm: float  # front to back, at the middle
    lung_width_cm: float  # midline to lateral lung border, at the base
    lung_depth_cm: float
    apex_y: float
    base_y: float  # below this the lung no longer widens
    dome_y: float  # top of the left diaphragm
    dome_step_cm: float  # how much higher the right one stands
    dome_height_cm: float  # dome top to costophrenic angle
    dome_x: float
    heart_x: float
    heart_y: float
    heart_size: float
    heart_tilt: float  # radians
    knob_cm: float
    unfolding: float  # aorta: 0 young to 1.3 tortuous
    calcification: float  # aortic arch and costal cartilage, 0 to 1
    mediastinum_cm: float
    rib_pitch_cm: float
    rib_drop_cm: float
    rib_radius_cm: float
    clavicle_y: float
    clavicle_rise_cm: float
    scapula_x: float
    scapula_turn: float
    spine_cm: float
    scoliosis_cm: float
    breast: float  # 0 for none
    breast_y: float
    gas: float  # stomach bubble, 0 to 1
    gas_x: float
    bone_density: float  # falls with age; differs by group
    cortex: float  # share of a bone's density in its shell; rises as the inside thins with age
    vessel_contrast: float
    streaks: float  # fat between muscle fibres
    parenchyma: float  # share of soft tissue in healthy lung

    @cached_property
    def vessels(self) -> tuple[VesselTree, VesselTree]:
        """The pulmonary vessels of the right and the left lung, in this order (image left first)."""
        rng = np.random.default_rng([self.seed, 3])
        return grow_vessels(rng, hilum_height=0.53), grow_vessels(rng, hilum_height=0.49)

    @cached_property
    def textures(self) -> np.ndarray:
        """Soft-tissue streaks, fine interstitium and clouds, shape (3, T, T) over `TEXTURE_FIELD_CM`, each ~N(0, 1)."""
        rng = np.random.default_rng([self.seed, 4])
        noise = rng.standard_normal((3, TEXTURE_SIZE, TEXTURE_SIZE), dtype=np.float32)
        pixel_cm = TEXTURE_FIELD_CM / TEXTURE_SIZE
        layers = []
        for layer, scales in zip(
            noise, (((0.9, 0.45), (2.8, 1.0)), ((0.22, 0.8), (0.45, 0.6)), ((1.1, 0.8), (2.5, 0.7)))
        ):
            mixed = np.zeros_like(layer)
            for sigma_cm, weight in scales:
                blurred = cv2.GaussianBlur(layer, (0, 0), sigma_cm / pixel_cm)
                mixed += np.float32(weight / blurred.std()) * blurred
            layers.append(mixed / mixed.std())
        return np.stack(layers)


def draw_anatomy(seed: int, *, sex: str, age: float, group: int) -> Anatomy:
    """Draw a patient's body.

    Args:
        seed: the patient's identity; the same seed and arguments give the same body.
        sex: "F" or "M": breast shadows, size and shape of the chest.
        age: years: bone density, aortic unfolding, calcification.
        group: 0, 1 or 2: changes tissue contrast only, never shape.

    Raises:
        ConfigError: if sex, age or group is out of range.
    """
    _check_person(sex, age, group)
    rng = np.random.default_rng([int(seed), 1])
    uniform, normal, female = rng.uniform, rng.normal, sex == "F"
    mass = float(np.clip(normal(1.0, 0.13), 0.75, 1.42))
    size = (0.955 if female else 1.02) * float(np.clip(normal(1, 0.025), 0.94, 1.06))
    unfolding = float(np.clip((age - 32) / 45 + normal(0, 0.09), 0, 1.35))
    values = dict(  # noqa: C408 (keywords read better here)
        body_mass=mass,
        wall_cm=2.1 + 3.0 * max(mass - 0.78, 0.0) + uniform(0, 0.5),
        depth_cm=(20.5 if female else 22.0) * mass**0.55 * (1 + 0.05 * unfolding),
        lung_width_cm=14.0 * size * uniform(0.96, 1.05),
        lung_depth_cm=15.2 * size * (1 + 0.05 * unfolding),
        apex_y=-14.6 * size + normal(0, 0.35),
        base_y=4.6 + normal(0, 0.6),
        dome_y=7.9 * size + normal(0, 0.6) - 1.2 * (mass - 1),
        dome_step_cm=float(np.clip(normal(1.2, 0.3), 0.5, 1.9)),
        dome_height_cm=uniform(2.9, 4.1),
        dome_x=uniform(5.0, 6.6),
        heart_x=1.9 + normal(0, 0.25),
        heart_y=normal(4.3, 0.3) * size,
        heart_size=size * float(np.clip(normal(1, 0.035), 0.93, 1.07)) * (1 + 0.05 * (mass - 1)),
        heart_tilt=uniform(0.42, 0.68),
        knob_cm=1.35 * uniform(0.92, 1.08) * (1 + 0.42 * unfolding),
        unfolding=unfolding,
        calcification=float(np.clip((age - 48) / 38 + normal(0, 0.1), 0, 1.1)),
        mediastinum_cm=2.3 + 0.4 * mass + uniform(-0.15, 0.2),
        rib_pitch_cm=2.18 * size * uniform(0.97, 1.05),
        rib_drop_cm=uniform(0.85, 1.15),
        rib_radius_cm=uniform(0.53, 0.62) * size,
        clavicle_y=uniform(-11.9, -10.2),
        clavicle_rise_cm=uniform(0.7, 2.9),
        scapula_x=uniform(13.2, 15.2),
        scapula_turn=uniform(0.10, 0.35),
        spine_cm=uniform(1.55, 1.85) * size,
        scoliosis_cm=normal(0, 0.28),
        breast=uniform(0.55, 1.35) * mass if female else 0.0,
        breast_y=uniform(3.0, 5.4),
        gas=uniform(0, 1),
        gas_x=uniform(5.0, 8.0),
        bone_density=_BONE_OF_GROUP[group] * (1.20 - 0.0048 * (age - 20)) * float(np.exp(normal(0, 0.04))),
        cortex=float(np.clip(0.50 + 0.0045 * (age - 50) + normal(0, 0.02), 0.3, 0.75)),
        vessel_contrast=_VESSEL_OF_GROUP[group] * float(np.exp(normal(0, 0.04))),
        streaks=_STREAKS_OF_GROUP[group] * uniform(0.85, 1.15),
        parenchyma=0.20 + normal(0, 0.012),
    )
    return Anatomy(
        seed=int(seed), sex=sex, age=float(age), group=int(group), **{k: float(v) for k, v in values.items()}
    )


def _check_person(sex: str, age: float, group: int) -> None:
    if sex not in ("F", "M"):
        raise ConfigError("sex must be F or M", found=repr(sex))
    if not 0 < age <= 120:
        raise ConfigError("age must be in (0, 120] years", found=f"{age}")
    if group not in (0, 1, 2):
        raise ConfigError("group must be 0, 1 or 2", found=repr(group))
