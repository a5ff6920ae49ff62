import pytest

from biomedjourney_monai.cli.main import main


def test_the_verb_trains_probes_and_writes_a_folder(tmp_path, capsys, monkeypatch):
    import biomedjourney_monai.training.text_tower.train as text_probe

    monkeypatch.setattr(text_probe.probe_meaning, "__kwdefaults__", {"texts": 30, "steps": 5})
    arguments = ["train-text", "--out", str(tmp_path), "--images", "8", "--steps", "1", "--processes", "1"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "recall@1" in printed and "mean_side" in printed and str(tmp_path) in printed
    assert {file.name for file in tmp_path.iterdir()} >= {"open_clip_config.json", "vocab.txt", "training.json"}


@pytest.mark.parametrize("wrong", [["--images", "4"], ["--steps", "0"], ["--images", "0"]])
def test_wrong_numbers_are_one_line_and_status_2(tmp_path, capsys, wrong):
    assert main(["train-text", "--out", str(tmp_path / "tower"), "--images", "8", "--processes", "1", *wrong]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "tower").exists()
