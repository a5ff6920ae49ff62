"""Hand-made scores, two journeys per patient: a cell that knows the truth, others that are wrong to known degrees."""

import numpy as np
import pandas
import pytest

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.evaluation.ablation.table import (
    METRICS,
    TITLES,
    cell_numbers,
    compare_with,
    format_ablation,
    score_cells,
    switch_effects,
)
from biomedjourney_monai.evaluation.systems.scoring import SCORE_COLUMNS
from biomedjourney_monai.schema import FINDINGS

POLICY = {"bootstrap": 200, "seed": 0, "uncertain": "mask", "unmentioned": "negative"}


@pytest.fixture
def folder(baseline_work):
    """Writes scores.parquet of a cell: its ages are off by noise of the given size, its Dice is as given."""
    pairs = pandas.read_parquet(baseline_work / "pairs.parquet")

    def write(name, *, noise=0.0, dice=1.0, journeys=slice(None), systems=("counterfactual",)):
        frames = []
        for system in systems:
            rows = pairs.iloc[journeys]
            scores = pandas.DataFrame(0.5, index=range(len(rows)), columns=SCORE_COLUMNS)
            for finding in FINDINGS:
                scores[f"pathology {finding}"] = rows[f"new_{finding}"].to_numpy()
            scores["age"] = rows["anchor_age"].to_numpy() + noise * np.random.default_rng(1).normal(size=len(rows))
            scores[[column for column in SCORE_COLUMNS if column.startswith("dice_reference")]] = dice
            frames.append(scores.assign(system=system, journey_id=rows["journey_id"].to_numpy()))
        path = baseline_work / f"{name}.parquet"
        pandas.concat(frames).to_parquet(path)
        return path

    write.pairs = baseline_work / "pairs.parquet"
    return write


def test_a_cell_that_knows_the_truth_scores_one(folder):
    scored = score_cells({"a": folder("a")}, folder.pairs, **POLICY)
    numbers = cell_numbers(scored.summaries["a"])
    assert numbers["pathology_auroc"]["value"] == 1
    assert numbers["age_r"]["value"] == pytest.approx(1)
    assert numbers["race_auroc"]["value"] == 0.5, "every score is the same"
    assert (scored.journeys, scored.patients, scored.left_out) == (24, 12, 0)


def test_cells_are_scored_on_the_journeys_that_all_have(folder):
    files = {"a": folder("a", journeys=slice(0, 20)), "b": folder("b", journeys=slice(4, 24))}
    scored = score_cells(files, folder.pairs, **POLICY)
    assert (scored.journeys, scored.left_out) == (16, 8)
    with pytest.raises(TableError, match="in common"):
        score_cells(
            {"a": folder("a", journeys=slice(0, 4)), "b": folder("b", journeys=slice(4, 8))}, folder.pairs, **POLICY
        )


def test_differences_are_paired(folder):
    files = {"a": folder("a", noise=20), "b": folder("b", noise=20, dice=0.75)}
    scored = score_cells(files, folder.pairs, **POLICY)
    (row,) = compare_with(scored, ["a", "b"], "a")
    assert (row["one"], row["other"]) == ("b", "a")
    assert row["metrics"]["dice_reference"]["value"] == pytest.approx(-0.25)
    age = row["metrics"]["age_r"]
    assert (age["value"], age["low"], age["high"], age["p"]) == (0, 0, 0, 1), "the same ages in every replicate"


def test_the_effect_of_a_switch_is_the_mean_over_cells_that_differ_in_it_alone(folder):
    dice = {("x", 1): 0.5, ("x", 2): 0.6, ("y", 1): 0.7, ("y", 2): 1.0}
    cells = {f"{text}{stages}": {"text": text, "stages": stages} for text, stages in dice}
    files = {f"{text}{stages}": folder(f"{text}{stages}", dice=value) for (text, stages), value in dice.items()}
    effects = switch_effects(score_cells(files, folder.pairs, **POLICY), cells)
    found = {(effect["axis"], effect["from"], effect["to"], effect["pairs"]): effect for effect in effects}
    assert set(found) == {("text", "x", "y", 2), ("stages", 1, 2, 2)}
    text = found["text", "x", "y", 2]["metrics"]["dice_reference"]
    stages = found["stages", 1, 2, 2]["metrics"]["dice_reference"]
    assert text["value"] == pytest.approx((0.2 + 0.4) / 2)
    assert stages["value"] == pytest.approx((0.1 + 0.3) / 2)


def test_a_cell_without_a_partner_has_no_effect(folder):
    cells = {"x1": {"text": "x", "stages": 1}, "y2": {"text": "y", "stages": 2}}
    files = {name: folder(name) for name in cells}
    assert switch_effects(score_cells(files, folder.pairs, **POLICY), cells) == []


def test_baselines_are_in_the_table(folder):
    path = folder("a", systems=("copy-prior", "counterfactual", "real reference"))
    assert set(score_cells({"a": path}, folder.pairs, **POLICY).summaries) == {"a", "copy-prior", "real reference"}


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
