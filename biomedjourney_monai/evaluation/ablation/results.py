"""The content of ablation.json: settings, cells, paired differences, effects of the switches, provenance."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from biomedjourney_monai import __version__
from biomedjourney_monai.evaluation.ablation.grid import Cell
from biomedjourney_monai.evaluation.ablation.plan import Plan
from biomedjourney_monai.evaluation.ablation.steps import Outcome, done_steps, read_state
from biomedjourney_monai.evaluation.ablation.table import (
    BASELINES,
    cell_numbers,
    compare_with,
    score_cells,
    switch_effects,
)
from biomedjourney_monai.evaluation.systems.scoring import SCORES_FILE
from biomedjourney_monai.files import file_hash, read_json
from biomedjourney_monai.schema import METRICS_FILE


def collect_results(plan: Plan, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Gather the results of every cell that has one, from this run's outcomes or an earlier run with the same settings.

    Raises:
        TableError: if a result cannot be read, or the cells have no journey in common.
    """
    ablation = plan.ablation
    scored_cells = {cell.name: cell for cell in ablation.cells if _has_result(cell, plan, outcomes)}
    content: dict[str, Any] = {
        "settings": ablation.as_record(),
        "version": __version__,
        "cells": [_cell_record(cell, plan, outcomes) for cell in ablation.cells],
        "baselines": {},
        "differences": [],
        "effects": [],
    }
    if not scored_cells:
        return content
    folders = {name: plan.cell_folder(cell) for name, cell in scored_cells.items()}
    asked = read_json(next(iter(folders.values())) / METRICS_FILE, made_by="evaluate")["settings"]
    policy = {key: asked[key] for key in ("bootstrap", "seed", "uncertain", "unmentioned")}
    files = {name: place / SCORES_FILE for name, place in folders.items()}
    scored = score_cells(files, plan.pairs_file(), **policy)
    for record in content["cells"]:
        if record["name"] in scored_cells:
            record["metrics"] = cell_numbers(scored.summaries[record["name"]])
            model = folders[record["name"]] / "runs" / "finetune" / "model.pt"
            record["model_sha256"] = file_hash(model) if model.is_file() else ""
    return content | {
        "journeys": scored.journeys,
        "patients": scored.patients,
        "journeys_left_out": scored.left_out,
        "bootstrap": policy["bootstrap"],
        "baselines": {name: cell_numbers(scored.summaries[name]) for name in BASELINES if name in scored.summaries},
        "differences": compare_with(scored, list(scored_cells), next(iter(scored_cells))),
        "effects": switch_effects(scored, {name: _factors(cell, plan) for name, cell in scored_cells.items()}),
    }


def _factors(cell: Cell, plan: Plan) -> dict[str, Any]:
    """The cell's level on each axis; the variant only where the ablation has variants."""
    levels = asdict(cell)
    return levels if plan.ablation.variants else {axis: level for axis, level in levels.items() if axis != "variant"}


def _has_result(cell: Cell, plan: Plan, outcomes: Mapping[str, Outcome]) -> bool:
    """Whether this run or, for a cell that was not asked for, an earlier one with these settings scored it."""
    last = plan.last_step(cell)
    if last in outcomes:
        return outcomes[last].good
    return last in {step.name for step in done_steps(plan.for_cells([cell]).steps(), plan.folder)}


def _cell_record(cell: Cell, plan: Plan, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    outcome = outcomes.get(plan.last_step(cell))
    states = {name: read_state(plan.folder, name) for name in plan.own_steps(cell)}
    trained = [read_state(plan.folder, name).get("seconds", 0) for name in plan.training_steps(cell)]
    return {
        "name": cell.name,
        "factors": _factors(cell, plan),
        "status": outcome.status if outcome else "not asked for",
        "reason": outcome.reason if outcome else "not asked for in this run",
        "seconds": round(sum(float(state.get("seconds", 0)) for state in states.values()), 1),
        "training_seconds": round(sum(map(float, trained)), 1),
        "commands": {name: state["command"] for name, state in states.items() if "command" in state},
        "metrics": {},
    }
