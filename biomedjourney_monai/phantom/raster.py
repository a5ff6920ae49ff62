"""From centimetres to pixels: the axes of a view, soft steps, and tubes drawn by splatting their centre lines."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

HALF_FIELD_CM = 18.6
"""Half the side of the square detector field at magnification 1."""


@dataclass(frozen=True)
class Axes:
    """The pixel grid of a view in patient centimetres, before in-plane rotation.

    Attributes:
        x: shape (1, S), grows to image right.
        y: shape (S, 1), grows downward.
        pixel_cm: side of a pixel in the patient.
    """

    x: np.ndarray
    y: np.ndarray
    pixel_cm: float

    @property
    def size(self) -> int:
        """Pixels per side."""
        return self.x.shape[1]

    def columns(self, x: np.ndarray) -> np.ndarray:
        """Return pixel columns of positions x in cm."""
        return (x - self.x[0, 0]) / np.float32(self.pixel_cm)

    def rows(self, y: np.ndarray) -> np.ndarray:
        """Return pixel rows of positions y in cm."""
        return (y - self.y[0, 0]) / np.float32(self.pixel_cm)

    def box(self, left: float, right: float, top: float, bottom: float) -> tuple[slice, slice]:
        """Return the (rows, columns) slices that cover a box in cm; they are empty outside the view."""
        c = np.clip(np.array([(left - self.x[0, 0]), (right - self.x[0, 0])]) / self.pixel_cm, -1, self.size)
        r = np.clip(np.array([(top - self.y[0, 0]), (bottom - self.y[0, 0])]) / self.pixel_cm, -1, self.size)
        return (
            slice(max(int(np.floor(r[0])), 0), max(int(np.ceil(r[1])) + 1, 0)),
            slice(max(int(np.floor(c[0])), 0), max(int(np.ceil(c[1])) + 1, 0)),
        )


def make_axes(size: int, *, magnification: float, shift_x_cm: float, shift_y_cm: float) -> Axes:
    """Lay the pixel grid over the patient."""
    positions = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1) * HALF_FIELD_CM
    x = ((positions - shift_x_cm) / magnification).astype(np.float32)[None, :]
    y = ((positions - shift_y_cm) / magnification).astype(np.float32)[:, None]
    return Axes(x, y, 2 * HALF_FIELD_CM / size / magnification)


def step(z: np.ndarray) -> np.ndarray:
    """Rise smoothly from 0 at z = -1 to 1 at z = 1."""
    t = np.minimum(np.maximum(z * np.float32(0.5) + np.float32(0.5), 0), 1)
    return t * t * (3 - 2 * t)


def chord(squared: np.ndarray) -> np.ndarray:
    """Return sqrt(1 - squared) where positive, else 0: the relative thickness of an ellipsoid."""
    return np.sqrt(np.maximum(1 - squared, 0))


def bell(z: np.ndarray) -> np.ndarray:
    """Return exp(-z²), in float32."""
    return np.exp(-np.square(z, dtype=np.float32))


def scatter_points(axes: Axes, x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Spread weighted points over their four nearest pixels; shape (S, S), points outside are dropped."""
    n = axes.size
    column, row = axes.columns(x), axes.rows(y)
    inside = (column > 0) & (column < n - 1.001) & (row > 0) & (row < n - 1.001)
    column, row, weight = column[inside], row[inside], weight[inside]
    c, r = column.astype(np.int32), row.astype(np.int32)
    fc, fr = column - c, row - r
    first = r * n + c
    image = np.bincount(
        np.concatenate([first, first + 1, first + n, first + n + 1]),
        np.concatenate([(1 - fc) * (1 - fr), fc * (1 - fr), (1 - fc) * fr, fc * fr]) * np.tile(weight, 4),
        n * n,
    )
    return image.astype(np.float32).reshape(n, n)


@lru_cache(maxsize=512)
def _disc(radius_hundredths: int) -> np.ndarray:
    """An antialiased disc of a radius in 1/100 pixels, with sum 1."""
    radius = radius_hundredths / 100
    half = int(np.ceil(radius + 0.5))
    fine = (np.arange((2 * half + 1) * 7, dtype=np.float32) + 0.5) / 7 - half - 0.5
    disc = (fine[None, :] ** 2 + fine[:, None] ** 2 <= max(radius, 0.3) ** 2).astype(np.float32)
    disc = disc.reshape(2 * half + 1, 7, 2 * half + 1, 7).mean(axis=(1, 3))
    return disc / disc.sum()


def draw_tubes(
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    length_cm: np.ndarray,
    *,
    radius_cm: float,
    hollow: float = 0.0,
    hollow_radius: float = 0.7,
) -> np.ndarray:
    """Return the thickness of tubes along the beam, from points on their centre lines.

    A line spread by a disc has the profile of a cylinder, so one convolution draws every tube of a radius at once.

    Args:
        x, y: the points in cm, shape (P,).
        length_cm: the length that a point represents, times any weight, shape (P,).
        radius_cm: of all these tubes.
        hollow: share of the material missing in the core, 0 to 1.
        hollow_radius: radius of the core as a share of `radius_cm`.

    Returns:
        Thickness in cm, shape (S, S), float32.
    """
    lines = scatter_points(axes, x, y, length_cm)
    area = np.pi * radius_cm**2 / axes.pixel_cm**2
    radius_px = radius_cm / axes.pixel_cm
    kernel: np.ndarray = _disc(round(radius_px * 100)) * np.float32(area)
    if hollow:
        core = _disc(round(radius_px * hollow_radius * 100))
        pad = (kernel.shape[0] - core.shape[0]) // 2
        kernel = kernel - np.pad(core, pad) * np.float32(area * hollow_radius**2 * hollow)
    return cv2.filter2D(lines, -1, kernel, borderType=cv2.BORDER_CONSTANT)


def draw_polyline(points: np.ndarray, step_cm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sample a polyline evenly.

    Args:
        points: corners in cm, shape (P, 2).

    Returns:
        x, y and the length that each sample represents, each shape (Q,), float32.
    """
    points = np.asarray(points, dtype=np.float32)
    lengths = np.hypot(*np.diff(points, axis=0).T)
    reached = np.concatenate([[0], np.cumsum(lengths)])
    count = max(int(reached[-1] / step_cm), 2)
    at = (np.arange(count) + 0.5) / count * reached[-1]
    x = np.interp(at, reached, points[:, 0]).astype(np.float32)
    y = np.interp(at, reached, points[:, 1]).astype(np.float32)
    return x, y, np.full(count, reached[-1] / count, dtype=np.float32)


def smooth_curve(points: list[tuple[float, float]], count: int = 40) -> np.ndarray:
    """Round a polyline's corners (Catmull-Rom); return shape (count, 2)."""
    p = np.asarray(points, dtype=np.float32)
    p = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    t = np.linspace(0, len(p) - 3 - 1e-4, count, dtype=np.float32)
    i = t.astype(int)
    f = (t - i)[:, None]
    a, b, c, d = p[i], p[i + 1], p[i + 2], p[i + 3]
    return 0.5 * (2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3)


def fill_polygon(axes: Axes, points: np.ndarray) -> np.ndarray:
    """Return the antialiased inside of a polygon in cm, shape (S, S), values 0 to 1."""
    canvas = np.zeros((axes.size, axes.size), np.uint8)
    pixels = np.stack([axes.columns(points[:, 0]), axes.rows(points[:, 1])], axis=1)
    cv2.fillPoly(canvas, [np.round(pixels * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
    return canvas.astype(np.float32) / np.float32(255)
