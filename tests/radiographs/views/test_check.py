import csv
import runpy
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
from biomedjourney_monai.radiographs.views import check as views
from biomedjourney_monai.radiographs.views.check import check_view

ROOT = Path(__file__).parents[3]
REAL = ROOT.parent / "shared" / "real-cxr"


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


def test_exposure_and_letterbox_do_not_matter(rendered):
    image = rendered["PA"][0]
    boxed = np.zeros((160, 160), np.float32)
    boxed[:96, 30:126] = 0.2 + 0.6 * image**1.7
    assert check_view(boxed).reason == ""
    assert check_view(boxed).correlation == pytest.approx(check_view(0.2 + 0.6 * image**1.7).correlation, abs=0.02)


def test_real_frontals_pass_and_real_laterals_do_not(real):
    assert reasons(real["frontal"]) == {""}
    assert "" not in reasons(real["lateral"])
    assert np.mean([check_view(1 - views.crop_to_content(image)).reason != "" for image in real["frontal"]]) == 1


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
    assert view.reason in ("", *views.REASONS) and -1.001 <= view.correlation <= 1.001


@pytest.mark.parametrize("image", [np.zeros((0, 5)), np.zeros((1, 5, 5)), np.full((5, 5), np.nan)])
def test_what_is_no_image_is_an_error(image):
    with pytest.raises(ImageError):
        check_view(image)


@pytest.mark.slow
def test_the_documented_command_gives_the_shipped_templates(tmp_path):
    benchmark = runpy.run_path(str(ROOT / "scripts" / "benchmarks" / "view_check.py"))
    drawn = np.rint(benchmark["draw_templates"]() * 255)
    shipped = np.rint(np.concatenate(views._templates(), axis=1) * 255)
    assert np.abs(drawn - shipped).max() <= 1
