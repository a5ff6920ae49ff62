import io
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.radiographs import read_png


@pytest.fixture
def work(small_mimic, tmp_path):
    main(["cohort", "--source", str(small_mimic), "--work", str(tmp_path / "work")])
    main(["journeys", "--work", str(tmp_path / "work")])
    return tmp_path / "work"


@pytest.fixture
def two_files(small_mimic):
    return sorted((small_mimic / "files" / "p10" / "p10000001").glob("s*/*-*.jpg"))[:2]


def register(*arguments: object) -> int:
    return main(["register", *map(str, arguments)])


def test_a_working_folder(work, capsys):
    assert register("--work", work, "--size", 96, "--processes", 1) == 0
    pairs = pd.read_parquet(work / "pairs.parquet")
    assert pairs["kept"].tolist() == [True, True, True, False]
    assert json.loads((work / "register_drops.json").read_text())["dropped"] == {"image unreadable": 1}
    captured = capsys.readouterr()
    assert "3 pairs kept, dropped: image unreadable 1" in captured.out
    assert "pairs/s" in captured.err  # a bar with a rate
    assert not any(number in captured.out + captured.err for number in ("10000001", "50000009"))


def test_running_it_again_gives_the_same_bytes(work):
    register("--work", work, "--size", 64, "--processes", 1)
    first = {path.name: path.read_bytes() for path in (work / "images").iterdir()}
    register("--work", work, "--size", 64, "--processes", 1)
    assert {path.name: path.read_bytes() for path in (work / "images").iterdir()} == first


def encoded(picture: Image.Image, kind: str) -> bytes:
    picture.save(stream := io.BytesIO(), kind)
    return stream.getvalue()


