import json

from biomedjourney_monai.cli.main import main


def test_weights_and_their_facts_are_written(tmp_path, capsys):
    line = ["train-outlines", "--out", str(tmp_path), "--images", "20", "--steps", "1", "--processes", "1"]
    assert main(line) == 0
    assert "19 rendered and 0 real films" in capsys.readouterr().out
    assert json.loads((tmp_path / "lung_outlines.json").read_text())["images"] == 20
    assert (tmp_path / "lung_outlines.pt").stat().st_size < 1e6


def test_mistakes_are_one_line_and_status_2(tmp_path, capsys):
    assert main(["train-outlines", "--out", str(tmp_path / "new"), "--images", "2"]) == 2
    assert len(capsys.readouterr().err.strip().split("\n")) == 1
    assert not (tmp_path / "new").exists()
