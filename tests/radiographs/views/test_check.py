import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import render_visit
from biomedjourney_monai.radiographs import load_radiograph
from biomedjourney_monai.radiographs.scaling import letterbox
from biomedjourney_monai.radiographs.views import check as views
from biomedjourney_monai.radiographs.views.check import check_view

ROOT = Path(__file__).parents[3]
REAL = ROOT.parent / "shared" / "real-cxr"
CHESTXRAY14 = ROOT.parent / "shared" / "chestxray14"


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[np.ndarray]]:
    patients = [draw_patient(4, index, stream="test views") for index in range(6)]
    return {
        view: [render_visit(p, p.visits[0], size=96, view_position=view).image for p in patients]
        for view in ("PA", "AP", "LATERAL")
    }


@pytest.fixture(scope="module")
def real() -> dict[str, list[np.ndarray]]:
    if not REAL.is_dir():
        pytest.skip("the real radiographs are not beside the project")
    with (REAL / "studies.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    images = {"frontal": [], "lateral": []}
    for row in rows:
        image = load_radiograph(REAL / "images" / row["filename"], size=128)
        images["lateral" if row["view_position"] == "LATERAL" else "frontal"].append(image)
    return images


def reasons(images, **options) -> set[str]:
    return {check_view(np.ascontiguousarray(image), **options).reason for image in images}


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_frontal_chests_pass(rendered, view):
    assert reasons(rendered[view]) == {""}


def test_laterals_are_refused_from_either_side(rendered):
    assert reasons(rendered["LATERAL"]) == {"lateral"}
    assert reasons(image[:, ::-1] for image in rendered["LATERAL"]) == {"lateral"}


def test_inverted_and_turned_chests_are_refused(rendered):
    assert reasons(1 - image for image in rendered["PA"]) == {"inverted"}
    for turns in (1, 2, 3):
        assert reasons(np.rot90(image, turns) for image in rendered["PA"]) == {"rotated"}


def test_mirrored_chests_are_looked_for_only_if_asked(rendered):
    mirrored = [image[:, ::-1] for image in rendered["PA"]]
    assert reasons(mirrored) == {""}
    found = [check_view(np.ascontiguousarray(image), mirror=True).reason == "mirrored" for image in mirrored]
    assert np.mean(found) > 0.6
    assert reasons(rendered["PA"], mirror=True) == {""}


def test_exposure_does_not_matter(rendered):
    assert reasons(0.1 + 0.8 * image**1.5 for image in rendered["PA"]) == {""}


def test_it_sees_the_square_that_the_model_sees(rendered):
    image = rendered["PA"][0][:, 8:-8]  # a film that is not square
    square, _ = letterbox(image, size=96)
    assert check_view(image).probability == pytest.approx(check_view(square).probability, abs=1e-3)


def test_what_is_not_certain_passes_with_a_doubt(rendered, monkeypatch):
    chances = np.array([0.6, 0.0, 0.3, 0.05, 0.0, 0.05])
    monkeypatch.setattr(views, "view_chances", lambda image: chances)
    assert check_view(rendered["PA"][0]) == views.ViewCheck("", 0.6, "inverted")
    assert check_view(rendered["PA"][0], max_fault=0.4).reason == "inverted"
    monkeypatch.setattr(views, "view_chances", lambda image: np.array([0.02, 0.0, 0.0, 0.0, 0.98, 0.0]))
    assert check_view(rendered["PA"][0]).reason == ""
    assert check_view(rendered["PA"][0], mirror=True).reason == "mirrored"


def test_it_agrees_with_torch():
    torch = pytest.importorskip("torch")
    weights, image = views._weights(), np.random.default_rng(0).random((64, 64), np.float32)
    maps = torch.from_numpy(image)[None, None] * 2 - 1
    for number in range(4):
        kernel, bias = (torch.from_numpy(weights[f"{name}{number}"]) for name in ("kernel", "bias"))
        maps = torch.nn.functional.conv2d(maps, kernel, bias, stride=2, padding=kernel.shape[-1] // 2).relu()
    pooled = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)[0]
    expected = (torch.from_numpy(weights["head"]) @ pooled + torch.from_numpy(weights["head_bias"])).softmax(0)
    np.testing.assert_allclose(views.view_chances(image), expected.numpy(), atol=1e-5)


def test_films_of_patients_that_training_did_not_see_pass():
    if not CHESTXRAY14.is_dir():
        pytest.skip("ChestX-ray14 is not beside the project")
    tests = set((CHESTXRAY14 / "test_list.txt").read_text().split())
    films = [load_radiograph(CHESTXRAY14 / "images" / name, size=128) for name in sorted(tests)[::3]]
    assert np.mean([check_view(film).reason != "" for film in films]) <= 0.02  # AP films too, and some are turned
    for damaged in (1 - np.array(films), np.rot90(films, axes=(1, 2)), np.rot90(films, 2, axes=(1, 2))):
        assert np.mean([check_view(film).reason != "" for film in damaged]) >= 0.95


def test_real_frontals_pass_and_real_laterals_do_not(real):
    assert reasons(real["frontal"]) == {""}
    assert "" not in reasons(real["lateral"])
    assert np.mean([check_view(1 - image).reason != "" for image in real["frontal"]]) >= 0.95


@pytest.mark.parametrize(
    "image",
    [
        np.random.default_rng(0).random((80, 80)),
        np.linspace(0, 1, 6400).reshape(80, 80),
        np.linspace(1, 0, 6400).reshape(80, 80),
        np.pad(np.ones((60, 10)), 25),
        np.zeros((50, 50)),
        np.ones((50, 50)),
    ],
    ids=["noise", "ramp", "falling ramp", "bar", "black", "white"],
)
def test_what_is_no_chest_is_refused(image):
    assert check_view(image.astype(np.float32)).reason != ""


@settings(max_examples=60)
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.floats(0, 1, width=32)),
    st.booleans(),
)
def test_any_image_gets_an_answer(image, mirror):
    view = check_view(image, mirror=mirror)
    assert view.reason in ("", *views.REASONS) and 0 <= view.probability <= 1.001


@pytest.mark.parametrize("image", [np.zeros((0, 5)), np.zeros((1, 5, 5)), np.full((5, 5), np.nan)])
def test_what_is_no_image_is_an_error(image):
    with pytest.raises(ImageError):
        check_view(image)
