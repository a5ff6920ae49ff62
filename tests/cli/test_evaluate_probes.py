import importlib.util
import json
from pathlib import Path

import pytest

from biomedjourney_monai.cli.main import main

_PATH = Path(__file__).parents[1] / "evaluation" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("evaluation_fixtures_for_probes", _PATH)
_FIXTURES = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_FIXTURES)
models = _FIXTURES.models


@pytest.fixture
def work(tmp_path):
    _FIXTURES.write_working_folder(tmp_path, journeys=8, size=128)
    rows = [{"journey_id": f"j{n:06}", "progression_description": "New mild edema."} for n in range(4)]
    (tmp_path / "triples.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


@pytest.fixture
def evaluate(work, models, random_model, bundle):
    def run(*more):
        line = ["evaluate", "--work", str(work), "--models", str(models), "--bootstrap", "4", "--bundle", str(bundle)]
        return main([*line, "--model", str(random_model), "--steps", "1", *more])

    return run


def test_probes_join_the_metrics(evaluate, work, capsys):
    assert evaluate("--probes", "2", "--probe-batch", "2") == 0
    probes = json.loads((work / "metrics.json").read_text())["probes"]
    assert probes["journeys"] == 2
    drift = probes["metrics"]["composition_drift"]
    assert 0 < drift["overall"]["value"] < 1
    assert drift["overall"]["count"] == 2
    assert set(drift) == {"overall", "after 1", "after 2", "after 3"}
    assert 0 < probes["metrics"]["diversity_ms_ssim"]["overall"]["value"] < 1
    assert "composition_drift" in capsys.readouterr().out


def test_probes_without_descriptions_are_refused_and_nothing_is_written(evaluate, work, capsys):
    (work / "triples.jsonl").unlink()
    assert evaluate("--probes", "2") == 2
    assert "triples.jsonl" in capsys.readouterr().err
    assert not (work / "metrics.json").exists()
