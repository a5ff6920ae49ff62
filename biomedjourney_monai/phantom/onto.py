"""Rendered findings on real anatomy, and which findings a film gets: what it would look like with what it lacks.

The outlines of the lung fields and the heart place the renderer's chest on the film. The renderer's own findings then
change the thickness of tissue along each ray, and its physics turns that into a change of grey. Where nothing changes,
the film stays as it is.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from biomedjourney_monai.phantom.anatomy import Anatomy, draw_anatomy
from biomedjourney_monai.phantom.chest import DOME_RISE_CM, Lung, Visit
from biomedjourney_monai.phantom.findings import SIDES, FindingState
from biomedjourney_monai.phantom.mediastinum import HEART_SCALE
from biomedjourney_monai.phantom.pathology import LungContent, fill_lung
from biomedjourney_monai.phantom.physics import display_grey, draw_acquisition, line_integral, window_position
from biomedjourney_monai.phantom.raster import Axes, step
from biomedjourney_monai.phantom.render import textures_of
from biomedjourney_monai.schema import FINDINGS

LEFT_GROWTH, RIGHT_GROWTH = 1.25, 0.6
"""Of the heart's growth, toward the patient's left and right: it enlarges mostly to the left."""

WALL_CM = 0.8
"""Lung that stays between an enlarged heart and the chest wall."""


def move_structures(
    image: np.ndarray, axes: Axes, lungs: tuple[Lung, Lung], heart: np.ndarray, findings: FindingState
) -> np.ndarray:
    """Enlarge the heart and raise the diaphragm of a film; where nothing moves, pixels keep their values.

    Args:
        image: float32 in [0, 1], shape (S, S).
        axes: the film's patient centimetres.
        lungs: right, left.
        heart: bool outline, shape (S, S); without a heart nothing is enlarged.
        findings: of which cardiomegaly and atelectasis move structures.
    """
    across, down = np.zeros(image.shape, np.float32), np.zeros(image.shape, np.float32)
    if findings.cardiomegaly and heart.any():
        across = _heart_growth(axes, lungs, heart, HEART_SCALE[findings.cardiomegaly])
    for lung, severity in zip(lungs, (findings.atelectasis_right, findings.atelectasis_left)):
        if severity:
            down = down + _dome_rise(axes, lung, DOME_RISE_CM[severity], bottom=_bottom(image, axes))
    if not across.any() and not down.any():
        return image
    rows, columns = np.indices(image.shape, dtype=np.float32)
    moved = cv2.remap(
        image, columns + across / np.float32(axes.pixel_cm), rows + down / np.float32(axes.pixel_cm),
        cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.where((across != 0) | (down != 0), np.clip(moved, 0, 1), image)


def _heart_growth(axes: Axes, lungs: tuple[Lung, Lung], heart: np.ndarray, scale: float) -> np.ndarray:
    """Return how far right of each pixel its content comes from, in cm, shape (S, S)."""
    rows = np.flatnonzero(heart.any(axis=1))
    spans = np.array([axes.x[0, np.flatnonzero(heart[row])[[0, -1]]] for row in rows])
    centre = float(np.median(spans.mean(axis=1))) * 0.5
    dx = axes.x - np.float32(centre)
    y = axes.y[:, 0]
    base = min(float(axes.y[rows[-1], 0]), float(max(lung.dome.min() for lung in lungs)) + 2.0)
    strength = step((y - axes.y[rows[0], 0] + 0.5) / 1.8) * (1 - step((y - base - 0.5) / 1.5))
    source = np.zeros(heart.shape, np.float32)
    for side, growth, lung in ((1, LEFT_GROWTH, lungs[1]), (-1, RIGHT_GROWTH, lungs[0])):
        edge = np.interp(y, y[rows], np.maximum(side * (spans[:, 1 if side > 0 else 0] - centre), 0.5))
        edge = cv2.GaussianBlur(edge.astype(np.float32)[:, None], (0, 0), 0.6 / axes.pixel_cm)
        wall = np.maximum(lung.lateral - np.float32(side * centre), edge + 1.0)
        grown = edge * np.float32(1 + growth * (scale - 1))
        grown = np.maximum(np.minimum(grown, wall - WALL_CM), edge)
        grown = edge + (grown - edge) * strength[:, None].astype(np.float32)
        out = np.maximum(side * dx, 0)
        inside = out * edge / grown
        between = edge + (out - grown) * (wall - edge) / np.maximum(wall - grown, 0.1)
        content = np.where(out <= grown, inside, np.where(out < wall, between, out))
        source += np.float32(side) * (content - out)
    return source


def _bottom(image: np.ndarray, axes: Axes) -> float:
    """Return y of the last row that is not black, less a margin."""
    rows = np.flatnonzero((image > 0.04).mean(axis=1) > 0.2)
    return float(axes.y[rows[-1] if len(rows) else -1, 0]) - 2 * axes.pixel_cm


def _dome_rise(axes: Axes, lung: Lung, rise_cm: float, *, bottom: float) -> np.ndarray:
    """Return how far below each pixel its content comes from, in cm, shape (S, S); nothing moves at the bottom."""
    top = float(lung.top.min())
    above = np.clip((axes.y - top) / np.maximum(lung.dome - rise_cm - top, 1.0), 0, 1)
    reach = np.minimum(3 * rise_cm + 4, np.maximum(bottom - lung.dome + rise_cm, 0.1))
    below = 1 - np.clip((axes.y - (lung.dome - rise_cm)) / reach, 0, 1)
    beside = step((lung.u - 1.5) / 1.5) * (1 - step((lung.u - lung.lateral + 2.0) / 2.5))
    rise = np.float32(rise_cm) * beside * above**2 * below
    rise[rise < 0.01] = 0
    return rise


HALF_WIDTH_CM, HEIGHT_CM, MIDDLE_Y = 14.0, 21.5, -3.6
"""Of the lungs of the renderer's average chest, to which a film's are scaled: its findings are in centimetres."""

LEAST_CONTRAST = 0.25
"""Of the display window, between lung and soft tissue; a film with less is treated as if it had this."""

BEHIND_HEART = 0.14
"""Share of the lung's thickness that the heart leaves, as in the renderer."""

