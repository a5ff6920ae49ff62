import numpy as np
import pytest

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.phantom.labelled import draw_labelled
from biomedjourney_monai.phantom.patients import draw_patient


@pytest.fixture(scope="module")
def labelled():
    return draw_labelled(16, seed=4, size=64, with_masks=True)


def test_shapes_and_ranges(labelled):
    assert labelled.images.shape == (16, 64, 64) and labelled.images.dtype == np.uint8
    assert labelled.labels.shape == (16, 5) and set(np.unique(labelled.labels)) == {0, 1}
    assert labelled.masks.shape == (16, 6, 64, 64)
    assert set(labelled.group) <= {0, 1, 2} and set(labelled.sex) == {"F", "M"}
    assert ((labelled.age >= 18) & (labelled.age <= 91)).all()
    assert len(set(labelled.reports)) == 16


def test_the_images_differ_and_have_contrast(labelled):
    flat = labelled.images.reshape(16, -1).astype(float)
    assert (flat.std(axis=1) > 15).all()
    assert len(np.unique(flat, axis=0)) == 16


def test_a_longer_draw_begins_with_the_shorter(labelled):
    shorter = draw_labelled(3, seed=4, size=64)
    assert np.array_equal(shorter.images, labelled.images[:3])
    assert shorter.masks is None and shorter.reports == labelled.reports[:3]


def test_no_cohort_has_these_patients():
    cohort = {draw_patient(4, index).identity_seed for index in range(200)}
    assert not cohort & {draw_patient(4, index, stream="labelled").identity_seed for index in range(200)}


def test_a_number_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="number of images"):
        draw_labelled(0, seed=0)
