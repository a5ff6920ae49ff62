"""The evaluation config gives the numbers of `biomedjourney evaluate`."""

import csv
import importlib.util
import sys
from pathlib import Path

import pytest
from monai.bundle import ConfigWorkflow

from biomedjourney_monai.evaluation.comparison import compare_systems
from biomedjourney_monai.evaluation.journeys import EvaluationSettings
from biomedjourney_monai.evaluation.judges.loading import load_judges

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundle"
METRICS = {
    "cmig",
    "cmig_with_dice",
    "pathology_auroc",
    "changed_auroc",
    "race_auroc",
    "age_r",
    "kl",
    "kl_binary",
    "dice_reference",
    "dice_prior",
}

_SPEC = importlib.util.spec_from_file_location(
    "evaluation_fixtures", Path(__file__).parents[1] / "evaluation" / "conftest.py"
)
_FIXTURES = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_FIXTURES)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Twenty test journeys with samples; one prior and one reference cannot be read."""
    folder = tmp_path_factory.mktemp("work")
    _FIXTURES.write_working_folder(folder, journeys=40)
    _FIXTURES.write_samples(folder, count=20)
    (folder / "images" / "j000003_prior.png").write_bytes(b"cut short")
    (folder / "images" / "j000007_new.png").unlink()
    return folder


@pytest.fixture(scope="module")
def expected(work):
    """System -> metric -> number, as the command line computes them."""
    content, _ = compare_systems(work, load_judges(BUNDLE / "models"), settings=EvaluationSettings(bootstrap=0))
    return {
        system["name"]: {name: parts["overall"]["value"] for name, parts in system["metrics"].items()}
        for system in content["systems"]
    }


def _evaluate(work, out, **overrides):
    workflow = ConfigWorkflow(
        config_file=str(BUNDLE / "configs" / "evaluate.yaml"),
        workflow_type="evaluation",
        logging_file=False,
        run_id="evaluation",
        bundle_root=str(BUNDLE),
        dataset_dir=str(work),
        output_dir=str(out),
        **overrides,
    )
    workflow.initialize()
    workflow.run()
    return workflow


@pytest.fixture(autouse=True)
def own_excepthook(monkeypatch):
    """`initialize` sets a hook that shows errors as one line."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


@pytest.mark.parametrize("system", ["counterfactual", "copy-prior", "real reference"])
def test_the_numbers_are_those_of_the_command_line(work, expected, tmp_path, system):
    _evaluate(work, tmp_path, system=system, batch_size=7)
    with (tmp_path / "metrics.csv").open() as stream:
        found = {name: float(value) for name, value in csv.reader(stream)}
    assert set(found) == METRICS
    assert found == pytest.approx({name: expected[system][name] for name in METRICS}, abs=1e-5, nan_ok=True)


def test_the_workflow_has_monais_properties(work, tmp_path):
    assert _evaluate(work, tmp_path, limit=6).check_properties() == []


@pytest.mark.parametrize("key, value", [("unmentioned", "positive"), ("limit", 8), ("uncertain", "negative")])
def test_the_choices_are_those_of_the_command_line(work, tmp_path, key, value):
    settings = EvaluationSettings(bootstrap=0, **{key: value})
    content, _ = compare_systems(work, load_judges(BUNDLE / "models"), settings=settings)
    metrics = next(system["metrics"] for system in content["systems"] if system["name"] == "counterfactual")
    found = _evaluate(work, tmp_path, **{key: value}).evaluator.state.metrics
    assert found["pathology_auroc"] == pytest.approx(metrics["pathology_auroc"]["overall"]["value"], abs=1e-5)


def test_from_the_command_line(work, expected, tmp_path, run_bundle):
    result = run_bundle("evaluating", "evaluate.yaml", "--dataset_dir", work, "--output_dir", tmp_path / "out")
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Scored 17 journeys of 10 patients; dropped: 3 low score." in result.stderr
    assert "images not scored" in result.stderr
    assert "cut short" not in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["metrics.csv"]
    with (tmp_path / "out" / "metrics.csv").open() as stream:
        found = {name: float(value) for name, value in csv.reader(stream)}
    assert found == pytest.approx({name: expected["counterfactual"][name] for name in METRICS}, abs=1e-5, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more, message",
    [
        (["--split", "validate"], "split 'validate'"),
        (["--system", "nobody"], "system must be one of"),
        (["--judges_dir", "nowhere"], "phantom_classifier.pt"),
        (["--dataset_dir", "nowhere"], "biomedjourney register"),
        (["--systems", "copy-prior"], "Did you mean --system?"),
    ],
)
def test_mistakes_end_with_one_line(work, tmp_path, run_bundle, more, message):
    out = tmp_path / "out"
    result = run_bundle("run", "evaluate.yaml", "--dataset_dir", work, "--output_dir", out, *more)
    assert result.returncode != 0
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not out.exists()
