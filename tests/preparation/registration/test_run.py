import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from biomedjourney_monai.errors import ConfigError, SettingError, TableError
from biomedjourney_monai.preparation.cohort.mimic import read_mimic
from biomedjourney_monai.preparation.cohort.selection import select_studies
from biomedjourney_monai.preparation.journeys import build_journeys
from biomedjourney_monai.preparation.parallel import Workers
from biomedjourney_monai.preparation.registration.pairs import StudyLoader, decide
from biomedjourney_monai.preparation.registration.register import PairRegistrar
from biomedjourney_monai.preparation.registration.run import (
    calibrated_score,
    register_all,
    register_files,
    register_pairs,
    require_pairs,
)
from biomedjourney_monai.preparation.rejections import REJECTED_COLUMNS, write_rejected
from biomedjourney_monai.radiographs import load_with_content, read_mask, read_png
from biomedjourney_monai.schema import JOURNEYS_FILE, STUDIES_FILE

REAL = Path(__file__).parents[3].parent / "shared" / "real-cxr"
SIZE = 64


def write_studies(studies: pd.DataFrame, work: Path) -> Path:
    work.mkdir(parents=True, exist_ok=True)
    studies.to_parquet(work / STUDIES_FILE, index=False)
    build_journeys(studies)[0].to_parquet(work / JOURNEYS_FILE, index=False)
    return work


@pytest.fixture
def work(small_mimic, tmp_path):
    return write_studies(select_studies(read_mimic(small_mimic)).studies, tmp_path / "work")


def run(work: Path, *, size: int = SIZE, min_score: float = 0.25, **registrar) -> tuple[int, int]:
    """How many pictures and how many pairs a run did."""
    finished = register_all(work, StudyLoader(size), PairRegistrar(**registrar), min_score=min_score)
    return finished.images_done, finished.pairs_done


def contents_of(work: Path) -> dict[str, bytes]:
    return {str(path.relative_to(work)): path.read_bytes() for path in sorted(work.rglob("*")) if path.is_file()}


def test_a_changed_setting_redoes_only_what_depends_on_it(work):
    assert run(work) == (7, 3)
    before = contents_of(work)
    assert run(work) == (0, 0)
    assert contents_of(work) == before
    assert run(work, min_score=0.3) == (0, 0)
    assert run(work, transform="rigid") == (0, 3)
    assert run(work, transform="rigid", size=SIZE + 8) == (7, 3)
    assert run(work) == (7, 3)
    assert contents_of(work) == before


def test_a_changed_file_redoes_what_depends_on_its_pixels(work):
    run(work)
    studies = pd.read_parquet(work / STUDIES_FILE)
    path = Path(studies["image_path"][0])
    os.utime(path, ns=(0, 0))
    assert run(work) == (1, 0)  # the same pixels: its pairs stay
    image = np.asarray(Image.open(path)).copy()
    image[:40] = 0
    Image.fromarray(image).save(path)
    assert run(work)[0] == 1 and run(work) == (0, 0)


