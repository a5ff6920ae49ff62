import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose
from PIL import Image

from biomedjourney_monai.errors import ConfigError, ImageError
from biomedjourney_monai.preparation.registration.register import register
from biomedjourney_monai.preparation.registration.transforms import RegisterToPriord, registration_of
from biomedjourney_monai.radiographs import load_with_content
from biomedjourney_monai.radiographs.transforms import LoadRadiographd

SIZE = 96


@pytest.fixture
def row(small_mimic):
    images = sorted((small_mimic / "files" / "p10" / "p10000001").glob("s*/*-*.jpg"))
    return {"prior_image": str(images[0]), "new_image": str(images[1]), "text": "kept"}


def load(row):
    return LoadRadiographd(("prior_image", "new_image"), size=SIZE)(row)


def test_the_composed_transforms_do_what_the_functions_do(row):
    transform = Compose([LoadRadiographd(("prior_image", "new_image"), size=SIZE), RegisterToPriord()])
    result = transform(row)
    (prior, prior_content), (new, new_content) = (
        load_with_content(row[key], size=SIZE) for key in ("prior_image", "new_image")
    )
    expected = register(prior, new, prior_content, new_content)
    assert np.array_equal(np.asarray(result["new_image"])[0], expected.image)
    assert np.array_equal(np.asarray(result["valid_mask"])[0], expected.valid)
    assert result["new_image"].meta["registration"]["scale"] == expected.scale
    assert "content" not in result["new_image"].meta
    assert result["text"] == "kept"


def test_the_row_holds_the_whole_registration(row):
    result = registration_of(RegisterToPriord(check_mirrored=True)(load(row)))
    (prior, prior_content), (new, new_content) = (
        load_with_content(row[key], size=SIZE) for key in ("prior_image", "new_image")
    )
    expected = register(prior, new, prior_content, new_content)
    assert result.stretch == expected.stretch and result.overlap == expected.overlap
    assert result.transform.GetParameters() == expected.transform.GetParameters()
    assert -1 <= result.mirrored_correlation < result.gradient_correlation
    with pytest.raises(ImageError, match="registered"):
        registration_of(load(row))


def test_the_inverse_brings_the_image_back_to_its_own_frame(row):
    before = load(row)
    step = RegisterToPriord()
    moved = step(before)
    restored = step.inverse(moved)
    new, old = before["new_image"].numpy()[0], restored["new_image"].numpy()[0]
    inside = np.zeros(new.shape, bool)
    inside[16:-16, 24:-24] = True
    assert abs(moved["new_image"].numpy()[0] - new)[inside].mean() > 2 * abs(old - new)[inside].mean()
    assert abs(old - new)[inside].mean() < 0.02
    assert "valid_mask" not in restored and not restored["new_image"].applied_operations
    assert torch.equal(restored["new_image"].meta["content"], before["new_image"].meta["content"])
    assert restored["text"] == "kept"


def test_a_composed_inverse_undoes_the_registration_alone(row):
    steps = Compose([RegisterToPriord()])
    restored = steps.inverse(steps(load(row)))
    assert isinstance(restored["new_image"], MetaTensor) and restored["new_image"].shape == (1, SIZE, SIZE)


def test_rows_go_through_monais_loader(row):
    steps = Compose([LoadRadiographd(("prior_image", "new_image"), size=SIZE), RegisterToPriord()])
    batch = next(iter(DataLoader(Dataset([row, row], steps), batch_size=2)))
    assert batch["new_image"].shape == batch["valid_mask"].shape == (2, 1, SIZE, SIZE)


def test_a_deformable_transform_is_asked_for_knowingly_and_not_undone(row):
    with pytest.raises(ConfigError, match="56-98 %"):
        RegisterToPriord(transform="deformable")(load(row))
    step = RegisterToPriord(transform="deformable", accept_erased_disease=True)
    moved = step(load(row))
    with pytest.raises(ImageError, match="linear"):
        step.inverse(moved)


def test_missing_images(row):
    alone = {"prior_image": row["prior_image"]}
    assert RegisterToPriord(allow_missing_keys=True)(alone) == alone
    with pytest.raises(KeyError):
        RegisterToPriord()(alone)


def test_plain_arrays_do_as_well():
    image = np.asarray(Image.effect_noise((64, 64), 60).resize((16, 16)).resize((64, 64)), np.float32)[None] / 255
    result = RegisterToPriord("a", "b", "mask")({"a": image, "b": image})
    assert np.allclose(result["b"].numpy()[result["mask"].numpy()], image[result["mask"].numpy()], atol=0.02)
