"""The tables of the results show the numbers of the CSV files next to them, and the bundle's metadata show the same."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

pages = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("pages.py"))))
RESULTS = pages.DOCS / "results"
OF_REAL = ["pathology_auroc", "changed_auroc", "sex_auroc", "age_r", "cmig", "identity_of_50", "effectiveness"]
OF_SYSTEMS = ["pathology_auroc", "changed_auroc", "race_auroc", "age_r", "cmig", "dice_reference"]


def table(name: str) -> list[dict[str, str]]:
    with (RESULTS / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


SYSTEMS = {(row["system"], row["metric"]): row for row in table("systems.csv")}


def number(cell: str) -> float:
    """The first number of a cell such as `.988 [.983, .992]`."""
    return float(cell.split()[0])


@pytest.mark.parametrize(
    ("page", "count"), [(RESULTS / "README.md", 7), (pages.DOCS / "README.md", 3)], ids=["results", "models page"]
)
def test_the_table_of_systems_shows_systems_csv(page, count):
    found = [row for row in pages.rows(page) if (row[0], "cmig") in SYSTEMS and len(row) in (6, 7)]
    assert len(found) == count
    for system, *cells in found:
        for metric, cell in zip(OF_SYSTEMS, cells):
            assert number(cell) == float(SYSTEMS[system, metric]["value"]), (system, metric)


def test_the_tables_of_real_patients_show_real_systems_csv():
    real = {(row["patients"], row["system"], row["metric"]): row for row in table("real_systems.csv")}
    names = {"shipped": "counterfactual", "earlier weights, rendered patients only": "earlier weights"}
    found = pages.rows(RESULTS / "README.md")
    heads = [place for place, row in enumerate(found) if row[-1] == "requested changes seen"]
    for patients, first, count in zip(("test", "validation"), heads, (7, 6), strict=True):
        for system, *cells in found[first + 2 : first + 2 + count]:
            for metric, cell in zip(OF_REAL, cells, strict=True):
                of = real[patients, names.get(system, system), metric]
                assert number(cell) == float(of["value"]), (patients, system, metric)


def test_intervals_surround_their_values():
    for row in [*SYSTEMS.values(), *table("real_systems.csv")]:
        assert not row["low"] or float(row["low"]) <= float(row["value"]) <= float(row["high"]), row


def test_the_bundles_metadata_show_systems_csv():
    metadata = json.loads((pages.ROOT / "bundle" / "configs" / "metadata.json").read_text(encoding="utf-8"))
    for metric, value in metadata["eval_metrics"].items():
        assert value == float(SYSTEMS["counterfactual", metric]["value"]), metric


def test_tuning_csv_holds_all_combinations_and_the_chosen_one_is_among_the_best():
    rows = {(row["text_guidance_scale"], row["image_guidance_scale"], float(row["keep_unchanged"])): row
            for row in table("tuning.csv")}  # fmt: skip
    assert len(rows) == 40
    best = max(float(row["cmig"]) for row in rows.values())
    assert float(rows["3", "2", 0.03]["cmig"]) > best - 0.005


def test_the_table_of_variants_shows_ablation_networks_csv():
    rows = {row["variant"]: row for row in table("ablation_networks.csv")}
    shown = [row for row in pages.rows(RESULTS / "ablations.md") if len(row) == 6 and row[1] in rows]
    assert len(shown) == 10
    for row in shown:
        of = rows[row[1]]
        assert [number(cell) for cell in row[2:5]] == [float(of[key]) for key in ("pathology_auroc", "age_r", "cmig")]
        assert row[1] == "plain" or number(row[5]) == float(of["cmig_minus_plain"])


def test_the_table_of_students_shows_few_steps_csv():
    values = [
        [
            float(row[key])
            for key in ("steps", "evaluations", "cmig", "pathology_auroc", "changed_auroc", "side_correct")
        ]
        for row in table("few_steps.csv")
    ]
    shown = [
        row[1:7] for row in pages.rows(pages.DOCS / "how-to" / "few-steps.md") if len(row) == 9 and row[1].isdigit()
    ]
    assert len(shown) == 7
    for row in shown:
        assert [float(cell) for cell in row] in values
