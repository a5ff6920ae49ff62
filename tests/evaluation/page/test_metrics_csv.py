import csv
import json
import math

import pytest

from biomedjourney_monai.evaluation.page.metrics_csv import (
    COLUMNS,
    compared_numbers,
    default_uri,
    log_evaluation,
    metric_rows,
    parameters,
    system_metrics,
    write_metrics_csv,
)


def _number(value, note=""):
    return {"value": value, "low": None, "high": 0.75, "count": 3, "note": note}


@pytest.fixture
def metrics():
    return {
        "systems": [
            {
                "name": "model",
                "meaning": "A model, with a comma.",
                "failures": {"unreadable": 2},
                "metrics": {"cmig": {"overall": _number(0.5)}},
                "novel section": {"novel metric": {"overall": _number(None, "why, not"), "left": _number(math.nan)}},
                "subgroups": {"sex": {"F": {"journeys": 4, "metrics": {"cmig": _number(0.25)}}}},
            }
        ]
    }


def test_every_number_is_a_row_also_of_sections_that_are_new(metrics, tmp_path):
    assert write_metrics_csv(metrics, tmp_path / "metrics.csv") == 4
    with (tmp_path / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["attribute"], row["group"], row["metric"], row["part"], row["value"]) for row in rows] == [
        ("", "", "cmig", "overall", "0.5"),
        ("", "", "novel metric", "overall", ""),
        ("", "", "novel metric", "left", ""),
        ("sex", "F", "cmig", "overall", "0.25"),
    ]
    assert rows[1]["note"] == "why, not" and rows[0]["low"] == "" and rows[0]["high"] == "0.75"


def test_what_is_no_metric_is_left_out(metrics):
    assert list(system_metrics(metrics["systems"][0])) == ["cmig", "novel metric"]
    assert all(row["metric"] != "unreadable" for row in metric_rows(metrics))


def test_what_was_measured_of_the_model_alone_is_in_the_table_too(metrics):
    metrics["systems"][0]["name"] = "counterfactual"
    metrics["probes"] = {"journeys": 2, "metrics": {"drift": {"overall": _number(0.5)}}}
    assert ("counterfactual", "drift") in {(row["system"], row["metric"]) for row in metric_rows(metrics)}


def _bounded(value):
    return {"value": value, "low": 0.25, "high": None, "count": 1, "note": ""}


@pytest.fixture
def evaluated():
    evaluated = {f"metric {n}": {"overall": _bounded(n / 1000)} for n in range(600)}
    evaluated["cmig"] = {"overall": _bounded(0.5), "left/right": _bounded(None)}
    return {
        "settings": {"split": "test", "seed": 3},
        "counts": {"scored": 7, "dropped": {"x": 1}},
        "model": {"sha256": "abc"},
        "judges": {"name": "phantom", "files": {"a.pt": "def"}},
        "systems": [{"name": "real reference", "metrics": evaluated}],
    }


def test_the_numbers_are_those_that_evaluate_prints(evaluated):
    assert compared_numbers(evaluated) == {"real reference/cmig": 0.5}
    evaluated["systems"].append({"name": "counterfactual", "metrics": {"cmig": {"overall": _bounded(0.25)}}})
    evaluated["systems"][1]["further"] = {
        "others_moved": {"overall": _bounded(0.125)},
        "x": {"overall": _bounded(1)},
    }
    assert compared_numbers(evaluated) == {
        "real reference/cmig": 0.5,
        "counterfactual/cmig": 0.25,
        "counterfactual/others_moved": 0.125,
    }


def test_settings_counts_model_and_judges_are_parameters(evaluated):
    assert parameters(evaluated) == {
        "split": "test",
        "seed": 3,
        "count_scored": 7,
        "model_sha256": "abc",
        "judges": "phantom",
        "judge_a.pt": "def",
    }


def test_a_run_holds_the_numbers_and_the_files_and_a_second_evaluation_is_a_second_run(evaluated, tmp_path):
    from mlflow.tracking import MlflowClient

    page = tmp_path / "index.html"
    page.write_text("a page")
    uri = default_uri(tmp_path)
    client = MlflowClient(tracking_uri=uri)
    run = client.get_run(log_evaluation(evaluated, [page], uri=uri))
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"real reference/cmig": 0.5}
    table = json.loads(next((tmp_path / "runs" / "mlartifacts").rglob("numbers.json")).read_text())
    assert "system" in table["columns"] and len(table["data"]) > 600
    assert run.data.params["judges"] == "phantom"
    (stored,) = (tmp_path / "runs" / "mlartifacts").rglob("index.html")
    assert stored.read_text() == "a page"

    again = log_evaluation(evaluated, [], uri=uri)
    found = client.search_runs([client.get_experiment_by_name("biomedjourney").experiment_id])
    assert {each.info.run_id for each in found} == {run.info.run_id, again}


def test_a_working_folder_may_be_moved_and_have_any_name(evaluated, tmp_path):
    from mlflow.tracking import MlflowClient

    page = tmp_path / "index.html"
    page.write_text("a page")
    old, new = tmp_path / "old", tmp_path / "a b?c#d%20e"
    first = log_evaluation(evaluated, [page], uri=default_uri(old))
    old.rename(new)
    uri = default_uri(new)
    second = log_evaluation(evaluated, [page], uri=uri)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["index.html", new.name])
    stored = sorted(path.parts[-3] for path in (new / "runs" / "mlartifacts").rglob("index.html"))
    assert stored == sorted([first, second])
    client = MlflowClient(tracking_uri=uri)
    (tmp_path / "fetched").mkdir()
    for run in (first, second):
        client.download_artifacts(run, "index.html", str(tmp_path / "fetched"))
        assert (tmp_path / "fetched" / "index.html").read_text() == "a page"
