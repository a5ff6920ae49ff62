"""The verb with a launcher that makes in no time what the commands would make; the real ones run in the slow test."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas
import pytest
import yaml

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.evaluation.ablation import run as ablation_run
from biomedjourney_monai.evaluation.systems.scoring import SCORE_COLUMNS
from biomedjourney_monai.schema import CHEXPERT_LABELS, FINDINGS, PAIR_COLUMNS

BUNDLE = Path(__file__).resolve().parents[2] / "bundle"
JOURNEYS = 24
SETTINGS = {"bootstrap": 50, "seed": 0, "uncertain": "mask", "unmentioned": "negative"}


def _pairs():
    draw = np.random.default_rng(0)
    table = pandas.DataFrame({column: [""] * JOURNEYS for column in PAIR_COLUMNS})
    for side in ("prior", "new"):
        for label in CHEXPERT_LABELS:
            table[f"{side}_{label}"] = draw.integers(0, 2, JOURNEYS).astype(float)
    table["journey_id"] = [f"j{n:06}" for n in range(JOURNEYS)]
    table["subject_id"] = [f"s{n // 2}" for n in range(JOURNEYS)]
    table["race"] = ["WHITE", "BLACK", "ASIAN"] * (JOURNEYS // 3)
    table["anchor_age"] = draw.integers(25, 90, JOURNEYS).astype(float)
    return table


class Commands:
    """Stands in for the launcher: fails or stops where told, else makes what the step makes."""

    def __init__(self):
        self.ran, self.statuses = [], {}

    def __call__(self, command, log):
        self.ran.append(log.stem)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("error: no space left.\n")
        words = dict(zip(command, [*command[1:], ""]))
        work = Path(words.get("--work") or words.get("--output_dir") or words["--out"])
        work.mkdir(parents=True, exist_ok=True)
        verb = command[3]
        for verb_or_stage, names in (
            ("cohort", ["studies.parquet"]),
            ("journeys", ["journeys.parquet"]),
            ("register", ["images/"]),
            ("describe", ["triples.jsonl", "singles.jsonl"]),
            ("encode", ["latents/", "runs/autoencoder.pt"]),
            ("sample", ["samples/"]),
        ):
            for name in names if verb == verb_or_stage else []:
                _make(work / name)
        if verb == "register":
            _pairs().to_parquet(work / "pairs.parquet")
        if verb == "run":
            stage = log.stem.split("-")[0]
            _make(work / ("autoencoder.pt" if stage == "autoencoder" else f"{stage}/model.pt"))
            (work / stage).mkdir(exist_ok=True)
        if verb == "evaluate":
            (work / "metrics.json").write_text(json.dumps({"settings": SETTINGS}))
            _scores().to_parquet(work / "scores.parquet")
        return self.statuses.get(log.stem, 0)


def _make(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(exist_ok=True) if path.suffix == "" else path.write_text("made")


def _scores():
    pairs = _pairs()
    table = pandas.DataFrame(0.5, index=range(JOURNEYS), columns=SCORE_COLUMNS)
    for finding in FINDINGS:
        table[f"pathology {finding}"] = pairs[f"new_{finding}"]
    table["journey_id"] = pairs["journey_id"]
    return pandas.concat([table.assign(system=name) for name in ("copy-prior", "counterfactual", "real reference")])


@pytest.fixture
def commands(monkeypatch):
    stand_in = Commands()

    @contextmanager
    def launcher(folder):
        yield stand_in

    monkeypatch.setattr(ablation_run, "launcher", launcher)
    return stand_in


@pytest.fixture
def line(tmp_path):
    return ["ablation", "--config", str(BUNDLE / "configs" / "ablation.yaml"), "--out", str(tmp_path / "ablation")]


@pytest.fixture
def read(tmp_path):
    return lambda: json.loads((tmp_path / "ablation" / "ablation.json").read_text())


def test_one_table_at_the_end_with_every_cell(commands, line, read, tmp_path, capsys):
    assert main(line) == 0
    ablation = read()
    assert len(commands.ran) == 38 and len(ablation["cells"]) == 8
    assert all(cell["status"] == "done" and cell["metrics"]["cmig"]["count"] for cell in ablation["cells"])
    assert {(effect["axis"], effect["pairs"]) for effect in ablation["effects"]} == {
        ("text", 4),
        ("registration", 4),
        ("stages", 4),
    }
    table = (tmp_path / "ablation" / "ablation.md").read_text()
    assert table in capsys.readouterr().out
    assert table.count("\n| progression | yes |") == 2


def test_every_cell_names_its_commands_and_model(commands, line, read):
    main(line)
    for cell in read()["cells"]:
        assert len(cell["model_sha256"]) == 64
        assert set(cell["commands"]) == {f"{step}-{cell['name']}" for step in ("finetune", "sample", "evaluate")}


def test_a_failing_cell_costs_no_other(commands, line, read, capsys):
    bad = "impression-registered-2stage-small"
    commands.statuses[f"finetune-{bad}"] = 1
    assert main(line) == 1
    by_name = {cell["name"]: cell for cell in read()["cells"]}
    assert [name for name, cell in by_name.items() if not cell["metrics"]] == [bad]
    assert f"no result: {bad}: finetune-{bad} failed" in capsys.readouterr().out
    commands.statuses.clear()
    commands.ran.clear()
    assert main(line) == 0
    assert commands.ran == [f"{step}-{bad}" for step in ("finetune", "sample", "evaluate")]
    assert all(cell["metrics"] for cell in read()["cells"])


def test_a_stopped_ablation_goes_on_cell_by_cell(commands, line, capsys):
    commands.statuses["sample-progression-registered-1stage-small"] = 130
    assert main(line) == 2
    assert "Run the same command again to continue" in capsys.readouterr().err
    before = len(commands.ran)
    commands.statuses.clear()
    assert main(line) == 0
    again = commands.ran[before:]
    assert again[0] == "sample-progression-registered-1stage-small"
    assert len(commands.ran) == 38 + 1


def test_one_cell_can_be_done_again_and_the_table_keeps_the_others(commands, line, read):
    main(line)
    commands.ran.clear()
    name = "progression-registered-2stage-small"
    assert main([*line, "--cell", name, "--again"]) == 0
    assert commands.ran == [f"{step}-{name}" for step in ("finetune", "sample", "evaluate")]
    cells = read()["cells"]
    assert all(cell["metrics"] for cell in cells)
    assert {cell["name"]: cell["status"] for cell in cells}[name] == "done"


def test_one_cell_alone_makes_a_table_of_it(commands, line, read):
    name = "progression-registered-1stage-small"
    assert main([*line, "--cell", name]) == 0
    assert [cell["name"] for cell in read()["cells"] if cell["metrics"]] == [name]
    assert not any("unregistered" in step or "pretrain" in step for step in commands.ran)


def test_the_plan_runs_nothing(commands, line, tmp_path, capsys):
    assert main([*line, "--plan"]) == 0
    assert commands.ran == []
    shown = capsys.readouterr().out
    assert "to do  finetune-progression-registered-2stage-small" in shown
    assert "8 cells, 38 steps, 0 of them done" in shown


def test_variants_are_compared_and_their_training_is_timed(commands, tmp_path, read):
    config = str(BUNDLE / "configs" / "ablation_networks.yaml")
    assert main(["ablation", "--config", config, "--out", str(tmp_path / "ablation")]) == 0
    ablation = read()
    assert {cell["factors"]["variant"] for cell in ablation["cells"]} == set(ablation["settings"]["variants"])
    assert {(effect["axis"], effect["pairs"]) for effect in ablation["effects"]} == {("variant", 1)}
    assert all(0 <= cell["training_seconds"] <= cell["seconds"] for cell in ablation["cells"])
    table = (tmp_path / "ablation" / "ablation.md").read_text()
    assert "| text | registration | stages | text encoder | variant |" in table
    assert "| variant: plain → v (1) |" in table
    assert "| `progression-registered-1stage-small-wide` |" in table


def test_an_ablation_without_variants_does_not_speak_of_them(commands, line, read, tmp_path):
    main(line)
    assert all("variant" not in cell["factors"] for cell in read()["cells"])
    assert "variant" not in (tmp_path / "ablation" / "ablation.md").read_text()


def test_again_needs_a_cell(commands, line, capsys):
    assert main([*line, "--again"]) == 2
    assert "--again goes with --cell" in capsys.readouterr().err


@pytest.mark.slow
def test_the_real_commands_survive_a_kill(tmp_path):
    """Four cells at toy size, killed while the first trains, then run to the end."""
    settings = yaml.safe_load((BUNDLE / "configs" / "ablation.yaml").read_text())
    settings["phantom"] = {"patients": 40, "seed": 3}
    settings["grid"] |= {"text": ["progression"]}
    settings["training"] |= {"iterations": 4, "pretrain_iterations": 2, "epoch_length": 1}
    settings["training"]["settings"]["batch_size"] = 4
    settings["arguments"] = {"phantom": ["--size", 128], "sample": ["--steps", 2], "evaluate": ["--bootstrap", 20]}
    (tmp_path / "ablation.yaml").write_text(yaml.safe_dump(settings))
    out = tmp_path / "ablation"
    command = [sys.executable, "-m", "biomedjourney_monai.cli.main", "ablation", "--bundle", str(BUNDLE)]
    command += ["--config", str(tmp_path / "ablation.yaml"), "--out", str(out)]
    ablation = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 1200
    while time.monotonic() < deadline and not list((out / "cells").glob("*/runs/finetune/checkpoint.pt")):
        time.sleep(0.05)
    ablation.send_signal(signal.SIGTERM)
    assert ablation.wait(timeout=200) != 0
    assert not (out / "ablation.json").exists()
    done = {path: path.stat().st_mtime_ns for path in out.rglob("latents/*") if path.is_file()}
    run = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert all(path.stat().st_mtime_ns == when for path, when in done.items()), "what was done was left alone"
    content = json.loads((out / "ablation.json").read_text())
    assert len(content["cells"]) == 4
    assert all(cell["metrics"]["dice_reference"]["value"] is not None for cell in content["cells"])
