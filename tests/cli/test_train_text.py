import pytest

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.cli.train_text import reported_texts


def test_impression_comes_first_then_findings_without_the_rest():
    report = (
        "                 FINAL REPORT\n EXAMINATION:  CHEST (PA)\n \n HISTORY:  ___ with fever.\n \n"
        " FINDINGS:  Heart size is normal.\n There is a\n small effusion.\n \n IMPRESSION: \n \n 1. Small effusion.\n"
    )
    assert reported_texts(report) == ["1. Small effusion.", "Heart size is normal. There is a small effusion."]


def test_a_conclusion_and_a_combined_section_count():
    assert reported_texts(" CONCLUSION:  Edema.\n") == ["Edema."]
    assert reported_texts(" HISTORY: x\n\n FINDINGS AND IMPRESSION:  Clear lungs.\n") == ["Clear lungs."]


def test_without_headings_the_last_paragraph_counts():
    assert reported_texts(" FINAL REPORT\n \n Chest PA.\n \n No effusion.\n Clear lungs.") == [
        "No effusion. Clear lungs."
    ]


@pytest.mark.parametrize("report", ["x", " IMPRESSION:\n", ":", "A:B"])
def test_every_report_that_is_not_blank_has_a_text(report):
    assert all(reported_texts(report))


def test_the_verb_trains_probes_and_writes_a_folder(tmp_path, capsys, monkeypatch):
    import biomedjourney_monai.training.text_tower.probe as text_probe

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
