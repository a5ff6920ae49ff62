import json

import numpy as np
import pandas as pd
import pytest

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
    from PIL import Image

    Image.fromarray(np.zeros((50, 50), np.uint8)).save(tmp_path / "flat.png")
    assert register("--prior", two_files[0], "--new", tmp_path / "flat.png", "--out", tmp_path / "o.png") == 2
    assert "contrast" in capsys.readouterr().err and not (tmp_path / "o.png").exists()
