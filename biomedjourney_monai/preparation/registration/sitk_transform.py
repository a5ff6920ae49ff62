"""SimpleITK's 2D transforms: make them, move an image by them, measure their motion, and store them as numbers."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.files import written_atomically

_MAKERS: Mapping[str, Callable[[], sitk.Transform]] = {
    "Similarity2DTransform": sitk.Similarity2DTransform,
    "Euler2DTransform": sitk.Euler2DTransform,
    "AffineTransform": partial(sitk.AffineTransform, 2),
    "BSplineTransform": partial(sitk.BSplineTransform, 2),
}
_LINEAR = {"similarity": "Similarity2DTransform", "rigid": "Euler2DTransform", "affine": "AffineTransform"}


def make_linear(transform: str) -> sitk.Transform:
    """Make an identity transform of a kind: "similarity", "rigid" or "affine"."""
    return _MAKERS[_LINEAR[transform]]()


def to_image(array: np.ndarray) -> sitk.Image:
    """Convert an array of shape (H, W) to a float image with spacing 1."""
    return sitk.GetImageFromArray(np.ascontiguousarray(array, np.float32))


def resample(array: np.ndarray, transform: sitk.Transform) -> np.ndarray:
    """Move an image of shape (S, S) by a transform from output points to input points, in pixels.

    Returns:
        float32 on the same grid, interpolated linearly, 0 outside.
    """
    moving = to_image(array)
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(moving)
    resampler.SetTransform(transform)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetDefaultPixelValue(0.0)
    resampler.SetNumberOfThreads(1)
    return sitk.GetArrayFromImage(resampler.Execute(moving))


def measure_motion(transform: sitk.Transform, size: int) -> dict[str, Any]:
    """Measure how an image of side `size` moves: the inverse of the transform from the prior's points to the new's.

    Of a composite transform only the first, linear part is measured.

    Returns:
        `scale`, `rotation_degrees`, `shift_x_px`, `shift_y_px` and `stretch`, as in `Registration`.
    """
    linear = transform.GetNthTransform(0) if isinstance(transform, sitk.CompositeTransform) else transform
    centre = np.full(2, (size - 1) / 2)
    origin = np.array(linear.TransformPoint((0.0, 0.0)))
    matrix = np.stack([np.array(linear.TransformPoint(unit)) - origin for unit in ((1.0, 0.0), (0.0, 1.0))], axis=1)
    inverse = np.linalg.inv(matrix)
    u, stretch, vt = np.linalg.svd(inverse)
    rotation = u @ vt
    shift = inverse @ (centre - origin) - centre
    return {
        "scale": float(np.sqrt(abs(np.linalg.det(inverse)))),
        "rotation_degrees": float(np.degrees(np.arctan2(rotation[1, 0], rotation[0, 0]))),
        "shift_x_px": float(shift[0]),
        "shift_y_px": float(shift[1]),
        "stretch": (float(stretch[1]), float(stretch[0])),
    }


def record_transform(transform: sitk.Transform) -> list[dict[str, Any]]:
    """Describe a transform as JSON content: kind, parameters and fixed parameters of each of its parts, in order."""
    parts = [transform]
    if isinstance(transform, sitk.CompositeTransform):
        parts = [transform.GetNthTransform(place).Downcast() for place in range(transform.GetNumberOfTransforms())]
    return [
        {"kind": part.GetName(), "parameters": part.GetParameters(), "fixed": part.GetFixedParameters()}
        for part in parts
    ]


def rebuild_transform(record: Sequence[Mapping[str, Any]]) -> sitk.Transform:
    """Rebuild the transform that `record_transform` described; a ValueError names an unknown kind."""
    parts = []
    for row in record:
        if row["kind"] not in _MAKERS:
            raise ValueError(f"kind must be one of {', '.join(_MAKERS)}; got {row['kind']!r}")
        part = _MAKERS[row["kind"]]()
        part.SetFixedParameters([float(value) for value in row["fixed"]])
        part.SetParameters([float(value) for value in row["parameters"]])
        parts.append(part)
    return parts[0] if len(parts) == 1 else sitk.CompositeTransform(parts)


def write_transform(path: Path, transform: sitk.Transform) -> None:
    """Write a transform as SimpleITK's text file."""
    with written_atomically(path) as temporary:
        sitk.WriteTransform(transform, str(temporary))


def undo_linear(image: np.ndarray, transform: sitk.Transform) -> np.ndarray:
    """Bring an image on the prior's grid, shape (S, S), back to the new image's own frame.

    Returns:
        float32, same shape; 0 where the prior's grid has nothing.

    Raises:
        ImageError: if the transform is deformable, which has no inverse.
    """
    if not transform.IsLinear():
        raise ImageError("only a linear transform can be undone", found="a deformable one")
    return resample(image, transform.GetInverse())