def test_a_picture_that_was_touched_or_lost_is_made_again(work):
    run(work)
    before = contents_of(work)
    pairs = pd.read_parquet(work / "pairs.parquet")
    (work / pairs["new_image"][0]).write_bytes(b"other")
    (work / pairs["transform_file"][1]).unlink()
    (work / pairs["prior_image"][0]).unlink()
    assert run(work) == (1, 2)
    assert contents_of(work) == before


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_and_gives_the_same_bytes(small_mimic, tmp_path):
    studies = select_studies(read_mimic(small_mimic)).studies
    copies = [
        studies.assign(
            **{name: str(number) + studies[name].str[1:] for name in ("subject_id", "study_id")},
            dicom_id=f"{number}-" + studies["dicom_id"],
        )
        for number in range(1, 6)
    ]
    many = pd.concat(copies, ignore_index=True)
    whole, killed = (write_studies(many, tmp_path / name) for name in ("whole", "killed"))
    command = [sys.executable, "-m", "biomedjourney_monai.cli.main", "register", "--size", "192", "--processes", "2"]
    subprocess.run([*command, "--work", str(whole)], check=True, capture_output=True, timeout=300)
    process = subprocess.Popen([*command, "--work", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    record, deadline = killed / "register_pairs.jsonl", time.monotonic() + 280
    while not (record.is_file() and record.read_bytes().strip()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "pairs.parquet").exists()
    (killed / "images" / ".half-0123abcd.png").write_bytes(b"half")  # as if the kill had come within a write
    with record.open("a") as stream:
        stream.write('{"name": "cut')
    done = subprocess.run([*command, "--work", str(killed)], check=True, capture_output=True, text=True, timeout=300)
    images, pairs = done.stdout.splitlines()[0].split(";")
    assert images.startswith("images: 0 done, 35 found done") and " 0 found done" not in pairs
    assert contents_of(killed) == contents_of(whole)


def test_simpleitk_reads_the_transform_and_moves_the_image_as_the_run_did(work):
    run(work, size=96)
    pairs = pd.read_parquet(work / "pairs.parquet")
    for row in pairs[pairs["kept"]].itertuples():
        found = sitk.ReadTransform(str(work / row.transform_file))
        moving = sitk.GetImageFromArray(read_png(work / "images" / f"{row.new_dicom_id}.png"))
        moved = sitk.GetArrayFromImage(sitk.Resample(moving, moving, found, sitk.sitkLinear, 0.0))
        valid = read_mask(work / row.valid_mask)
        assert np.abs(moved - read_png(work / row.new_image))[valid].max() < 1 / 255


def test_mirrored_images_are_looked_for_only_when_asked(work):
    run(work)
    assert pd.read_parquet(work / "pairs.parquet")["mirrored_correlation"].isna().all()
    run(work, check_mirrored=True)
    pairs = pd.read_parquet(work / "pairs.parquet")
    assert (pairs.loc[pairs["kept"], "mirrored_correlation"] < pairs.loc[pairs["kept"], "gradient_correlation"]).all()
    pairs = pairs.assign(
        stretch=[(1.0, 1.0)] * len(pairs), drop_reason="", mirrored_correlation=1.0, gradient_correlation=0.9
    )
    assert set(decide(pairs)["drop_reason"]) == {"fits better mirrored"}


def test_an_image_that_cannot_be_used_between_two_is_counted(work):
    studies = pd.read_parquet(work / STUDIES_FILE)
    three = studies.groupby("subject_id").filter(lambda group: len(group) >= 3)
    assert len(three) >= 3
    Path(three["image_path"].iloc[1]).write_bytes(b"\xff\xd8\xff no more")
    run(work)
    counts = json.loads((work / "register_drops.json").read_text())
    assert counts["unreadable_between_two_readable"] == 1
    assert counts["dropped"]["image unreadable"] == 3 and counts["images_unreadable"] == 2


def test_what_falls_out_is_listed_behind_what_the_cohort_left_out(work):
    studies = pd.read_parquet(work / STUDIES_FILE)
    rejected = work / "rejected.csv"
    lateral = {"level": ["image"], "reason": ["view not PA"], "dicom_id": ["lateral"]}
    write_rejected(work, "cohort", pd.DataFrame(lateral))
    bad = studies[studies["subject_id"] == studies["subject_id"].value_counts().idxmax()].iloc[0]
    whole = Path(bad["image_path"]).read_bytes()
    Path(bad["image_path"]).write_bytes(whole[: len(whole) // 2])
    run(work)
    first = rejected.read_bytes()
    table = pd.read_csv(rejected, dtype=str, keep_default_na=False)
    assert tuple(table.columns) == REJECTED_COLUMNS and table["dicom_id"][0] == "lateral"
    mine = table[table["stage"] == "register"]
    image = mine[(mine["level"] == "image") & (mine["dicom_id"] == bad["dicom_id"])].iloc[0]
    assert image["reason"] == "image damaged" and image["image_path"] == bad["image_path"]
    pairs = pd.read_parquet(work / "pairs.parquet")
    dropped = pairs[~pairs["kept"]]
    listed = mine[mine["level"] == "pair"]
    assert listed["dicom_id"].tolist() == dropped["new_dicom_id"].tolist() != []
    assert listed["reason"].tolist() == dropped["drop_reason"].tolist()
    run(work)
    assert rejected.read_bytes() == first
    Path(bad["image_path"]).write_bytes(whole)
    run(work)
    assert bad["dicom_id"] not in rejected.read_text() and "lateral" in rejected.read_text()
    rejected.write_text("something else\n")
    with pytest.raises(TableError, match=r"rejected\.csv"):
        run(work)


def test_the_threshold_is_calibrated_on_pairs_within_the_limits():
    scores = np.linspace(0.1, 0.9, 41)
    measured = pd.DataFrame({"gradient_correlation": scores, "scale": 1.0, "rotation_degrees": 0.0, "overlap": 0.9})
    measured = measured.assign(shift_x_px=0.0, shift_y_px=0.0, mirrored_correlation=np.nan, drop_reason="", kept=True)
    measured["stretch"] = [(1.0, 1.0)] * len(measured)
    from biomedjourney_monai.schema import PAIR_COLUMNS

    measured = measured.reindex(columns=[*PAIR_COLUMNS, "stretch"])
    assert calibrated_score(measured, percentile=5) == pytest.approx(np.percentile(scores, 5))
    measured.loc[:5, "rotation_degrees"] = 40.0  # out of range: they do not count
    assert calibrated_score(measured, percentile=0) == pytest.approx(scores[6])
    with pytest.raises(TableError, match="at least 20 pairs"):
        calibrated_score(measured.head(20), percentile=5)


def test_real_radiographs_laterals_are_rejected_and_same_patient_frontals_kept(tmp_path):
    if not REAL.is_dir():
        pytest.skip("the real radiographs are not beside the project")
    studies = real_studies()
    frontal = studies[studies["view_position"] != "LATERAL"]
    laterals = studies[studies["view_position"] == "LATERAL"]
    follow = laterals.assign(  # each lateral as a later study of a patient with a frontal one
        subject_id=[f"9{number}" for number in range(len(laterals))], study_datetime=pd.Timestamp("2150-06-01")
    )
    first = frontal.head(len(laterals)).assign(
        subject_id=follow["subject_id"].to_numpy(),
        study_id=[f"first{number}" for number in range(len(laterals))],
        dicom_id=[f"first{number}" for number in range(len(laterals))],
    )
    work = write_studies(pd.concat([frontal, first, follow], ignore_index=True), tmp_path / "work")
    pairs = register_all(work, StudyLoader(256), PairRegistrar(), workers=Workers(2)).pairs
    lateral = pairs["new_dicom_id"].isin(laterals["dicom_id"])
    assert lateral.sum() == len(laterals) >= 5 and not pairs.loc[lateral, "kept"].any()
    assert (~lateral).sum() >= 10 and pairs.loc[~lateral, "kept"].mean() >= 0.85


def real_studies() -> pd.DataFrame:
    from biomedjourney_monai.schema import STUDY_COLUMNS

    table = pd.read_csv(REAL / "studies.csv")
    studies = pd.DataFrame(
        {
            "subject_id": table["patient"].astype(str),
            "study_id": [str(number) for number in range(len(table))],
            "dicom_id": [f"d{number}" for number in range(len(table))],
            "study_datetime": pd.Timestamp("2150-01-01") + pd.to_timedelta(table["offset_days"].fillna(0), unit="D"),
            "view_position": table["view_position"],
            "image_path": [str(REAL / "images" / name) for name in table["filename"]],
            "split": "train",
        }
    ).reindex(columns=list(STUDY_COLUMNS))
    texts = ["sex", "race", "report_path"]
    return studies.assign(**dict.fromkeys(texts, ""))


def test_the_loader_checks_views_when_asked(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (90, 90)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    image, content = StudyLoader(SIZE)(tmp_path / "noise.png")
    assert np.array_equal(image, load_with_content(tmp_path / "noise.png", size=SIZE)[0]) and content.all()
    with pytest.raises(Exception, match="upright frontal") as caught:
        StudyLoader(SIZE, check_views=True)(tmp_path / "noise.png")
    assert caught.value.reason == "view check: not_a_chest"


def test_the_stage_as_a_function_gives_the_files_and_their_counts(work, tmp_path):
    registered = register_pairs(work, size=SIZE, report=True, processes=1)
    pd.testing.assert_frame_equal(registered.pairs, pd.read_parquet(work / "pairs.parquet"), check_dtype=False)
    assert registered.counts == json.loads((work / "register_drops.json").read_text())
    assert (registered.images_done, registered.images_reused) == (7, 0) and registered.report.is_file()
    registered = register_pairs(work, size=SIZE, min_score=1.0, processes=1)
    assert (registered.images_done, registered.pairs_done, registered.report) == (0, 0, None)
    with pytest.raises(TableError, match="score below threshold 3"):
        require_pairs(registered)


def test_two_files_are_registered_and_judged(work, tmp_path):
    paths = pd.read_parquet(work / STUDIES_FILE)["image_path"][:2]
    result, reason = register_files(*paths, tmp_path / "out.png", size=SIZE)
    assert reason == "" and np.abs(read_png(tmp_path / "out.png") - result.image).max() < 1 / 255
    assert register_files(*paths, tmp_path / "out.png", size=SIZE, min_score=1.0)[1] == "score below threshold"


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"size": 8}, "size"), ({"min_score": 2.0}, "min_score"), ({"calibrate": 60}, "calibrate")],
)
def test_a_setting_out_of_range_is_named(work, settings, name):
    with pytest.raises(SettingError) as caught:
        register_pairs(work, **settings)
    assert caught.value.name == name and not (work / "images").exists()
    with pytest.raises(ConfigError, match="both set the threshold"):
        register_pairs(work, min_score=0.3, calibrate=5)
