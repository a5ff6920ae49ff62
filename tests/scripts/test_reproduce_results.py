"""scripts/reproduce_results.sh prints commands that exist, runs each once, resumes, and says what failed."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "reproduce_results.sh"


def run(*words: str, path: Path | None = None) -> subprocess.CompletedProcess:
    first = [str(path)] if path else []
    found = os.pathsep.join([*first, str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", str(SCRIPT), *words], env={**os.environ, "PATH": found}, capture_output=True, text=True
    )


REAL = ["real", "switches"]


@pytest.mark.parametrize("size", [[], ["--quick"]], ids=["full", "quick"])
@pytest.mark.parametrize("tables", [[], REAL], ids=["rendered", "real"])
@pytest.mark.parametrize("pixels", ["128", "512"])
def test_every_command_exists_and_takes_its_arguments(size, tables, pixels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in {"CHESTXRAY14": ".", "EARLIER": "m.pt", "SD15": "sd15.pt", "SIZE": pixels}.items():
        monkeypatch.setenv(name, value)
    done = run("--dry-run", *size, *tables)
    assert done.returncode == 0 and not list(tmp_path.iterdir())
    commands = [shlex.split(line.split("] ", 1)[1]) for line in done.stdout.splitlines()]
    assert len(commands) > (15 if tables else 40)
    for program, *words in commands:
        if program == "biomedjourney":
            parser = argparse.ArgumentParser(exit_on_error=False)
            importlib.import_module(f"biomedjourney_monai.cli.{words[0].replace('-', '_')}").configure(parser)
            parser.parse_args(words[1:])
        elif program == "python":
            assert Path(words[0]).is_file(), words
        else:
            assert program in ("ablation_config", "switches_config", "prepared_by_first")


@pytest.fixture
def programs(tmp_path):
    """A folder with a `python` that records its calls, and fails where the file `broken` exists."""
    folder = tmp_path / "programs"
    folder.mkdir()
    program = folder / "python"
    program.write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/calls\ntest ! -e {tmp_path}/broken\n')
    program.chmod(0o755)
    return folder


def test_a_finished_command_is_not_run_again(programs, tmp_path):
    for _ in range(2):
        assert run("--out", str(tmp_path / "out"), "severity", path=programs).returncode == 0
    assert len((tmp_path / "calls").read_text().splitlines()) == 2  # with and without what stays


def test_a_failed_table_does_not_stop_the_others_and_is_tried_again(programs, tmp_path):
    (tmp_path / "broken").touch()
    done = run("--out", str(tmp_path / "out"), "severity", "laterality", path=programs)
    assert done.returncode == 1 and "failed: severity laterality" in done.stderr
    assert len((tmp_path / "calls").read_text().splitlines()) == 2
    (tmp_path / "broken").unlink()
    assert run("--out", str(tmp_path / "out"), "severity", "laterality", path=programs).returncode == 0


def test_an_unknown_table_is_refused_with_the_known_ones():
    done = run("severty")
    assert done.returncode == 2 and "severity" in done.stderr


def test_real_patients_need_a_download(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHESTXRAY14", str(tmp_path / "none"))
    done = run("--dry-run", "real")
    assert done.returncode == 2
    assert "CHESTXRAY14 must be the folder" in done.stderr
