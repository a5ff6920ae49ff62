"""The mean of an ablation over its training seeds."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

script = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "average_seeds.py")))


def number(value, low, high):
    return {"value": value, "low": low, "high": high, "count": 5, "note": ""}


def write(folder, *, seed, cmig, effect, iterations=1000, finished=True):
    folder.mkdir()
    metrics = {"cmig": number(cmig, cmig - 0.1, cmig + 0.1), "race_auroc": number(None, None, None)}
    content = {
        "settings": {"seed": seed, "training": {"iterations": iterations}},
        "journeys": 245,
        "patients": 38,
        "cells": [{"name": "impression-1stage", "metrics": metrics if finished else {}}],
        "baselines": {"copy-prior": {"cmig": number(0.75, 0.7, 0.8)}},
        "effects": [
            {"axis": "stages", "from": 1, "to": 2, "metrics": {"cmig": number(effect, effect - 0.02, effect + 0.02)}}
        ],
    }
    (folder / "ablation.json").write_text(json.dumps(content))
    return str(folder)


def test_the_mean_of_two_seeds(tmp_path, capsys):
    folders = [
        write(tmp_path / "0", seed=0, cmig=0.5, effect=0.01),
        write(tmp_path / "1", seed=1, cmig=0.6, effect=0.05),
    ]
    assert script.main([*folders, "--csv", str(tmp_path / "all.csv")]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[:5] == [
        "|  | CMIG |",
        "| --- | --- |",
        "| impression-1stage | 0.550 (0.500 to 0.600) |",
        "| copy-prior | 0.750 (0.750 to 0.750) |",
        "",
    ]
    assert shown[7] == "| stages: 1 → 2 | +0.030 (+0.010, +0.050*) |"
    assert shown[-1] == "2 seeds, 245 journeys of 38 patients in the first"
    rows = (tmp_path / "all.csv").read_text().splitlines()
    assert rows[0] == "kind,name,seed,metric,value,low,high" and len(rows) == 7
    assert "switch,stages: 1 → 2,1,cmig,0.050,0.030,0.070" in rows


@pytest.mark.parametrize(
    ("other", "rule"),
    [
        ({"seed": 0}, "a seed of its own"),
        ({"seed": 1, "iterations": 200}, "one configuration"),
        ({"seed": 1, "finished": False}, "every cell must be finished"),
    ],
)
def test_folders_that_do_not_belong_together_are_refused(tmp_path, capsys, other, rule):
    folders = [
        write(tmp_path / "0", seed=0, cmig=0.5, effect=0.01),
        write(tmp_path / "1", cmig=0.6, effect=0.05, **other),
    ]
    assert script.main([*folders, "--csv", str(tmp_path / "all.csv")]) == 2
    assert rule in capsys.readouterr().err and not (tmp_path / "all.csv").exists()