HEADROOM = 0.08
"""Of the display window: how far a finding may rise above the film's soft tissue, which is as dense as fluid."""

TEXTURES = 24
"""Different textures of edema among all films; drawing one takes longer than all the rest."""

VESSELS_OF_DETAIL = 0.6
"""Share of a film's fine structure that are vessels; ribs are the rest, and stay."""


@dataclass(frozen=True)
class FilmChest:
    """The chest of one film.

    Attributes:
        visit: axes in patient centimetres, and the seeds of texture and place.
        lungs: right, left.
        fields: antialiased outlines of the lungs, right and left, shape (2, S, S), 0 to 1.
        room_cm: thickness of lung along the beam, right and left, shape (2, S, S).
        heart: outline of the heart, bool, shape (S, S); may be empty.
        contrast: change of window position per unit of attenuation.
        dense: window position of soft tissue without lung.
    """

    visit: Visit
    lungs: tuple[Lung, Lung]
    fields: np.ndarray
    room_cm: np.ndarray
    heart: np.ndarray
    contrast: float
    dense: float


def place_chest(image: np.ndarray, outlines: np.ndarray, *, seed: int, age: float = 60.0) -> FilmChest:
    """Place the renderer's chest on a film.

    Args:
        image: float32 in [0, 1], shape (S, S), bright is dense.
        outlines: bool, shape (3, S, S): the patient's left lung field (image right), the right one, the heart.
        seed: of texture and of what a finding leaves to chance.
        age: years.

    Raises:
        ValueError: if a lung field is empty, or the left one does not lie right of the right one.
    """
    left, right, heart = (np.asarray(outline, bool) for outline in outlines)
    if not left.any() or not right.any():
        raise ValueError("both lung fields must be outlined; found an empty one.")
    axes = _axes(left, right)
    anatomy = draw_anatomy(seed, sex="M", age=float(np.clip(age, 18, 100)), group=0)
    acquisition = replace(draw_acquisition(seed), inspiration=0.0, turn=0.0)
    visit = Visit(anatomy, acquisition, FindingState(), axes)
    fields = np.stack([cv2.GaussianBlur(side.astype(np.float32), (0, 0), 0.8) for side in (right, left)])
    lungs = (_lung(visit, right, fields[0], -1), _lung(visit, left, fields[1], 1))
    solid = np.float32(9.5) * np.sqrt(cv2.GaussianBlur(heart.astype(np.float32), (0, 0), 0.5 / axes.pixel_cm))
    room = np.stack([np.maximum(lung.thickness - solid, BEHIND_HEART * lung.thickness) for lung in lungs])
    contrast, dense = _contrast(image, left | right, heart, room.sum(axis=0))
    return FilmChest(visit, lungs, fields, room, heart, contrast, dense)


