import numpy as np
import pytest
from monai.data import MetaTensor
from monai.transforms import Compose
from PIL import Image

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import render_visit
from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.radiographs.transforms import (
    FilterViewd,
    LoadRadiographd,
    NormalizeRadiographd,
)


@pytest.fixture
def path(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (90, 60), np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    return str(tmp_path / "image.png")


def test_the_transform_gives_what_the_function_gives(path):
    loaded = LoadRadiographd("image", size=64)({"image": path, "text": "kept"})
    assert isinstance(loaded["image"], MetaTensor) and loaded["image"].shape == (1, 64, 64)
    assert np.array_equal(loaded["image"].numpy()[0], load_radiograph(path, size=64))
    assert loaded["text"] == "kept"


def test_the_meta_data_tell_the_way_back(path):
    meta = LoadRadiographd("image", size=64)({"image": path})["image"].meta
    assert meta["filename_or_obj"] == path
    assert meta["original_size"].tolist() == [90, 60]
    assert meta["content"].shape == (1, 64, 64) and 0.6 < meta["content"].float().mean() < 0.7


def test_missing_keys_and_files(path):
    assert LoadRadiographd("other", allow_missing_keys=True)({"image": path}) == {"image": path}
    with pytest.raises(KeyError):
        LoadRadiographd("other")({"image": path})
    with pytest.raises(ImageError):
        LoadRadiographd("image")({"image": path + "x"})


def test_loading_and_then_normalising_gives_the_same_bytes(path):
    steps = Compose([LoadRadiographd("image", size=64, normalize=False), NormalizeRadiographd("image")])
    assert np.array_equal(steps({"image": path})["image"].numpy()[0], load_radiograph(path, size=64))


def test_without_normalising_the_files_scale_stays(path):
    raw = LoadRadiographd("image", size=64, normalize=False)({"image": path})["image"]
    assert raw.max() > 100


def test_normalising_is_undone_up_to_what_was_clipped(path):
    raw = LoadRadiographd("image", size=64, normalize=False)({"image": path})
    steps = Compose([NormalizeRadiographd("image")])
    normalised = steps(raw)
    restored = steps.inverse(normalised)["image"]
    unclipped = (normalised["image"] > 0) & (normalised["image"] < 1)
    assert unclipped.float().mean() > 0.5
    assert np.allclose(restored[unclipped], raw["image"][unclipped], atol=1e-3)
    assert not restored.applied_operations


def test_an_image_without_meta_data_is_all_content():
    image = np.linspace(5, 9, 64, dtype=np.float32).reshape(1, 8, 8)
    normalised = NormalizeRadiographd("image")({"image": image})["image"]
    assert normalised.min() == 0 and normalised.max() == 1


@pytest.fixture
def chest():
    patient = draw_patient(3, 0, stream="transforms")
    return render_visit(patient, patient.visits[0], size=96, view_position="PA").image[None]


def test_the_filter_lets_a_chest_pass_as_it_is(chest):
    checked = FilterViewd("image")({"image": chest})
    assert checked["image"] is chest and checked["image_view"] == "" and checked["image_view_probability"] > 0.5


def test_the_filter_refuses_or_says_so(chest):
    with pytest.raises(ImageError, match="inverted") as caught:
        FilterViewd("image")({"image": 1 - chest})
    assert caught.value.reason == "view check: inverted"
    upside_down = np.ascontiguousarray(chest[:, ::-1])
    assert FilterViewd("image", refuse=False)({"image": upside_down})["image_view"] == "rotated"
