import json
from pathlib import Path

import pytest

from biomedjourney_monai.evaluation.ablation.table import METRICS
from biomedjourney_monai.evaluation.page.paper_tables import result_tables
from biomedjourney_monai.schema import FINDINGS, STRUCTURES


def _number(value):
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "count": 9, "note": ""}


@pytest.fixture
def metrics():
    parts = {
        "pathology_auroc": ("overall", *FINDINGS),
        "race_auroc": ("overall",),
        "age_r": ("overall",),
        "cmig": ("overall",),
        "kl": ("overall",),
        "dice_reference": ("overall", *STRUCTURES),
    }
    numbers = {
        metric: {part: _number(0.1 * n + 0.01 * m) for m, part in enumerate(names)}
        for n, (metric, names) in enumerate(parts.items())
    }
    return {"systems": [{"name": "counterfactual", "metrics": numbers}]}


def _cell(text, registration, stages, encoder, value=0.5):
    factors = {"text": text, "registration": registration, "stages": stages, "text_encoder": encoder}
    return {"name": "x", "factors": factors, "metrics": {metric: _number(value) for metric in METRICS}}


@pytest.fixture
def ablation():
    cells = [
        _cell(text, registration, stages, "small")
        for text in ("impression", "progression")
        for registration in (False, True)
        for stages in (1, 2)
    ]
    return {"cells": cells, "settings": {"training": {"iterations": 12}}, "journeys": 7}


def test_an_evaluation_makes_tables_1_3_and_4(metrics):
    assert [table.number for table in result_tables(metrics)] == [1, 3, 4]


def test_every_row_has_a_number_for_each_column(metrics, ablation):
    ablation["cells"].append(_cell("progression", True, 1, "other"))
    for table in result_tables(metrics, ablation):
        for line in (*table.here, *table.paper):
            assert len(line.numbers) == len(table.columns), (table.number, line.name)


def test_the_papers_cmig_is_what_its_definition_gives(metrics):
    table = result_tables(metrics)[0]
    scores = {line.name: round(100 * line.numbers[-1]["value"], 2) for line in table.paper}
    assert scores == {"Stable Diffusion": 26.91, "InstructPix2Pix": 46.58, "RoentGen": 62.77, "BiomedJourney": 84.11}


def test_numbers_measured_here_keep_their_intervals_and_the_papers_have_none(metrics):
    for table in result_tables(metrics):
        assert all(number["low"] is not None for line in table.here for number in line.numbers)
        assert all(number is None or number["low"] is None for line in table.paper for number in line.numbers)
    third = result_tables(metrics)[1]
    assert third.here[0].numbers[0] == metrics["systems"][0]["metrics"]["pathology_auroc"]["Atelectasis"]


def test_an_ablation_makes_table_2_with_eight_rows_on_both_sides(metrics, ablation):
    table = result_tables(metrics, ablation)[1]
    assert table.number == 2
    assert sorted(line.name for line in table.here) == sorted(line.name for line in table.paper)
    assert len(table.here) == 8 and "12 iterations" in table.remark


def test_table_5_compares_encoders_at_equal_settings(metrics, ablation):
    ablation["cells"] += [_cell("progression", True, 1, name) for name in ("random", "words")]
    tables = {table.number: table for table in result_tables(metrics, ablation)}
    assert [line.name.split(" · ")[0] for line in tables[5].here] == ["small", "random", "words"]
    assert len(tables[2].here) == 8
    assert tables[5].columns[-1] == "average"
    for line in (*tables[5].here, *tables[5].paper):
        values = [number["value"] for number in line.numbers]
        assert values[-1] == pytest.approx(sum(values[:3]) / 3)


def test_an_ablation_without_results_adds_no_table(metrics, ablation):
    for cell in ablation["cells"]:
        cell["metrics"] = {}
    assert [table.number for table in result_tables(metrics, ablation)] == [1, 3, 4]


def test_the_papers_figures_are_the_text_of_the_paper():
    """Compare with the paper's own text, where a copy of it lies beside the project."""
    paper = Path(__file__).resolve().parents[4] / "shared" / "paper" / "biomedjourney.txt"
    if not paper.is_file():
        pytest.skip("no copy of the paper beside the project")
    from biomedjourney_monai.evaluation.page import paper_tables

    text = paper.read_text(encoding="utf-8")
    figures = [*paper_tables.TABLE_1.values(), *paper_tables.TABLE_2.values(), *paper_tables.TABLE_3.values()]
    figures += [*paper_tables.TABLE_5.values(), paper_tables.TABLE_5_PRINTED, tuple(paper_tables.TABLE_4.values())]
    missing = [value for row in figures for value in row if f"{value:g}" not in text and f"{value:.2f}" not in text]
    assert missing == [], json.dumps(missing)


def test_of_an_ablation_with_variants_the_first_ones_cells_are_shown(metrics, ablation):
    others = [{**cell, "factors": {**cell["factors"], "variant": "v"}} for cell in ablation["cells"]]
    for cell in ablation["cells"]:
        cell["factors"]["variant"] = "plain"
    ablation["cells"] += others
    (table,) = [table for table in result_tables(metrics, ablation) if table.number == 2]
    names = [line.name for line in table.here]
    assert len(names) == len(set(names)) == 8
