import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.generation.prior import read_prior
from biomedjourney_monai.generation.prior_check import (
    CheckPriord,
    DescribePriord,
    check_prior,
    check_resolution,
)
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import render_visit
from biomedjourney_monai.radiographs import NOT_FOR_DIAGNOSIS, save_png
from biomedjourney_monai.radiographs.transforms import LoadRadiographd


@pytest.fixture(scope="module")
def render():
    patient = draw_patient(5, 0, stream="controls")
    return lambda view: render_visit(patient, patient.visits[0], size=128, view_position=view).image


SPOILED = {
    "inverted": lambda image: 1 - image,
    "rotated": lambda image: np.rot90(image).copy(),
    "mirrored": lambda image: image[:, ::-1].copy(),
    "not_a_chest": lambda image: np.random.default_rng(0).uniform(size=image.shape).astype(np.float32),
}


def test_a_frontal_chest_passes(render):
    assert check_prior(render("PA")) == ""


@pytest.mark.parametrize("reason", SPOILED)
def test_a_spoiled_prior_is_refused_by_its_reason(render, reason):
    image = SPOILED[reason](render("PA"))
    with pytest.raises(ImageError, match=reason) as error:
        check_prior(image)
    assert error.value.reason == reason
    assert check_prior(image, force=True) == reason


def test_a_lateral_prior_is_refused(render):
    with pytest.raises(ImageError) as error:
        check_prior(render("LATERAL"))
    assert error.value.reason == "lateral"


def test_a_prior_that_carries_the_mark_is_refused_and_can_be_overruled(render):
    with pytest.raises(ImageError, match="that this package made") as error:
        check_prior(render("PA"), is_marked=True)
    assert error.value.reason == "counterfactual"
    assert check_prior(render("PA"), is_marked=True, force=True) == "counterfactual"
    assert check_prior(1 - render("PA"), is_marked=True, force=True) == "counterfactual, inverted"


def test_another_part_of_the_body_is_refused_and_can_be_overruled(render, dicom_chest, tmp_path):
    with pytest.raises(ImageError, match="found HAND") as error:
        check_prior(render("PA"), other_body_part="HAND")
    assert error.value.reason == "another part of the body"
    (tmp_path / "hand.dcm").write_bytes(dicom_chest(BodyPartExamined="HAND"))
    prior = read_prior(tmp_path / "hand.dcm", size=128)
    assert check_prior(prior.image, other_body_part=prior.other_body_part, force=True) == "another part of the body"
    loaded = LoadRadiographd("image", any_body_part=True)({"image": str(tmp_path / "hand.dcm")})
    with pytest.raises(ImageError, match="found HAND"):
        CheckPriord("image")(loaded)
    assert CheckPriord("image", force=True)(loaded)["image"].meta["overruled"] == "another part of the body"


def test_the_transform_finds_the_mark_in_the_file(render, tmp_path):
    save_png(tmp_path / "made.png", render("PA"), metadata={"Comment": NOT_FOR_DIAGNOSIS})
    data = LoadRadiographd("image")({"image": tmp_path / "made.png"})
    with pytest.raises(ImageError, match="counterfactual"):
        CheckPriord("image")(data)
    assert CheckPriord("image", force=True)(data)["image"].meta["overruled"] == "counterfactual"


def test_another_resolution_than_the_weights_have_seen_is_refused():
    assert check_resolution(128, 128) == check_resolution(512, None) == ""
    with pytest.raises(ImageError, match="512 instead of 256") as error:
        check_resolution(512, 256)
    assert error.value.reason == "wrong_resolution"
    assert check_resolution(512, 256, force=True) == "wrong_resolution"


def test_the_transforms_refuse_describe_and_say_what_was_overruled(render):
    image = MetaTensor(torch.from_numpy(1 - render("PA"))[None])
    with pytest.raises(ImageError, match="inverted"):
        CheckPriord("image")({"image": image})
    meta = CheckPriord("image", force=True)({"image": image})["image"].meta
    assert meta["overruled"] == "inverted"
    assert DescribePriord("image")({"image": image, "description": "Clear."})["image"].meta["description"] == "Clear."
    assert "description" not in DescribePriord("image")({"image": MetaTensor(torch.zeros(1, 2, 2))})["image"].meta
