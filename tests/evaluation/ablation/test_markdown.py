import pytest

from biomedjourney_monai.evaluation.ablation.markdown import TITLES, format_ablation
from biomedjourney_monai.evaluation.ablation.table import METRICS


def _numbers(value, **more):
    return {metric: {"value": value, "low": value - 0.1, "high": value + 0.1} | more for metric in METRICS}


@pytest.fixture
def content():
    factors = {"text": "impression", "registration": True}
    return {
        "settings": {"training": {"iterations": 12, "pretrain_iterations": 4}, "split": "test"},
        "journeys": 7,
        "patients": 5,
        "bootstrap": 100,
        "cells": [
            {"name": "one", "factors": factors, "metrics": _numbers(0.5), "reason": ""},
            {"name": "two", "factors": {**factors, "text": "progression"}, "metrics": {}, "reason": "no space left"},
        ],
        "baselines": {"copy-prior": _numbers(0.25)},
        "differences": [{"one": "three", "other": "one", "metrics": _numbers(-0.125)}],
        "effects": [{"axis": "registration", "from": False, "to": True, "pairs": 4, "metrics": _numbers(0.125)}],
    }


def test_every_metric_of_the_ablation_has_a_column():
    assert tuple(TITLES) == METRICS


def test_cells_baselines_effects_and_differences_are_rows(content):
    lines = format_ablation(content).splitlines()
    assert "| impression | yes |" + " 0.500 (0.400 to 0.600) |" * 6 in lines
    assert "| *copy-prior* |  |" + " 0.250 (0.150 to 0.350) |" * 6 in lines
    assert "| registration: False → True (4) |" + " +0.125 (+0.025 to +0.225) |" * 6 in lines
    assert "| `three` |" + " -0.125 (-0.225 to -0.025) |" * 6 in lines


def test_rows_of_a_table_have_as_many_columns_as_its_head(content):
    lines = format_ablation(content).splitlines()
    for n, line in enumerate(lines):
        if line.startswith("|---"):
            rows = [lines[n - 1], line]
            rows += [row for row in lines[n + 1 : n + 3] if row.startswith("|")]
            assert len({row.count("|") for row in rows}) == 1, rows


def test_the_budget_and_the_failures_are_said(content):
    text = format_ablation(content)
    assert "trained for 12 iterations in all" in text and "4 of them on stage 1" in text
    assert "- `two`: no space left" in text


def test_an_ablation_without_any_result_still_says_why(content):
    content["cells"], content["baselines"], content["differences"], content["effects"] = (
        content["cells"][1:],
        {},
        [],
        [],
    )
    assert "no space left" in format_ablation(content)


def test_unknown_numbers_are_dashes(content):
    content["cells"][0]["metrics"]["age_r"] = {"value": None, "low": None, "high": None}
    assert "| – |" in format_ablation(content)


def test_variants_say_what_their_iterations_cost(content):
    assert "What an iteration costs" not in format_ablation(content)
    for n, cell in enumerate(content["cells"]):
        cell["factors"] = {**cell["factors"], "variant": "v"}
        cell["training_seconds"] = 61.4 + n
    text = format_ablation(content)
    assert "| impression | yes | v |" in text
    assert "| `one` | 61 |" in text and "| `two` | 62 |" not in text, "the second has no result"
    assert "one stage 1 per text encoder and variant" in text
