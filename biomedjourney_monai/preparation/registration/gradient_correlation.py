"""The registration score: how well two images of one patient match."""

import cv2
import numpy as np

REFERENCE_SIZE = 256
"""The scales below were tuned on letterboxed images of this size; they are scaled with the image."""

SMOOTHING = 1.5
EROSION = 4


def gradient_correlation(fixed: np.ndarray, moved: np.ndarray, overlap: np.ndarray) -> float:
    """Mean normalised correlation of the images' horizontal and vertical derivatives.

    Of the usual scores this one separates best whether two frontal radiographs show the same patient, and it rejects
    laterals, inverted and rotated images; mutual information alone cannot detect an inversion.

    Args:
        fixed: shape (S, S), any scale.
        moved: the other image on the same grid.
        overlap: bool, where both have content; eroded here, so that borders do not count as edges.

    Returns:
        In [-1, 1]; 0 where nothing overlaps or an image is flat.
    """
    ratio = fixed.shape[0] / REFERENCE_SIZE
    inner = _erode(overlap, max(1, round(EROSION * ratio)))
    if not inner.any():
        return 0.0
    pairs = zip(_derivatives(fixed, SMOOTHING * ratio), _derivatives(moved, SMOOTHING * ratio))
    return float(np.mean([_correlation(a[inner], b[inner]) for a, b in pairs]))


def _derivatives(image: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    smooth = cv2.GaussianBlur(np.asarray(image, np.float32), (0, 0), sigma)
    return cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64) - a.mean(), b.astype(np.float64) - b.mean()
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm > 1e-12 else 0.0


def _erode(mask: np.ndarray, radius: int) -> np.ndarray:
    padded = np.pad(mask, radius).astype(np.uint8)  # the frame's edge is a border too
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return cv2.erode(padded, kernel)[radius:-radius, radius:-radius].astype(bool)
