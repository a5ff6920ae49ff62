"""Every benchmark starts: its imports and arguments are those of the package."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).resolve().parents[2] / "scripts" / "benchmarks").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda script: script.stem)
def test_help_is_printed(script):
    done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    assert "usage:" in done.stdout or "argparse" not in script.read_text(encoding="utf-8")


@pytest.mark.slow
def test_no_unusual_file_or_list_crashes_is_misread_or_shown():
    script = next(path for path in BENCHMARKS if path.stem == "unusual_files")
    done = subprocess.run([sys.executable, str(script), "--count", "60"], capture_output=True, text=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert all(figures["bars"].values()), figures["figures"]
    assert sum(figures["figures"]["counts"].values()) == 60
