import sys
from pathlib import Path

import pytest

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.training import run as training_run


@pytest.fixture
def started(monkeypatch):
    """The command lines that would have been started."""
    lines = []

    def call(command):
        lines.append(command)
        return 3

    monkeypatch.setattr(training_run.subprocess, "call", call)
    return lines


@pytest.mark.parametrize(
    ("stage", "files"),
    [
        ([], "{}/train.yaml"),
        (["--stage", "pretrain"], "['{}/train.yaml','{}/pretrain.yaml']"),
        (["--stage", "finetune"], "['{}/train.yaml','{}/finetune.yaml']"),
        (["--stage", "distill"], "['{}/train.yaml','{}/distill.yaml']"),
        (["--stage", "autoencoder"], "{}/train_autoencoder.yaml"),
    ],
)
def test_training_is_the_bundle_run(started, bundle, tmp_path, stage, files):
    status = main(["train", "--work", str(tmp_path), "--bundle", str(bundle), *stage, "--", "--learning_rate", "5e-4"])
    assert status == 3
    listed = files.format(*[bundle / "configs"] * 2)
    expected = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", listed]
    assert started == [[*expected, "--dataset_dir", str(tmp_path), "--learning_rate", "5e-4"]]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([], ["--dataset_dir", "{both}"]),
        (["--weights", "0.6", "0.4"], ["--dataset_dir", "{both}", "--weights", "[0.6, 0.4]"]),
        (["--stage", "autoencoder"], ["--dataset_dir", "{first}", "--image_dirs", "{both}"]),
    ],
)
def test_several_folders_are_a_mixture(started, bundle, tmp_path, more, expected):
    folders = [tmp_path / "real", tmp_path / "it's rendered"]
    for folder in folders:
        folder.mkdir()
    works = [text for folder in folders for text in ("--work", str(folder))]
    assert main(["train", *works, "--bundle", str(bundle), *more, "--", "--seed", "4"]) == 3
    names = {"both": repr([str(folder) for folder in folders]), "first": folders[0]}
    assert started[0][7:] == [*(text.format(**names) for text in expected), "--seed", "4"]


@pytest.mark.parametrize(("stage", "passed"), [("finetune", True), ("autoencoder", False)])
def test_another_text_encoder_goes_to_the_stages_that_read_text(started, bundle, tmp_path, stage, passed):
    main(["train", "--work", str(tmp_path), "--bundle", str(bundle), "--stage", stage, "--text-encoder", "towers/bert"])
    pairs = list(zip(started[0], started[0][1:]))
    assert (("--text_encoder_dir", str(Path("towers/bert").absolute())) in pairs) is passed


@pytest.mark.parametrize("between", [[], ["--overlay"]])
def test_overlays_lie_over_the_stage_in_the_order_given(started, bundle, tmp_path, between):
    configs = bundle / "configs"
    overlays = ["--overlay", str(configs / "sd15.yaml"), *between, str(configs / "gpu.yaml")]
    line = ["train", "--work", str(tmp_path), "--bundle", str(bundle), "--stage", "pretrain", *overlays]
    main([*line, "--", "--learning_rate", "5e-4"])
    names = ("train.yaml", "pretrain.yaml", "sd15.yaml", "gpu.yaml")
    listed = "[" + ",".join(f"'{(configs / name).resolve()}'" for name in names) + "]"
    assert started[0][started[0].index("--config_file") + 1] == listed
    assert started[0][-2:] == ["--learning_rate", "5e-4"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--bundle", "nowhere"], "must be a bundle folder"),
        (["--work", "nowhere"], "--work must be a working folder"),
        (["--overlay", "nowhere.yaml"], "no file nowhere.yaml"),
        (["--weights", "1", "2"], "one number for each --work; found 2 for 1"),
        (["--weights", "1", "--stage", "autoencoder"], "uses all images"),
    ],
)
def test_wrong_folders_are_one_line_and_nothing_starts(started, bundle, tmp_path, capsys, more, message):
    assert main(["train", "--work", str(tmp_path), "--bundle", str(bundle), *more]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert started == []


def test_an_override_before_the_dashes_is_refused(started, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", "--work", str(tmp_path), "--learning_rate", "5e-4"])
    assert end.value.code == 2
    assert started == []
