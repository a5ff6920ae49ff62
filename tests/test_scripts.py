"""One script per verb, for those who look in scripts/; each runs the verb and nothing else."""

import runpy
import sys
from pathlib import Path

import pytest

from biomedjourney_monai.cli.main import VERBS

SCRIPTS = Path(__file__).parents[1] / "scripts"


def test_there_is_a_script_for_each_verb():
    assert {path.stem.replace("_", "-") for path in SCRIPTS.glob("*.py")} == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_each_script_runs_its_verb(verb, monkeypatch, capsys):
    script = SCRIPTS / f"{verb.replace('-', '_')}.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as exit:
        runpy.run_path(str(script), run_name="__main__")
    assert exit.value.code == 0
    assert f"usage: biomedjourney {verb}" in capsys.readouterr().out
