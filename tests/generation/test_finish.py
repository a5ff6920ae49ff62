"""The last step of generation: a square becomes a marked picture of the prior's own size."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from biomedjourney_monai.errors import SettingError
from biomedjourney_monai.generation.finish import FinishPictured, finished_picture, full_size_difference
from biomedjourney_monai.generation.prior import read_prior
from biomedjourney_monai.radiographs import letterbox, mark_synthetic, save_png
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
    made = FinishPictured("pred")({"image": prior, "pred": square})["pred"]
    assert made.shape == (1, height, width)
    ground = mark_synthetic(np.full((height, width), -1.0, np.float32))
    label = ground != -1
    assert np.array_equal(made[0].numpy()[label], ground[label])
    assert np.abs(made[0].numpy() - picture)[~label].max() < 0.02


def test_left_stays_left():
    square = torch.zeros(1, 128, 128)
    square[:, 64:, :64] = 1
    prior = MetaTensor(torch.zeros(1, 128, 128), meta={"original_size": np.array([256, 256])})
    made = FinishPictured("pred")({"image": prior, "pred": square})["pred"][0]
    assert made[200, 50] == 1
    assert made[200, 200] == 0


def test_the_other_entries_and_the_input_stay():
    prior = MetaTensor(torch.rand(1, 128, 128), meta={"original_size": np.array([128, 128])})
    data = {"image": prior, "pred": torch.rand(1, 128, 128), "more": 1}
    before = data["pred"].clone()
    changed = FinishPictured("pred")(data)
    assert changed["image"] is prior
    assert changed["more"] == 1
    assert torch.equal(data["pred"], before)


def test_loading_and_restoring_go_together(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (180, 140)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    data = LoadRadiographd("image")({"image": tmp_path / "a.png"})
    data["pred"] = data["image"].as_tensor()
    assert FinishPictured("pred")(data)["pred"].shape == (1, 180, 140)


def test_the_transform_and_the_result_give_the_same_pixels(tmp_path, rendered_chest):
    save_png(tmp_path / "a.png", np.kron(rendered_chest, np.ones((2, 2), np.float32)))
    prior = read_prior(tmp_path / "a.png", size=128)
    square = np.clip(prior.image + 0.2 * (np.mgrid[:128, :128][0] > 70), 0, 1).astype(np.float32)
    data = LoadRadiographd("image")({"image": tmp_path / "a.png"})
    data["pred"] = torch.from_numpy(square[None])
    for detail in ("transfer", "none"):
        made = FinishPictured("pred", detail=detail)(data)["pred"][0].numpy()
        assert np.array_equal(made, finished_picture(square, prior, detail=detail))


def test_the_difference_is_smooth_and_of_the_films_size(tmp_path, rendered_chest):
    save_png(tmp_path / "a.png", np.kron(rendered_chest, np.ones((2, 2), np.float32)))
    prior = read_prior(tmp_path / "a.png", size=128)
    square = prior.image.copy()
    square[60:90, 30:60] += 0.2
    difference = full_size_difference(np.clip(square, 0, 1), prior)
    assert difference.shape == (360, 360)
    assert difference[210, 126] == pytest.approx(0.2, abs=0.05)
    assert np.abs(np.diff(difference, axis=1)).max() < 0.1


def test_another_detail_is_refused():
    with pytest.raises(SettingError, match="detail must be transfer or none"):
        FinishPictured("pred", detail="some")
