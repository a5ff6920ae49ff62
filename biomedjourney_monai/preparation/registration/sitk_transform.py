"""A transform as plain numbers, so that it fits into meta data, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from biomedjourney_monai.errors import ImageError

if TYPE_CHECKING:
    import SimpleITK as sitk  # noqa: N813

_KINDS = ("Similarity2DTransform", "Euler2DTransform", "AffineTransform", "BSplineTransform")


def record_transform(found: sitk.Transform) -> list[dict[str, Any]]:
    """Describe a transform of two dimensions: kind, parameters and fixed parameters of each of its parts, in order."""
    return [
        {"kind": part.GetName(), "parameters": part.GetParameters(), "fixed": part.GetFixedParameters()}
        for part in _parts(found)
    ]


def rebuild_transform(record: Sequence[dict[str, Any]]) -> sitk.Transform:
    """Rebuild what `record_transform` described.

    Raises:
        ValueError: if a kind is unknown.
    """
    import SimpleITK as sitk  # noqa: N813

    parts = []
    for row in record:
        if row["kind"] not in _KINDS:
            raise ValueError(f"kind must be one of {_KINDS}; got {row['kind']!r}")
        makers = {
            "AffineTransform": lambda: sitk.AffineTransform(2),
            "BSplineTransform": lambda: sitk.BSplineTransform(2),
        }
        part = makers.get(row["kind"], lambda row=row: getattr(sitk, row["kind"])())()
        part.SetFixedParameters([float(value) for value in row["fixed"]])
        part.SetParameters([float(value) for value in row["parameters"]])
        parts.append(part)
    return parts[0] if len(parts) == 1 else sitk.CompositeTransform(parts)


def undo_linear(image: np.ndarray, found: sitk.Transform) -> np.ndarray:
    """Bring an image on the prior's grid back to the new image's own frame.

    Args:
        image: float, shape (S, S).
        found: from the prior's points to the new image's, in pixels.

    Returns:
        float32, same shape; 0 where the prior's grid has nothing.

    Raises:
        ImageError: if the transform is deformable, which has no inverse.
    """
    import SimpleITK as sitk  # noqa: N813

    if not found.IsLinear():
        raise ImageError("only a linear transform can be undone", found="a deformable one")
    moving = sitk.GetImageFromArray(np.ascontiguousarray(image, np.float32))
    return sitk.GetArrayFromImage(sitk.Resample(moving, moving, found.GetInverse(), sitk.sitkLinear, 0.0))


def _parts(found: sitk.Transform) -> list[sitk.Transform]:
    import SimpleITK as sitk  # noqa: N813

    if not isinstance(found, sitk.CompositeTransform):
        return [found]
    return [found.GetNthTransform(number).Downcast() for number in range(found.GetNumberOfTransforms())]
