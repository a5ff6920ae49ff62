import cv2
import pandas
import pytest

from biomedjourney_monai.cli.main import main


def test_a_cohort_is_written(tmp_path, capsys):
    out = tmp_path / "phantom"
    assert main(f"phantom --out {out} --patients 2 --seed 1 --size 64 --processes 1".split()) == 0
    assert "2 patients" in capsys.readouterr().out
    assert (out / "planted.csv").is_file() and list(out.glob("files/*/*/*.txt"))


def test_true_counterfactuals_are_of_the_splits_that_are_named(tmp_path):
    line = f"phantom --out {tmp_path / 'phantom'} --patients 4 --seed 1 --size 64 --processes 1".split()
    assert main(line) == 0
    assert not (tmp_path / "phantom" / "truth").exists()
    rows = pandas.read_csv(tmp_path / "phantom" / "mimic-cxr-2.0.0-split.csv.gz", dtype=str)
    split_of = dict(zip(rows["dicom_id"], rows["split"]))
    assert set(split_of.values()) >= {"train", "test"}
    for wanted in ([], ["train"], ["train", "test"]):
        assert main([*line, "--truth", *wanted]) == 0
        truths = pandas.read_csv(tmp_path / "phantom" / "truth" / "truth.csv", dtype=str)
        assert {split_of[prior] for prior in truths["prior_dicom_id"]} == set(wanted or ["test"])


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_contact_sheet_is_drawn(tmp_path, suffix):
    path = tmp_path / f"sheet.{suffix}"
    assert main(f"phantom --sheet {path} --size 64".split()) == 0
    assert cv2.imread(str(path)).shape[0] == 8 * 64


def test_mistakes_are_one_line_and_status_2(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("x")
    assert main(["phantom"]) == 2
    assert main(["phantom", "--out", str(tmp_path)]) == 2
    assert main(["phantom", "--sheet", str(tmp_path / "sheet.gif")]) == 2
    errors = capsys.readouterr().err.strip().split("\n")
    assert len(errors) == 3 and all(line.startswith("error: ") for line in errors)


def test_findings_on_real_films_need_two_folders(tmp_path, capsys):
    assert main(["phantom", "--onto", str(tmp_path)]) == 2
    assert "--onto needs --out" in capsys.readouterr().err
    assert main(["phantom", "--onto", str(tmp_path), "--out", str(tmp_path / "onto")]) == 2
    error = capsys.readouterr().err
    assert "studies.parquet must exist" in error and "biomedjourney cohort" in error
    assert not (tmp_path / "onto").exists()
