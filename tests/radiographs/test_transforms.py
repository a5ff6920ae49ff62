import numpy as np
import pytest
from monai.data import MetaTensor
from PIL import Image

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.radiographs.transforms import LoadRadiographd


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
