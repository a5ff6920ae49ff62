import csv
import math

import pytest

from biomedjourney_monai.evaluation.page.metrics_csv import COLUMNS, metric_rows, system_metrics, write_metrics_csv


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
