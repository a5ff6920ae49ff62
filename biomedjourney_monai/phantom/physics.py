"""The acquisition of one radiograph: its geometry, and the conversion of thickness to grey values."""

from dataclasses import dataclass

import cv2
import numpy as np

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.phantom.raster import HALF_FIELD_CM, Axes, make_axes

VIEW_POSITIONS = ("PA", "AP", "LATERAL")

SOFT_PER_CM = 0.165
BONE_PER_CM = 0.36
"""Effective attenuation of soft tissue and of bone in addition to the soft tissue it replaces, per cm, near 110 kV."""


@dataclass(frozen=True)
class Acquisition:
    """Geometry, exposure and processing of one radiograph, which also determine its noise."""

    seed: int
    view_position: str
    rotation_degrees: float  # in the image plane
    turn: float  # about the long axis: sine of the angle; positive shifts the front to image right
    shift_x_cm: float
    shift_y_cm: float
    magnification: float
    inspiration: float  # -1.6 poor to 1.2 deep
    hardness: float  # relative beam energy: 1 is usual, more flattens bone
    gamma: float
    window_low: float  # percentiles of the healthy chest that the display window spans
    window_high: float
    photons: float  # per cm² behind no tissue
    scatter: float  # share of the signal
    blur_cm: float  # focal spot and detector
    detail: float  # strength of the local contrast that the detector's maker adds
    collimation: tuple[float, float, float, float]  # shares of the frame: top, bottom, left, right
    marker: str  # "L", "R" (each on its side) or ""
    marker_x: float  # share of the frame from its own border
    marker_y: float
    noise_seed: int


def draw_acquisition(seed: int, *, view_position: str = "PA") -> Acquisition:
    """Draw the acquisition of a visit's radiograph.

    Args:
        seed: the same seed and view position give the same acquisition.
        view_position: "PA", "AP" (portable: more magnified, shallower breath) or "LATERAL".

    Raises:
        ConfigError: if the view position is unknown.
    """
    if view_position not in VIEW_POSITIONS:
        raise ConfigError("view_position must be PA, AP or LATERAL", found=repr(view_position))
    rng = np.random.default_rng([int(seed), 2])
    normal, uniform = rng.normal, rng.uniform
    portable = view_position == "AP"
    top, bottom, left, right = (float(share) for share in uniform(0, 0.03, 4) * (rng.random(4) < 0.25))
    return Acquisition(
        seed=int(seed),
        view_position=view_position,
        rotation_degrees=float(np.clip(normal(0, 1.1), -3, 3)) * (1.8 if portable else 1),
        turn=float(np.clip(normal(0, 0.022), -0.06, 0.06)) * (1.8 if portable else 1),
        shift_x_cm=float(np.clip(normal(0, 0.40), -1.2, 1.2)),
        shift_y_cm=float(np.clip(normal(0.1, 0.45), -1.3, 1.3)),
        magnification=float(np.clip(normal(1.0, 0.02), 0.95, 1.06))
        * {"PA": 1.0, "AP": 1.05, "LATERAL": 1.12}[view_position],
        inspiration=float(np.clip(normal(0, 0.5), -1.2, 1.2)) - (0.9 if portable else 0),
        hardness=float(np.clip(normal(1, 0.035), 0.9, 1.1)),
        gamma=float(np.exp(np.clip(normal(0, 0.06), -0.14, 0.14))),
        window_low=float(uniform(1.5, 4.0)),
        window_high=float(uniform(96.5, 99.5)),
        photons=float(uniform(1e6, 4e6)) * (0.6 if portable else 1),
        scatter=float(uniform(0.10, 0.22)) + (0.08 if portable else 0),
        blur_cm=float(uniform(0.03, 0.07)) + (0.03 if portable else 0),
        detail=float(uniform(0.25, 0.6)),
        collimation=(top, bottom, left, right),
        marker="" if (draw := rng.random()) > 0.8 else ("L" if draw < 0.6 else "R"),
        marker_x=float(uniform(0.035, 0.10)),
        marker_y=float(uniform(0.03, 0.12)),
        noise_seed=int(rng.integers(1 << 31)),
    )


def axes_of(acquisition: Acquisition, size: int, *, chest_cm: float) -> Axes:
    """Return the pixel grid in patient centimetres, before in-plane rotation.

    The field is opened as far as `chest_cm` needs, half the width of the lungs.
    """
    return make_axes(
        size,
        magnification=acquisition.magnification * (14.3 / chest_cm) ** 0.75,
        shift_x_cm=acquisition.shift_x_cm,
        shift_y_cm=acquisition.shift_y_cm,
    )


