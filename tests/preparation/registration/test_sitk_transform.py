import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.preparation.registration.sitk_transform import (
    rebuild_transform,
    record_transform,
    undo_linear,
)


def similarity() -> sitk.Transform:
    return sitk.Similarity2DTransform(1.1, 0.1, (3.0, -2.0), (31.5, 31.5))


def spline() -> sitk.Transform:
    found = sitk.BSplineTransformInitializer(sitk.Image(64, 64, sitk.sitkFloat32), [4, 4])
    found.SetParameters(np.random.default_rng(0).normal(0, 1, len(found.GetParameters())).tolist())
    return found


@pytest.mark.parametrize(
    "found",
    [
        similarity(),
        sitk.Euler2DTransform((31.5, 31.5), 0.1, (1.0, 2.0)),
        sitk.AffineTransform((1.1, 0.1, -0.2, 0.9), (1.0, 2.0), (31.5, 31.5)),
        sitk.CompositeTransform([similarity(), spline()]),
    ],
    ids=lambda found: found.GetName(),
)
def test_a_transform_survives_being_written_as_numbers(found):
    rebuilt = rebuild_transform(json.loads(json.dumps(record_transform(found))))
    for point in ((0.0, 0.0), (10.0, 50.0), (63.0, 20.0)):
        assert rebuilt.TransformPoint(point) == found.TransformPoint(point)


def test_a_kind_that_is_none_is_refused():
    with pytest.raises(ValueError, match="kind"):
        rebuild_transform([{"kind": "Image", "parameters": (), "fixed": ()}])


def test_undoing_a_shift_moves_back():
    image = np.zeros((32, 32), np.float32)
    image[10, 12] = 1
    back = undo_linear(image, sitk.TranslationTransform(2, (3.0, 5.0)))
    assert np.argwhere(back > 0.5).tolist() == [[15, 15]]
    with pytest.raises(ImageError, match="linear"):
        undo_linear(image, spline())
