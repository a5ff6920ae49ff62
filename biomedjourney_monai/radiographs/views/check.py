"""Check from the pixels that an image is an upright frontal chest film.

A small network looks at the square that the model sees, at 64 px. It learned from rendered films and from training
patients of ChestX-ray14 (scripts/train_view_check.py), and runs without torch. Where it is not sure, the image passes
with a doubt. PA and AP are not told apart.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs.scaling import letterbox

SIZE = 64
NETWORK_FILE = "network.npz"
"""Kernels (O, C, K, K) and biases of four convolutions with stride 2, and the head (6, 128)."""

REASONS = ("lateral", "inverted", "rotated", "mirrored", "not_a_chest")
CLASSES = ("", *REASONS)
"""Of the head's outputs; "" is an upright frontal chest."""

MAX_FAULT = 0.5
"""Least probability of all faults together for which an image is refused."""

MIN_DOUBT = 0.25
"""Least probability of all faults together that is a doubt."""

MAX_MIRRORED = 0.95
"""Least probability of the mirrored chest, among upright frontal chests and mirrored ones, to refuse it."""

_MIRRORED = CLASSES.index("mirrored")


@dataclass(frozen=True)
class ViewCheck:
    """The result of a view check.

    Attributes:
        reason: "" for an upright frontal chest, otherwise one of `REASONS`.
        probability: of an upright frontal chest, mirrored or not, in [0, 1].
        doubt: one of `REASONS` for an image that passes without certainty, otherwise "".
    """

    reason: str
    probability: float
    doubt: str = ""


def check_view(image: np.ndarray, *, mirror: bool = False, max_fault: float = MAX_FAULT) -> ViewCheck:
    """Say whether an image is an upright frontal chest film.

    Args:
        image: float in [0, 1], shape (H, W), bright is dense: the square that the model sees; another shape is
            letterboxed.
        mirror: also look for a mirrored chest. The error rate is in bundle/docs/results/README.md. One patient in ten
            thousand has the heart on the right, so a person must look at the image; nothing is corrected.
        max_fault: an image is refused from this probability of a fault on.

    Raises:
        ImageError: if the image is not 2-D or not finite.
    """
    if image.ndim != 2 or image.size == 0:
        raise ImageError("a radiograph must be a 2-D image with pixels", found=f"shape {image.shape}")
    if not np.isfinite(image).all():
        raise ImageError("an image must hold finite numbers", found="NaN or infinite pixels")
    chances = view_chances(image)
    upright = float(chances[0] + chances[_MIRRORED])
    faults = chances.copy()
    faults[[0, _MIRRORED]] = 0
    fault = CLASSES[int(faults.argmax())]
    if 1 - upright >= max_fault:
        return ViewCheck(fault, upright)
    if mirror and chances[_MIRRORED] >= MAX_MIRRORED * upright:
        return ViewCheck("mirrored", upright)
    return ViewCheck("", upright, fault if 1 - upright >= MIN_DOUBT else "")


def view_chances(image: np.ndarray) -> np.ndarray:
    """The probability of each of `CLASSES`, shape (6,), for an image, shape (H, W), in [0, 1]."""
    square, _ = letterbox(image, size=SIZE)
    maps = square[None] * 2 - 1  # (1, 64, 64)
    weights = _weights()
    for number in range(4):
        maps = np.maximum(_convolve(maps, weights[f"kernel{number}"], weights[f"bias{number}"]), 0)
    pooled = np.concatenate([maps.mean((1, 2)), maps.max((1, 2))])  # (128,)
    logits = weights["head"] @ pooled + weights["head_bias"]
    chances = np.exp(logits - logits.max())
    return np.asarray(chances / chances.sum())


def _convolve(maps: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Convolve (C, H, W) with stride 2 and zero padding: (O, H/2, W/2)."""
    size = kernel.shape[-1]
    rim = size // 2
    padded = np.pad(maps, ((0, 0), (rim, rim), (rim, rim)))
    windows = sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::2, ::2]  # (C, H/2, W/2, K, K)
    return np.tensordot(kernel, windows, axes=((1, 2, 3), (0, 3, 4))) + bias[:, None, None]


@lru_cache(maxsize=1)
def _weights() -> dict[str, np.ndarray]:
    path = resources.files("biomedjourney_monai.radiographs.views").joinpath(NETWORK_FILE)
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return {name: arrays[name].astype(np.float32) for name in arrays.files}
