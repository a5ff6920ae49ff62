import io
import json

import numpy as np
import pytest
from PIL import Image

from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import render_visit
from biomedjourney_monai.preparation.cohort import view_checks
from biomedjourney_monai.preparation.cohort.mimic import read_mimic
from biomedjourney_monai.preparation.cohort.selection import CohortSettings, select_studies
from biomedjourney_monai.preparation.cohort.view_checks import ViewChecker
from biomedjourney_monai.preparation.parallel import Workers
from biomedjourney_monai.preparation.registration.pairs import StudyLoader


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    """JPEG bytes of one patient: frontal, lateral, inverted."""
    patient = draw_patient(4, 1, stream="view checks")
    images = {v: render_visit(patient, patient.visits[0], size=128, view_position=v).image for v in ("PA", "LATERAL")}
    images["inverted"] = 1 - images["PA"]
    encoded = {}
    for name, image in images.items():
        stream = io.BytesIO()
        Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)).save(stream, "JPEG", quality=95)
        encoded[name] = stream.getvalue()
    return encoded


@pytest.fixture
def paths(tmp_path, pictures) -> list[str]:
    contents = [*pictures.values(), pictures["PA"][:900], b"junk"]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.jpg").write_bytes(content)
    return [str(tmp_path / f"{number}.jpg") for number in range(len(contents))]


EXPECTED = ["", "view check: lateral", "view check: inverted", "image damaged", "unknown image format"]


def test_each_image_gets_its_reason(paths):
    assert ViewChecker().check(paths) == EXPECTED


@pytest.mark.parametrize("fault", ["bordered", "stretched"])
def test_a_photograph_with_a_border_and_a_stretched_picture_are_refused_by_name(pictures, tmp_path, fault):
    with Image.open(io.BytesIO(pictures["PA"])) as film:
        wide = film.resize((2 * film.width, film.height))
        table = Image.new("L", (film.width + 120, film.height + 120), 200)
        table.paste(film, (60, 60))
    (table if fault == "bordered" else wide).save(tmp_path / "film.png")
    assert ViewChecker().check([str(tmp_path / "film.png")]) == [fault]
    with pytest.raises(ImageError) as caught:
        StudyLoader(128)(tmp_path / "film.png")  # as `register` reads it
    assert caught.value.reason == fault


def test_processes_do_not_change_the_answer(paths):
    assert ViewChecker(workers=Workers(2)).check(paths) == EXPECTED


def test_a_second_run_looks_only_at_what_is_new_or_changed(paths, tmp_path, monkeypatch, pictures):
    checker = ViewChecker(record=tmp_path / "work" / "views.jsonl")
    checker.check(paths[:2])
    looked = []
    real = view_checks.look_at
    monkeypatch.setattr(view_checks, "look_at", lambda path, **options: looked.append(path) or real(path, **options))
    assert checker.check(paths) == EXPECTED
    assert looked == paths[2:]
    (tmp_path / "0.jpg").write_bytes(pictures["inverted"])
    looked.clear()
    assert checker.check(paths[:1]) == ["view check: inverted"] and looked == paths[:1]


def test_a_run_that_was_killed_within_a_line_goes_on(paths, tmp_path):
    checker = ViewChecker(record=tmp_path / "views.jsonl")
    checker.check(paths[:2])
    whole = checker.record.read_text()
    checker.record.write_text(whole[:-20])
    assert checker.check(paths) == EXPECTED
    verdicts = [line for line in checker.record.read_text().splitlines() if line.endswith("}")]
    assert all(set(json.loads(line)) == {"key", "reason"} for line in verdicts)


def test_a_crash_of_the_reader_is_no_verdict_for_ever(paths, tmp_path, monkeypatch):
    def crashing(function, items, *, on_death, **_options):
        return [on_death(path) if path == paths[0] else function(path) for path in items]

    checker = ViewChecker(record=tmp_path / "views.jsonl")
    with monkeypatch.context() as patched:
        patched.setattr(view_checks, "map_in_processes", crashing)
        assert checker.check(paths) == ["reader crashed", *EXPECTED[1:]]
    assert checker.check(paths) == EXPECTED


def test_other_settings_are_another_question(paths, tmp_path):
    record = tmp_path / "views.jsonl"
    ViewChecker(record=record).check(paths[:1])
    assert ViewChecker(record=record, max_fault=0.0).check(paths[:1])[0].startswith("view check: ")


def test_the_record_names_no_file(paths, tmp_path):
    checker = ViewChecker(record=tmp_path / "views.jsonl")
    checker.check(paths)
    assert ".jpg" not in checker.record.read_text()


def test_the_view_model_decides_frontal_or_lateral(paths, monkeypatch):
    class Contrary:
        def __init__(self, path):
            assert path == "weights.pt"

        def is_lateral(self, image):
            return image[:, :40].mean() > 0.2  # true of this frontal, not of this lateral

    view_checks.open_view_model.cache_clear()
    monkeypatch.setattr("biomedjourney_monai.radiographs.views.frontal_network.ViewModel", Contrary)
    found = ViewChecker(view_model="weights.pt").check(paths[:3])
    assert found == ["view check: lateral", "", "view check: inverted"]
    view_checks.open_view_model.cache_clear()


def test_a_mislabelled_lateral_gives_way_to_the_studys_frontal_and_none_reaches_pretraining(mimic, pictures):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001, dicom_id="large", rows=900, image=pictures["LATERAL"])
    mimic.add_study(10000001, 50000001, dicom_id="small", rows=300, image=pictures["PA"])
    mimic.add_study(10000001, 50000002, dicom_id="inverted", image=pictures["inverted"])
    mimic.add_study(10000001, 50000003, dicom_id="cut", image=pictures["PA"][:900])
    mimic.add_study(10000001, 50000004, dicom_id="unknown", view="", code="", image=pictures["PA"])
    mimic.add_study(
        10000001, 50000005, dicom_id="unknown lateral".replace(" ", "-"), view="", code="", image=pictures["LATERAL"]
    )
    root = mimic.write()
    cohort = select_studies(read_mimic(root), checker=ViewChecker())
    assert cohort.studies["dicom_id"].tolist() == ["small"]
    assert cohort.rejections.counts("image") == {
        "view unknown": 2,
        "image damaged": 1,
        "view check: inverted": 1,
        "view check: lateral": 1,
    }
    assert cohort.rejections.counts("study")["no image passes the view check"] == 2
    cohort = select_studies(read_mimic(root), CohortSettings(unknown_view="image"), checker=ViewChecker())
    assert cohort.studies.set_index("dicom_id")["view_position"].to_dict() == {"small": "PA", "unknown": "FRONTAL"}


def test_without_a_checker_the_tables_are_believed(mimic, pictures):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000002, dicom_id="inverted", image=pictures["inverted"])
    assert select_studies(read_mimic(mimic.write())).studies["dicom_id"].tolist() == ["inverted"]
