import json

import pytest

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.evaluation.judges.loading import load_judges


def _train(out, *more):
    return main(["train-judges", "--out", str(out), "--images", "20", "--steps", "1", "--processes", "1", *more])


def test_writes_judges_that_load_and_their_marks(tmp_path, capsys):
    assert _train(tmp_path) == 0
    marks = json.loads((tmp_path / "phantom_judges.json").read_text())
    assert marks["files"] == load_judges(tmp_path).provenance()["files"]
    assert (marks["trained_on"], marks["held_out"]) == (17, 3)
    assert "dice spine" in marks["held_out_marks"]
    assert "trained on 17 patients" in capsys.readouterr().out


@pytest.mark.parametrize("more", [["--images", "5"], ["--steps", "0"]])
def test_too_little_is_refused(tmp_path, capsys, more):
    assert _train(tmp_path, *more) == 2
    assert "must be >=" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
