import json

import pytest

from biomedjourney_monai.evaluation.page.tracking import compared_numbers, default_uri, log_evaluation, parameters


def _number(value):
    return {"value": value, "low": 0.25, "high": None, "count": 1, "note": ""}


@pytest.fixture
def metrics():
    metrics = {f"metric {n}": {"overall": _number(n / 1000)} for n in range(600)}
    metrics["cmig"] = {"overall": _number(0.5), "left/right": _number(None)}
    return {
        "settings": {"split": "test", "seed": 3},
        "counts": {"scored": 7, "dropped": {"x": 1}},
        "model": {"sha256": "abc"},
        "judges": {"name": "phantom", "files": {"a.pt": "def"}},
        "systems": [{"name": "real reference", "metrics": metrics}],
    }


def test_the_numbers_are_those_that_evaluate_prints(metrics):
    assert compared_numbers(metrics) == {"real reference/cmig": 0.5}
    metrics["systems"].append({"name": "counterfactual", "metrics": {"cmig": {"overall": _number(0.25)}}})
    metrics["systems"][1]["further"] = {"others_moved": {"overall": _number(0.125)}, "x": {"overall": _number(1)}}
    assert compared_numbers(metrics) == {
        "real reference/cmig": 0.5,
        "counterfactual/cmig": 0.25,
        "counterfactual/others_moved": 0.125,
    }


def test_settings_counts_model_and_judges_are_parameters(metrics):
    assert parameters(metrics) == {
        "split": "test",
        "seed": 3,
        "count_scored": 7,
        "model_sha256": "abc",
        "judges": "phantom",
        "judge_a.pt": "def",
    }


def test_a_run_holds_the_numbers_and_the_files_and_a_second_evaluation_is_a_second_run(metrics, tmp_path):
    from mlflow.tracking import MlflowClient

    page = tmp_path / "index.html"
    page.write_text("a page")
    uri = default_uri(tmp_path)
    client = MlflowClient(tracking_uri=uri)
    run = client.get_run(log_evaluation(metrics, [page], uri=uri))
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"real reference/cmig": 0.5}
    table = json.loads(next((tmp_path / "runs" / "mlartifacts").rglob("numbers.json")).read_text())
    assert "system" in table["columns"] and len(table["data"]) > 600
    assert run.data.params["judges"] == "phantom"
    (stored,) = (tmp_path / "runs" / "mlartifacts").rglob("index.html")
    assert stored.read_text() == "a page"

    again = log_evaluation(metrics, [], uri=uri)
    found = client.search_runs([client.get_experiment_by_name("biomedjourney").experiment_id])
    assert {each.info.run_id for each in found} == {run.info.run_id, again}


def test_a_working_folder_may_be_moved_and_have_any_name(metrics, tmp_path):
    from mlflow.tracking import MlflowClient

    page = tmp_path / "index.html"
    page.write_text("a page")
    old, new = tmp_path / "old", tmp_path / "a b?c#d%20e"
    first = log_evaluation(metrics, [page], uri=default_uri(old))
    old.rename(new)
    uri = default_uri(new)
    second = log_evaluation(metrics, [page], uri=uri)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["index.html", new.name])
    stored = sorted(path.parts[-3] for path in (new / "runs" / "mlartifacts").rglob("index.html"))
    assert stored == sorted([first, second])
    client = MlflowClient(tracking_uri=uri)
    (tmp_path / "fetched").mkdir()
    for run in (first, second):
        client.download_artifacts(run, "index.html", str(tmp_path / "fetched"))
        assert (tmp_path / "fetched" / "index.html").read_text() == "a page"