def add_findings(image: np.ndarray, chest: FilmChest, findings: FindingState) -> np.ndarray:
    """Add findings to a film.

    Args:
        image: the film of `place_chest`.
        findings: by which the result differs from the film.

    Returns:
        float32 in [0, 1], same shape.
    """
    visit = replace(chest.visit, findings=findings)
    textures = textures_of(replace(visit, anatomy=_textured(visit.anatomy.seed % TEXTURES)))
    change = np.zeros(image.shape, np.float32)
    kept = np.ones(image.shape, np.float32)
    for lung, field, room in zip(chest.lungs, chest.fields, chest.room_cm):
        before, after = fill_lung(chest.visit, lung, textures), fill_lung(visit, lung, textures)
        change += room * (_share(after) - _share(before)) + (after.added_cm - before.added_cm) * field
        kept -= field * (1 - after.vessels)
    position = window_position(image)
    fine = position - cv2.GaussianBlur(position, (0, 0), 0.45 / visit.axes.pixel_cm)
    lost = (1 - np.clip(kept, 0, 1)) * np.float32(VESSELS_OF_DETAIL) * fine
    hardness = chest.visit.acquisition.hardness
    attenuation = np.sign(change) * line_integral(np.abs(change), np.float32(0), hardness=hardness)
    moved = position - lost + _limited(np.float32(chest.contrast) * attenuation, chest.dense + HEADROOM - position)
    shown = np.clip(image + (display_grey(moved) - display_grey(position)), 0, 1)
    return move_structures(shown, visit.axes, chest.lungs, chest.heart, findings)


