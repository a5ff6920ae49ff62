"""The script that trains the shipped weights: its commands exist, in order, and it continues where it stopped."""

import argparse
import importlib
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from biomedjourney_monai.cli.main import VERBS
from biomedjourney_monai.configuration import overrides, refuse_unknown_overrides

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "make_weights.sh"
STAND_IN = '#!/bin/bash\necho "$*" >> "$LOG"\n! grep -q "$BREAK_AT" <<< "$*"\n'
"""Takes the place of both commands: notes its arguments and fails where it is told to."""


def run_script(*arguments, **environment):
    line = ["bash", str(SCRIPT), *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def commands():
    done = run_script("--dry-run", "out")
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines() if not line.startswith("#")]


def test_the_script_is_valid_bash():
    assert subprocess.run(["bash", "-n", str(SCRIPT)], timeout=60).returncode == 0


def test_every_verb_takes_its_arguments(commands):
    used = [command[1:] for command in commands if command[0] == "biomedjourney"]
    assert len(used) > 20
    for verb, *arguments in used:
        assert verb in VERBS
        parser = argparse.ArgumentParser()
        importlib.import_module(f"biomedjourney_monai.cli.{verb.replace('-', '_')}").configure(parser)
        parser.parse_args(arguments)


def test_every_training_overrides_keys_that_exist(commands):
    trainings = [command for command in commands if "monai.bundle" in command]
    assert len(trainings) == 6
    for command in trainings:
        refuse_unknown_overrides(ROOT / "bundle", arguments=["monai.bundle", *command[3:]])


def test_the_trainings_have_the_shipped_settings_in_order(commands):
    settings = [dict(overrides(command)) for command in commands if "monai.bundle" in command]
    assert [(each["max_epochs"], each["learning_rate"], each.get("seed")) for each in settings] == [
        ("22", "6e-4", None),
        ("60", "6e-4", None),
        ("50", "6e-4", None),
        ("60", "8e-4", "2"),
        ("12", "4e-4", "3"),
        ("44", "6e-4", "4"),
    ]
    assert ["denoiser#residual_to_prior" in each for each in settings] == [True] * 3 + [False] * 3
    assert len({each["output_dir"] for each in settings}) == 6
    cohorts = [command[-3:] for command in commands if command[1] == "phantom"]
    assert cohorts == [["1220", "--seed", "20261"], ["2900", "--seed", "20263"], ["8000", "--seed", "20266"]]


def test_a_dry_run_writes_nothing(tmp_path):
    run_script("--dry-run", str(tmp_path / "out"))
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_continues_with_the_step_that_failed(tmp_path):
    for name in ("biomedjourney", "python"):
        (tmp_path / name).write_text(STAND_IN)
        (tmp_path / name).chmod(0o755)
    out, log = tmp_path / "out", tmp_path / "log"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(log), "PYTHON": str(tmp_path / "python")}
    assert run_script(str(out), **environment, BREAK_AT="stage autoencoder").returncode != 0
    assert (out / "done").read_text().split() == ["text_tower", "judges", "first_cohort"]
    log.unlink()
    run_script(str(out), **environment, BREAK_AT="^encode")
    assert log.read_text().splitlines()[0].startswith("train --work")
    assert (out / "done").read_text().split()[-1] == "autoencoder"


def test_an_unknown_option_is_refused():
    done = run_script("--dry")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown option --dry" in done.stderr