def rotate(image: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate an image about its centre, with border pixels continued outward; shape (S, S)."""
    centre = (image.shape[0] - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), -degrees, 1.0)
    shape = image.shape[::-1]
    return cv2.warpAffine(image, matrix, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def line_integral(soft_cm: np.ndarray, bone_cm: np.ndarray | np.float32, *, hardness: float) -> np.ndarray:
    """Return -log of the transmitted share (Beer–Lambert) from thicknesses along the beam, same shape."""
    soft = np.float32(SOFT_PER_CM / hardness)
    bone = np.float32(BONE_PER_CM / hardness**2)
    return soft * np.maximum(soft_cm, 0) + bone * bone_cm


def detect(integral: np.ndarray, acquisition: Acquisition) -> np.ndarray:
    """Add scatter, blur and quantum noise; return -log of the detected share, shape (S, S)."""
    size = integral.shape[0]
    primary = np.exp(-integral)
    reduced = max(size // 8, 8)
    glow = cv2.resize(primary, (reduced, reduced), interpolation=cv2.INTER_AREA)
    glow = cv2.resize(cv2.GaussianBlur(glow, (0, 0), reduced * 0.055), (size, size), interpolation=cv2.INTER_LINEAR)
    share = np.float32(acquisition.scatter)
    signal = primary * (1 - share) + glow * share
    sigma_px = acquisition.blur_cm * size / (2 * HALF_FIELD_CM)
    if sigma_px > 0.15:
        signal = cv2.GaussianBlur(signal, (0, 0), sigma_px)
    photons = np.float32(acquisition.photons * (2 * HALF_FIELD_CM / size) ** 2)
    rng = np.random.default_rng(acquisition.noise_seed)
    noise = rng.standard_normal((size, size), dtype=np.float32)
    signal = signal + np.sqrt(signal / photons) * noise
    return -np.log(np.maximum(signal, np.float32(1e-4)))


def develop(detected: np.ndarray, acquisition: Acquisition, *, low: float, high: float) -> np.ndarray:
    """Convert detected attenuation to display grey, as a radiography system does.

    Args:
        detected: -log of the detected share, shape (S, S).
        low, high: attenuation at the dark end (healthy lung) and at the bright end (abdomen) of the window.

    Returns:
        Grey in [0, 1], shape (S, S), float32; bright is dense.
    """
    size = detected.shape[0]
    grey = (detected - np.float32(low)) * np.float32(1 / (high - low))
    reduced = max(size // 4, 8)
    coarse = cv2.resize(np.clip(grey, -0.3, 1.2), (reduced, reduced), interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), reduced * 0.045)
    grey = grey + np.float32(acquisition.detail) * (grey - cv2.resize(coarse, (size, size)))
    index = (grey - np.float32(_TABLE_LOW)) * np.float32((_TABLE_SIZE - 1) / (_TABLE_HIGH - _TABLE_LOW))
    return _film_table(acquisition.gamma)[1][np.clip(index, 0, _TABLE_SIZE - 1).astype(np.int32)]


_TABLE_LOW, _TABLE_HIGH, _TABLE_SIZE = -1.0, 2.0, 8192


def _film_table(gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Window positions and their grey, each shape (8192,)."""
    z = np.linspace(_TABLE_LOW, _TABLE_HIGH, _TABLE_SIZE)
    toe = 0.15 * np.exp(np.minimum(z, 0) / 0.2)
    body = 0.15 + 0.71 * np.clip(z, 0, None) ** gamma
    curve = np.where(z < 0, toe, body)
    curve = np.where(curve > 0.74, 0.74 + 0.25 * np.tanh((curve - 0.74) / 0.25), curve)
    return z, np.clip(curve, 0, 1).astype(np.float32)


def window_position(grey: np.ndarray) -> np.ndarray:
    """Invert the film curve of gamma 1: display grey in [0, 1] to window position, 0 dark to 1 bright, same shape."""
    z, curve = _film_table(1.0)
    return np.interp(np.clip(grey, 0.02, 0.985), curve, z).astype(np.float32)


def display_grey(position: np.ndarray) -> np.ndarray:
    """Map window position to display grey by the film curve of gamma 1; inverts `window_position`."""
    z, curve = _film_table(1.0)
    return np.interp(position, z, curve).astype(np.float32)


def finish(image: np.ndarray, acquisition: Acquisition) -> np.ndarray:
    """Draw the side marker and the collimator onto an image; returns the same array."""
    size = image.shape[0]
    if acquisition.marker:
        _stamp_marker(image, acquisition)
    top, bottom, left, right = (round(share * size) for share in acquisition.collimation)
    image[:top] = 0
    image[size - bottom :] = 0
    image[:, :left] = 0
    image[:, size - right :] = 0
    return image


def marker_box(acquisition: Acquisition, size: int) -> tuple[slice, slice]:
    """Return (rows, columns) of the side marker: L at image right, R at image left."""
    side = max(round(0.055 * size), 7)
    margin = round((acquisition.marker_x + 0.03) * size)
    column = size - margin - side if acquisition.marker == "L" else margin
    row = round((acquisition.marker_y + 0.03) * size)
    return slice(row, row + side), slice(column, column + side)


def _stamp_marker(image: np.ndarray, acquisition: Acquisition) -> None:
    rows, columns = marker_box(acquisition, image.shape[0])
    side = rows.stop - rows.start
    stamp = np.zeros((side * 4, side * 4), np.uint8)
    scale = side * 4 / 26
    cv2.putText(
        stamp, acquisition.marker, (int(side * 0.6), int(side * 3.6)), cv2.FONT_HERSHEY_SIMPLEX, scale, 255,
        max(round(side * 0.45), 1), cv2.LINE_AA,
    )  # fmt: skip
    lead = cv2.resize(stamp, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    image[rows, columns] += lead * (np.float32(0.97) - image[rows, columns])
