import numpy as np
import pandas
import pytest
from PIL import Image

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.files import read_json_lines, write_json_lines


def test_report_without_an_evaluation_says_what_to_run(tmp_path, capsys):
    assert main(["report", "--work", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "biomedjourney evaluate" in error
    assert error.count("\n") == 1


def test_a_picture_of_sampled_journeys_is_drawn_as_asked(prepared, tmp_path, capsys):
    rows = [{"journey_id": f"j{n:06}", "index": n, "progression_description": "New edema."} for n in range(3)]
    write_json_lines(prepared / "samples" / "samples.jsonl", rows)
    np.save(prepared / "samples" / "counterfactuals.npy", np.zeros((3, 128, 128), np.float16))
    triples = read_json_lines(prepared / "triples.jsonl", made_by="describe")
    pandas.DataFrame(triples).to_parquet(prepared / "pairs.parquet")
    out = tmp_path / "journeys.jpg"
    line = ["report", "--work", str(prepared), "--picture", str(out), "--picture-journeys", "2"]
    assert main(line) == 2  # there is no evaluation for the page
    assert f"wrote {out}" in capsys.readouterr().out
    with Image.open(out) as picture:
        assert picture.format == "JPEG" and picture.width == 1024 and 512 < picture.height < 768


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        (["--picture", "journeys.gif"], "--picture must end in .jpg, .jpeg, .png; found .gif"),
        (["--picture", "journeys.jpg", "--picture-journeys", "0"], "--picture-journeys must be >= 1"),
    ],
)
def test_a_picture_that_cannot_be_is_refused(tmp_path, capsys, more, rule):
    assert main(["report", "--work", str(tmp_path), *more]) == 2
    assert rule in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--panels", "--seed"])
def test_negative_numbers_are_refused(tmp_path, capsys, option):
    assert main(["report", "--work", str(tmp_path), option, "-1"]) == 2
    assert "must be >= 0" in capsys.readouterr().err
