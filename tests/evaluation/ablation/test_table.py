"""Hand-made scores, two journeys per patient: a cell that knows the truth, others that are wrong to known degrees."""

import numpy as np
import pandas
import pytest

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.evaluation.ablation.table import cell_numbers, compare_with, score_cells, switch_effects
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
