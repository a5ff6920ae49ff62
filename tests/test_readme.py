"""The commands that README.md prints are run as they stand; only sizes are cut down."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biomedjourney_monai.cli.main import VERBS, main
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import render_visit

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "bundle" / "docs").glob("*.md"))]
FEW = {
    "train_autoencoder.yaml": ["--max_epochs", "1", "--epoch_length", "1", "--batch_size", "4"],
    "train.yaml": "--pretrain_epochs 1 --finetune_epochs 1 --epoch_length 1 --batch_size 2".split(),
}


def commands(page: Path) -> list[list[str]]:
    """Every command of the page's shell blocks, split as a shell does."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def verb_arguments(command: list[str]) -> list[str] | None:
    """The arguments after `biomedjourney`, or None if the command is another."""
    places = [index for index, word in enumerate(command) if Path(word).name == "biomedjourney"]
    return command[places[0] + 1 :] if places else None


def bundle_arguments(command: list[str]) -> list[str] | None:
    """The arguments after `python -m monai.bundle`, or None if the command is another."""
    return command[3:] if command[1:3] == ["-m", "monai.bundle"] else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_verb_on_the_page_exists_and_takes_the_arguments_shown(page):
    for command in commands(page):
        arguments = verb_arguments(command)
        if arguments:
            assert arguments[0] in VERBS
            module = importlib.import_module(f"biomedjourney_monai.cli.{arguments[0].replace('-', '_')}")
            parser = argparse.ArgumentParser(exit_on_error=False)
            module.configure(parser)
            parser.parse_args(arguments[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_the_page_links_to_exists(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_make_target_on_the_pages_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {command[1] for page in PAGES for command in commands(page) if command[0] == "make"}
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


@pytest.fixture
def chest(tmp_path, monkeypatch):
    """A folder with the `chest.jpg` of the examples in it, as the current folder."""
    monkeypatch.chdir(tmp_path)
    patient = draw_patient(5, 0, stream="controls")
    image = render_visit(patient, patient.visits[0], size=300, view_position="PA").image[:, 20:280]
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save("chest.jpg")
    return tmp_path


def test_sample_runs_as_the_readme_prints_it(chest):
    shown = [verb_arguments(command) for command in commands(ROOT / "README.md")]
    (line,) = [arguments for arguments in shown if arguments and arguments[0] == "sample"]
    assert main(line) == 0
    with Image.open("counterfactual.png") as picture:
        assert picture.size == (260, 300)
        assert "SYNTHETIC" in picture.info["Comment"]


@pytest.mark.slow
def test_bundle_commands_run_as_the_readme_prints_them(chest):
    for line in (
        "phantom --out cohort --patients 40 --seed 3 --size 128",
        "cohort --source cohort --work work",
        "journeys --work work",
        "register --work work",
        "describe --work work",
        "encode --work work",
        "sample --work work --split test --steps 2",
    ):
        assert main(line.split()) == 0, line
    (chest / "bundle").symlink_to(ROOT / "bundle")
    shown = [arguments for arguments in map(bundle_arguments, commands(ROOT / "README.md")) if arguments]
    assert len(shown) == 4
    for arguments in shown:
        config = Path(arguments[arguments.index("--config_file") + 1]).name
        if config == "train.yaml":
            assert main(["encode", "--work", "work"]) == 0  # the autoencoder was trained anew
        run = subprocess.run(
            [sys.executable, "-m", "monai.bundle", *arguments, *FEW.get(config, [])],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr[-2000:]
    assert (chest / "work" / "runs" / "finetune" / "model.pt").is_file()
    assert list((chest / "out").glob("*.png"))