def _limited(change: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Hold a rise of the window position below a limit, smoothly; a fall stays as it is."""
    room, rise = np.maximum(room, np.float32(0.01)), np.maximum(change, 0)
    return np.minimum(change, 0) + rise * room / (rise**4 + room**4) ** 0.25


@lru_cache(maxsize=TEXTURES)
def _textured(seed: int) -> Anatomy:
    """An anatomy whose textures are drawn once for many films."""
    return draw_anatomy(seed, sex="M", age=60.0, group=0)


def _share(content: LungContent) -> np.ndarray:
    """Soft tissue and fluid as a share of the lung's thickness."""
    return 1 - (1 - np.clip(content.soft_share, 0.0, 0.97)) * (1 - content.fluid)


def _axes(left: np.ndarray, right: np.ndarray) -> Axes:
    """Lay patient centimetres over a film by the size and the place of its lungs."""
    columns_right, columns_left = (np.flatnonzero(side.any(axis=0)) for side in (right, left))
    if columns_right.mean() >= columns_left.mean():
        raise ValueError("the patient's left lung must be at image right; found it at image left.")
    medial = [np.array([np.flatnonzero(row)[[0, -1]] for row in side[side.any(axis=1)]]) for side in (right, left)]
    middle = (np.median(medial[0][:, 1]) + np.median(medial[1][:, 0])) / 2
    half = max(middle - columns_right[0], columns_left[-1] - middle)
    top, bottom = [], []
    for side in (right, left):
        columns = np.flatnonzero(side.any(axis=0))
        inner = side[:, columns[len(columns) // 4 : max(3 * len(columns) // 4, len(columns) // 4 + 1)]]
        rows = np.flatnonzero(side.any(axis=1))
        top.append(rows[0])
        bottom.append(np.median(inner.shape[0] - 1 - np.argmax(inner[::-1], axis=0)))
    pixel_cm = 0.5 * (HALF_WIDTH_CM / half + HEIGHT_CM / max(np.mean(bottom) - np.mean(top), 8))
    centre = (np.mean(bottom) + np.mean(top)) / 2
    x = ((np.arange(left.shape[1]) - middle) * pixel_cm).astype(np.float32)[None]
    y = ((np.arange(left.shape[0]) - centre) * pixel_cm + MIDDLE_Y).astype(np.float32)[:, None]
    return Axes(x, y, float(pixel_cm))


def _lung(visit: Visit, outline: np.ndarray, field: np.ndarray, side: int) -> Lung:
    """Measure one lung of a film; side is -1 for the patient's right."""
    axes = visit.axes
    u = axes.x * np.float32(side)
    rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
    far = np.array([u[0, outline[row]].max() for row in rows]) + 0.5 * axes.pixel_cm
    near = np.array([u[0, outline[row]].min() for row in rows]) - 0.5 * axes.pixel_cm
    high = np.array([axes.y[outline[:, column], 0].min() for column in columns]) - 0.5 * axes.pixel_cm
    low = np.array([axes.y[outline[:, column], 0].max() for column in columns]) + 0.5 * axes.pixel_cm
    lateral = _continued(far, rows, len(outline), 0.5 / axes.pixel_cm)[:, None]
    medial = _continued(near, rows, len(outline), 0.5 / axes.pixel_cm)[:, None]
    top = _continued(high, columns, len(outline), 0.3 / axes.pixel_cm)[None]
    dome = _continued(low, columns, len(outline), 0.3 / axes.pixel_cm)[None]
    across = (u - medial) / np.maximum(lateral - medial, 0.1)
    height = (axes.y - top.min()) / np.maximum(dome - top.min(), 1)
    up = np.clip(1 - height * 1.15, 0, 1)
    depth = np.float32(15.2) * np.sqrt(np.maximum(1 - up**2.4, 0))
    profile = np.sqrt(np.maximum(1 - np.abs(2 * np.clip(across, 0, 1) - 1) ** 3, 0))
    thickness = (depth * profile * field).astype(np.float32)
    angle = float(axes.y[outline[:, columns[-3:] if side > 0 else columns[:3]].any(axis=1), 0].max())
    chamber = field
    return Lung(side, u, lateral, medial, top, dome, across, height, field, chamber, thickness, angle)


def _continued(values: np.ndarray, places: np.ndarray, count: int, sigma: float) -> np.ndarray:
    """Interpolate values at places over all pixels, smoothed; the ends continue."""
    full = np.interp(np.arange(count), places, values).astype(np.float32)
    return cv2.GaussianBlur(full[None], (0, 0), max(sigma, 0.3), borderType=cv2.BORDER_REPLICATE)[0]


def _contrast(image: np.ndarray, lungs: np.ndarray, heart: np.ndarray, room_cm: np.ndarray) -> tuple[float, float]:
    """Return the change of window position per unit of attenuation, and the position of soft tissue."""
    position = window_position(image)
    aerated = lungs & ~heart & (room_cm > 0.5 * room_cm.max())
    rows = np.flatnonzero(lungs.any(axis=1))
    below = np.zeros(lungs.shape, bool)
    depth = max(len(rows) // 8, 2)
    for rise in range(2, 2 + depth):
        below[rise:] |= lungs[:-rise]
    dense = (heart & ~_grown(aerated)) | (below & ~_grown(lungs) & (np.arange(len(lungs))[:, None] > rows.mean()))
    dark = float(np.median(position[aerated]))
    bright = max(float(np.median(position[dense])) if dense.any() else dark, dark + LEAST_CONTRAST)
    air = float(line_integral(np.float32(0.8) * room_cm[aerated], np.float32(0), hardness=1.0).mean())
    return (bright - dark) / air, bright


def _grown(outline: np.ndarray) -> np.ndarray:
    return cv2.dilate(outline.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


SIDED = ("Atelectasis", "Pleural Effusion", "Pneumothorax")
KINDS = {"new": 0.34, "resolved": 0.28, "graded": 0.20, "same": 0.18}
"""Kinds of a case and their chances: a finding appears, goes, changes its severity, or nothing changes."""

FINDING_CHANCES = {
    "Atelectasis": 0.18,
    "Cardiomegaly": 0.15,
    "Edema": 0.13,
    "Pleural Effusion": 0.30,
    "Pneumothorax": 0.24,
}
BOTH_SIDES, COMPANION, CLEAR = 0.15, 0.20, 0.5
"""Chances that a finding has both sides, that an unchanged second one is rendered, and that "same" shows none."""


@dataclass(frozen=True)
class OntoCase:
    """One journey on one film: the kind, the finding that changes ("" for none), and what is rendered at both times."""

    kind: str
    finding: str
    prior: FindingState
    new: FindingState


def draw_case(rng: np.random.Generator, free: Collection[str]) -> OntoCase:
    """Draw a case for a film.

    Args:
        rng: the same state gives the same case.
        free: the findings of `schema.FINDINGS` that the film does not show; at least one.

    Raises:
        ValueError: if there is none.
    """
    names = [name for name in FINDINGS if name in free]
    if not names:
        raise ValueError("a case needs a finding that the film does not show; found none.")
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if kind == "same" and rng.random() < CLEAR:
        return OntoCase(kind, "", FindingState(), FindingState())
    finding = _draw_finding(rng, names)
    base = FindingState()
    if rng.random() < COMPANION and (others := [name for name in names if not _collide(name, finding)]):
        companion = _draw_finding(rng, others)
        base = _with(base, companion, _draw_sides(rng, companion), int(rng.integers(1, 4)))
    sides, severity = _draw_sides(rng, finding), int(rng.integers(1, 4))
    shown = _with(base, finding, sides, severity)
    if kind == "new":
        return OntoCase(kind, finding, base, shown)
    if kind == "resolved":
        return OntoCase(kind, finding, shown, base)
    if kind == "same":
        return OntoCase(kind, finding, shown, shown)
    other = int(rng.choice([level for level in (1, 2, 3) if level != severity]))
    return OntoCase("worse" if other > severity else "better", finding, shown, _with(base, finding, sides, other))


def _draw_finding(rng: np.random.Generator, names: list[str]) -> str:
    chances = np.array([FINDING_CHANCES[name] for name in names])
    return str(rng.choice(names, p=chances / chances.sum()))


def _draw_sides(rng: np.random.Generator, finding: str) -> tuple[str, ...]:
    if finding not in SIDED:
        return ("",)
    if finding != "Pneumothorax" and rng.random() < BOTH_SIDES:
        return SIDES
    return (SIDES[int(rng.integers(2))],)


def _collide(one: str, other: str) -> bool:
    """Fluid and free air of one side would fill the same place."""
    return one == other or {one, other} == {"Pleural Effusion", "Pneumothorax"}


def _with(state: FindingState, finding: str, sides: tuple[str, ...], severity: int) -> FindingState:
    for side in sides:
        state = state.with_severity(finding, side, severity)
    return state
