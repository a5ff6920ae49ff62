import numpy as np
import pytest
import torch
from monai.transforms import Compose, Lambdad, MedianSmoothd, ScaleIntensityd
from PIL import Image

from biomedjourney_monai.errors import ConfigError, ImageError
from biomedjourney_monai.preparation.registration.composed import ComposedLoader, ComposedRegistrar, describe
from biomedjourney_monai.preparation.registration.image_pair import ImagePair
from biomedjourney_monai.preparation.registration.pairs import StudyLoader
from biomedjourney_monai.preparation.registration.register import PairRegistrar
from biomedjourney_monai.preparation.registration.transforms import RegisterToPriord
from biomedjourney_monai.radiographs.transforms import FilterViewd, LoadRadiographd, NormalizeRadiographd

SIZE = 64


@pytest.fixture
def paths(small_mimic):
    return sorted((small_mimic / "files" / "p10" / "p10000001").glob("s*/*-*.jpg"))[:2]


def steps(*more) -> Compose:
    load = LoadRadiographd("image", size=SIZE, normalize=False)
    return Compose([load, NormalizeRadiographd("image"), *more])


def test_composed_steps_give_what_the_recipe_gives(paths):
    plain, composed = StudyLoader(SIZE), ComposedLoader(steps())
    squares = [composed(path) for path in paths]
    for path, square in zip(paths, squares):
        assert all(np.array_equal(one, other) for one, other in zip(square, plain(path)))
    pair = ImagePair(squares[0][0], squares[1][0], squares[0][1], squares[1][1])
    mine = ComposedRegistrar(Compose([RegisterToPriord(check_mirrored=True)]))(pair)
    expected = PairRegistrar(check_mirrored=True)(pair)
    assert np.array_equal(mine.image, expected.image) and np.array_equal(mine.valid, expected.valid)
    assert mine.mirrored_correlation == expected.mirrored_correlation
    assert mine.transform.GetParameters() == expected.transform.GetParameters()


def test_a_step_of_a_sites_own_goes_in_between(paths):
    smoothed = ComposedLoader(steps(MedianSmoothd("image", radius=2)))(paths[0])[0]
    assert not np.array_equal(smoothed, StudyLoader(SIZE)(paths[0])[0])


def test_a_step_that_leaves_the_range_is_named(paths):
    with pytest.raises(ConfigError, match=r"in \[0, 1\]"):
        ComposedLoader(steps(ScaleIntensityd("image", minv=0, maxv=255)))(paths[0])


def test_our_errors_come_through_monais(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (90, 90)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    with pytest.raises(ImageError) as caught:
        ComposedLoader(steps(FilterViewd("image")))(tmp_path / "noise.png")
    assert caught.value.reason == "view check: not_a_chest"
    with pytest.raises(RuntimeError, match="applying transform"):
        ComposedLoader(steps(Lambdad("image", lambda image: image / "x")))(tmp_path / "noise.png")


def test_the_description_changes_with_every_setting_and_with_nothing_else(paths):
    one, same = ComposedLoader(steps(FilterViewd("image"))), ComposedLoader(steps(FilterViewd("image")))
    one(paths[0])  # use leaves no trace in it
    assert repr(one) == repr(same) and " at 0x" not in repr(one)
    others = [
        ComposedLoader(steps()),
        ComposedLoader(steps(FilterViewd("image", mirror=True))),
        ComposedLoader(steps(FilterViewd("image", max_fault=0.99))),
        ComposedLoader(Compose([LoadRadiographd("image", size=SIZE + 1)])),
        ComposedRegistrar(Compose([RegisterToPriord()])),
        ComposedRegistrar(Compose([RegisterToPriord(transform="rigid")])),
        ComposedRegistrar(Compose([RegisterToPriord(seed=2)])),
    ]
    assert len({repr(one), *map(repr, others)}) == 1 + len(others)
    assert describe(torch.zeros(2)) != describe(torch.ones(2)) == describe(np.ones(2, np.float32))
