import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from biomedjourney_monai.radiographs import letterbox, mark_synthetic
from biomedjourney_monai.radiographs.output_transforms import RestoreAndMarkd
from biomedjourney_monai.radiographs.transforms import LoadRadiographd


def generated(height, width):
    """A smooth picture of the file's size, and its letterbox as the generator would return it."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    picture = (rows / height + columns / width) / 2
    return picture, torch.from_numpy(letterbox(picture, size=128)[0][None])


@pytest.mark.parametrize(("height", "width"), [(200, 150), (150, 200), (128, 128), (100, 400)])
def test_the_picture_gets_the_priors_size_and_the_label(height, width):
    picture, square = generated(height, width)
    prior = MetaTensor(torch.zeros(1, 128, 128), meta={"original_size": np.array([height, width])})
    made = RestoreAndMarkd("pred")({"image": prior, "pred": square})["pred"]
    assert made.shape == (1, height, width)
    ground = mark_synthetic(np.full((height, width), -1.0, np.float32))
    label = ground != -1
    assert np.array_equal(made[0].numpy()[label], ground[label])
    assert np.abs(made[0].numpy() - picture)[~label].max() < 0.02


def test_left_stays_left():
    square = torch.zeros(1, 128, 128)
    square[:, 64:, :64] = 1
    prior = MetaTensor(torch.zeros(1, 128, 128), meta={"original_size": np.array([256, 256])})
    made = RestoreAndMarkd("pred")({"image": prior, "pred": square})["pred"][0]
    assert made[200, 50] == 1
    assert made[200, 200] == 0


def test_the_other_entries_and_the_input_stay():
    prior = MetaTensor(torch.rand(1, 128, 128), meta={"original_size": np.array([128, 128])})
    data = {"image": prior, "pred": torch.rand(1, 128, 128), "more": 1}
    before = data["pred"].clone()
    changed = RestoreAndMarkd("pred")(data)
    assert changed["image"] is prior
    assert changed["more"] == 1
    assert torch.equal(data["pred"], before)


def test_loading_and_restoring_go_together(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (180, 140)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    data = LoadRadiographd("image")({"image": tmp_path / "a.png"})
    data["pred"] = data["image"].as_tensor()
    assert RestoreAndMarkd("pred")(data)["pred"].shape == (1, 180, 140)
