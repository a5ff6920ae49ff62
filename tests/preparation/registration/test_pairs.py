from pathlib import Path

import pandas as pd
import pytest

from biomedjourney_monai.preparation import item_record
from biomedjourney_monai.preparation.cohort.mimic import read_mimic
from biomedjourney_monai.preparation.cohort.selection import select_studies
from biomedjourney_monai.preparation.journeys import build_journeys
from biomedjourney_monai.preparation.parallel import Workers
from biomedjourney_monai.preparation.registration.pairs import StudyLoader, convert_studies, decide, register_journeys
from biomedjourney_monai.preparation.registration.register import PairRegistrar
from biomedjourney_monai.radiographs import load_radiograph, read_mask, read_png
from biomedjourney_monai.schema import PAIR_COLUMNS


def prepare(source: Path, work: Path, *, processes: int = 1, size: int = 96, min_score: float = 0.25) -> pd.DataFrame:
    studies = select_studies(read_mimic(source)).studies
    journeys, _drops = build_journeys(studies)
    contents, _done = convert_studies(studies, work, StudyLoader(size), Workers(processes))
    pairs, _done = register_journeys(journeys, contents, work, PairRegistrar(), Workers(processes))
    return decide(pairs, min_score=min_score)


def test_pairs_and_pictures(small_mimic, tmp_path):
    pairs = prepare(small_mimic, tmp_path)
    assert tuple(pairs.columns) == PAIR_COLUMNS
    assert pairs["kept"].tolist() == [True, True, True, False]
    assert pairs["drop_reason"].tolist() == ["", "", "", "image unreadable"]
    assert pairs["prior_image"][3] == "" and pairs["gradient_correlation"].isna().tolist() == [False] * 3 + [True]
    for row in pairs[pairs["kept"]].itertuples():
        prior, new = read_png(tmp_path / row.prior_image), read_png(tmp_path / row.new_image)
        valid = read_mask(tmp_path / row.valid_mask)
        assert prior.shape == new.shape == valid.shape == (96, 96)
        assert new[~valid].max(initial=0) == 0
        unregistered = load_radiograph(row.new_image_path, size=96)
        assert abs(new - prior)[valid].mean() < 0.7 * abs(unregistered - prior)[valid].mean()


def test_the_number_of_processes_does_not_matter(small_mimic, tmp_path):
    one, two = (prepare(small_mimic, tmp_path / str(n), processes=n) for n in (1, 2))
    pd.testing.assert_frame_equal(one, two)
    files = sorted(path.name for path in (tmp_path / "1" / "images").iterdir())
    assert len(files) == 6 + 3 * 3
    for name in files:
        assert (tmp_path / "1" / "images" / name).read_bytes() == (tmp_path / "2" / "images" / name).read_bytes()


def test_a_high_threshold_drops_but_keeps_the_rows_and_pictures(small_mimic, tmp_path):
    pairs = prepare(small_mimic, tmp_path, min_score=1.0)
    assert pairs["drop_reason"].tolist() == ["score below threshold"] * 3 + ["image unreadable"]
    assert (tmp_path / pairs["new_image"][0]).is_file()


def test_a_picture_of_an_earlier_run_does_not_stand_for_an_unreadable_image(small_mimic, tmp_path):
    studies = select_studies(read_mimic(small_mimic)).studies
    stale = tmp_path / "images" / f"{studies['dicom_id'].iloc[-1]}.png"
    stale.parent.mkdir()
    stale.write_bytes(b"old")
    contents = convert_studies(studies, tmp_path, StudyLoader(64))[0]
    assert not stale.exists()
    assert contents[studies["dicom_id"].iloc[-1]].reason == "image unreadable"


def test_pictures_do_not_depend_on_other_studies(small_mimic, tmp_path):
    studies = select_studies(read_mimic(small_mimic)).studies.iloc[:2]
    contents = convert_studies(studies, tmp_path, StudyLoader(64))[0]
    mask = contents[studies["dicom_id"].iloc[0]].mask(64)
    assert mask.sum() == pytest.approx(64 * 64 * 200 / 240, rel=0.02)


def test_an_image_that_crashes_its_reader_is_left_out_with_a_reason_and_tried_again(small_mimic, tmp_path, monkeypatch):
    studies = select_studies(read_mimic(small_mimic)).studies
    dicom_id = studies["dicom_id"].iloc[0]
    stale = tmp_path / "images" / f"{dicom_id}.png"
    stale.parent.mkdir()
    stale.write_bytes(b"old")
    with monkeypatch.context() as patched:
        patched.setattr(item_record, "map_in_processes", crashing_at(lambda item: item[0] == dicom_id))
        contents, done = convert_studies(studies, tmp_path, StudyLoader(64))
    assert done.done == len(studies)
    assert (contents[dicom_id].reason, contents[dicom_id].detail) == ("image unreadable", "reader crashed")
    assert not stale.exists()
    assert [contents[name].reason for name in studies["dicom_id"].iloc[1:-1]] == [""] * (len(studies) - 2)
    contents, done = convert_studies(studies, tmp_path, StudyLoader(64))
    assert (done.done, done.reused) == (1, len(studies) - 1)
    assert contents[dicom_id].reason == "" and stale.is_file()


def test_a_pair_that_crashes_its_registration_is_dropped_with_a_reason_and_tried_again(
    small_mimic, tmp_path, monkeypatch
):
    studies = select_studies(read_mimic(small_mimic)).studies
    journeys, _drops = build_journeys(studies)
    contents, _done = convert_studies(studies, tmp_path, StudyLoader(64))
    with monkeypatch.context() as patched:
        patched.setattr(
            item_record, "map_in_processes", crashing_at(lambda item: item[1] == journeys["new_dicom_id"][0])
        )
        registered, _done = register_journeys(journeys, contents, tmp_path)
    decided = decide(registered, min_score=-1)
    assert decided["drop_reason"].tolist() == ["registration crashed", "", "", "image unreadable"]
    registered, done = register_journeys(journeys, contents, tmp_path)
    assert (done.done, done.reused) == (1, 2)
    assert decide(registered, min_score=-1)["kept"].tolist() == [True, True, True, False]


def crashing_at(is_deadly):
    """A stand-in for `map_in_processes`, in which some items take their process down."""

    def run(function, items, *, on_death, **_options):
        return [on_death(item) if is_deadly(item) else function(item) for item in items]

    return run