def test_one_bad_image_never_ends_a_run_and_is_listed_with_its_reason(mimic, two_files, tmp_path):
    chest = Image.open(two_files[0]).convert("L")
    sixteen_bits, jpeg = Image.fromarray(np.asarray(chest, np.uint16) * 257), encoded(chest, "JPEG")
    images = {  # every one under a name that says JPEG
        jpeg: "",
        encoded(sixteen_bits, "PNG"): "",
        encoded(chest.convert("CMYK"), "JPEG"): "",
        jpeg[: len(jpeg) // 2]: "image damaged",
        b"": "image file empty",
        b"a letter": "unknown image format",
        encoded(Image.new("L", (60, 60), 9), "JPEG"): "image without contrast",
        b"gone": "image file missing",
        encoded(chest, "PNG"): "",
    }
    mimic.add_patient(10000009)
    for number, image in enumerate(images):
        mimic.add_study(10000009, 50000901 + number, date=f"215001{number + 1:02d}", image=image)
    source, work = mimic.write(), tmp_path / "work"
    main(["cohort", "--source", str(source), "--work", str(work), "--processes", "1"])
    studies = pd.read_parquet(work / "studies.parquet")
    studies = studies[studies["subject_id"] == "10000009"]
    reasons = dict(zip(studies["dicom_id"], images.values(), strict=True))
    Path(studies["image_path"].iloc[list(images.values()).index("image file missing")]).unlink()
    main(["journeys", "--work", str(work)])
    assert register("--work", work, "--size", 64, "--processes", 1) == 0
    rejected = pd.read_csv(work / "rejected.csv", dtype=str)
    rejected = rejected[(rejected["stage"] == "register") & (rejected["subject_id"] == "10000009")]
    listed = rejected[rejected["level"] == "image"]
    assert dict(zip(listed["dicom_id"], listed["reason"])) == {name: why for name, why in reasons.items() if why}
    pairs = pd.read_parquet(work / "pairs.parquet")
    pairs = pairs[pairs["subject_id"] == "10000009"]
    assert pairs["drop_reason"].tolist() == ["", "", *["image unreadable"] * 6]


def test_two_files(two_files, tmp_path, capsys):
    out = tmp_path / "out.png"
    assert register("--prior", two_files[0], "--new", two_files[1], "--out", out, "--size", 96) == 0
    assert read_png(out).shape == (96, 96)
    printed = capsys.readouterr().out
    assert "gradient correlation 0." in printed and "would be kept" in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["--prior", "a.png"],
        ["--prior", "a.png", "--new", "b.png", "--out", "c.png"],
        ["--size", "5"],
        ["--min-score", "2"],
        ["--processes", "-1"],
        ["--calibrate", "60"],
        ["--calibrate", "--min-score", "0.3"],
        ["--transform", "deformable"],
        ["--transform", "deformable", "--accept-erased-disease", "--toolkit", "elastix"],
        [],
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    assert register(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_keeps_nothing_fails(work, capsys):
    assert register("--work", work, "--size", 64, "--processes", 1, "--min-score", 1) == 2
    assert "score below threshold 3" in capsys.readouterr().err


def test_a_constant_picture_is_refused(tmp_path, two_files, capsys):
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(tmp_path / "flat.png")
    assert register("--prior", two_files[0], "--new", tmp_path / "flat.png", "--out", tmp_path / "o.png") == 2
    assert "contrast" in capsys.readouterr().err and not (tmp_path / "o.png").exists()


def pairs_of(work, *options: object) -> pd.DataFrame:
    assert register("--work", work, "--size", 64, "--processes", 1, *options) == 0
    return pd.read_parquet(f"{work}/pairs.parquet")


def invert(path) -> None:
    with Image.open(path) as picture:
        inverted = ImageOps.invert(picture)
    inverted.save(path)


def test_the_transform_is_chosen(work):
    assert pairs_of(work)["scale"].dropna().nunique() == 3
    assert (pairs_of(work, "--transform", "rigid")["scale"].dropna() - 1).abs().max() < 1e-9
    still = pairs_of(work, "--transform", "none", "--min-score", "-1")
    assert (still[["shift_x_px", "shift_y_px", "rotation_degrees"]].dropna() == 0).all(axis=None)


def test_deformable_registration_says_what_it_erases(work, capsys):
    assert register("--work", work, "--size", 64, "--transform", "deformable") == 2
    assert "undoes 56-98 %" in capsys.readouterr().err and not (work / "pairs.parquet").exists()
    pairs = pairs_of(work, "--transform", "deformable", "--accept-erased-disease", "--min-score", "0")
    assert "BSpline" in (work / pairs["transform_file"][0]).read_text()


@pytest.mark.slow
def test_elastix_is_chosen(work):
    pairs = pairs_of(work, "--toolkit", "elastix")
    assert pairs["kept"].sum() == 3
    assert not np.allclose(pairs["shift_x_px"].dropna(), pairs_of(work)["shift_x_px"].dropna(), atol=1e-6)


def test_mirrored_images_are_looked_for(work, two_files, tmp_path, capsys):
    assert pairs_of(work, "--check-mirrored")["mirrored_correlation"].notna().sum() == 3
    with Image.open(two_files[1]) as picture:
        ImageOps.mirror(picture).save(tmp_path / "mirrored.png")
    line = [
        "--prior",
        two_files[0],
        "--new",
        tmp_path / "mirrored.png",
        "--out",
        tmp_path / "o.png",
        "--check-mirrored",
    ]
    assert register(*line) == 0
    assert "would be dropped: fits better mirrored" in capsys.readouterr().out


def test_views_are_checked(work):
    invert(pd.read_parquet(work / "studies.parquet")["image_path"][0])
    assert pairs_of(work, "--check-views")["drop_reason"].str.startswith("view check: ").any()


def test_the_threshold_is_calibrated(work, capsys):
    assert register("--work", work, "--size", 64, "--processes", 1, "--calibrate") == 2
    assert "at least 20 pairs" in capsys.readouterr().err
    journeys = pd.read_parquet(work / "journeys.parquet").head(3)
    pd.concat([journeys] * 7, ignore_index=True).to_parquet(work / "journeys.parquet")
    pairs = pairs_of(work, "--calibrate", "10", "--report")
    counts = json.loads((work / "register_drops.json").read_text())
    assert counts["min_score"] == pytest.approx(pairs["gradient_correlation"].quantile(0.1))
    assert counts["calibrated_at_percentile"] == 10
    assert "(calibrated)" in capsys.readouterr().out
    assert "the threshold is percentile 10.0" in (work / "register_report.html").read_text()


def test_an_existing_scheduler_does_the_work_and_gives_the_same_bytes(work, tmp_path, monkeypatch):
    from distributed import LocalCluster

    other = shutil.copytree(work, tmp_path / "other")
    pairs_of(work)
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with LocalCluster(**options, silence_logs=logging.CRITICAL, local_directory=str(tmp_path)) as cluster:
        monkeypatch.chdir(tmp_path)  # the worker stays where it was
        pairs_of("other", "--scheduler", cluster.scheduler_address)
    names = [path.name for path in (work / "images").iterdir()]
    assert names and all((work / "images" / n).read_bytes() == (other / "images" / n).read_bytes() for n in names)
    assert (work / "pairs.parquet").read_bytes() == (other / "pairs.parquet").read_bytes()


def test_an_input_is_not_overwritten(two_files, capsys):
    before = two_files[0].read_bytes()
    assert register("--prior", two_files[0], "--new", two_files[1], "--out", two_files[0]) == 2
    assert "found the prior" in capsys.readouterr().err
    assert two_files[0].read_bytes() == before
