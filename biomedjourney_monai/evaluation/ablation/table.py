"""Numbers of an ablation, for ablation.json and .md: of each cell, paired differences, mean effects of the switches."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import TableError
from biomedjourney_monai.evaluation.ablation.grid import Cell
from biomedjourney_monai.evaluation.ablation.plan import Plan
from biomedjourney_monai.evaluation.ablation.steps import Outcome, done_steps, read_state
from biomedjourney_monai.evaluation.metrics.labels import read_truth
from biomedjourney_monai.evaluation.metrics.measure import Scored
from biomedjourney_monai.evaluation.metrics.registry import HEADLINES
from biomedjourney_monai.evaluation.metrics.statistic import OVERALL, Statistic, Summary, compare, draw_patient_weights
from biomedjourney_monai.evaluation.systems.scoring import SCORE_COLUMNS, SCORES_FILE
from biomedjourney_monai.evaluation.systems.sources import COUNTERFACTUAL, CopyPrior, RealReference
from biomedjourney_monai.files import file_hash, read_json, read_table
from biomedjourney_monai.schema import METRICS_FILE, PAIR_COLUMNS

MEASURES = tuple(sorted(HEADLINES, key=lambda measure: measure.combined))
"""In the order of the tables: combined measures come after their components."""

METRICS = tuple(measure.key for measure in MEASURES)
BASELINES = (CopyPrior.name, RealReference.name)


@dataclass(frozen=True)
class ScoredCells:
    """Statistics of each cell and baseline on the journeys that all cells share, with the same bootstrap replicates."""

    summaries: dict[str, Summary]
    journeys: int
    patients: int
    left_out: int


def score_cells(
    score_files: Mapping[str, Path], pairs_file: Path, *, bootstrap: int, seed: int, uncertain: str, unmentioned: str
) -> ScoredCells:
    """Compute every number of the cells on the journeys that all of them share.

    `score_files` names each cell's scores.parquet; the baselines are read from the first. The other arguments are those
    of the evaluation of the cells.

    Raises:
        TableError: if a file is unusable or no journey is common to all cells.
    """
    tables = {name: _read_scores(path) for name, path in score_files.items()}
    own = {name: table[table["system"] == COUNTERFACTUAL].set_index("journey_id") for name, table in tables.items()}
    first = next(iter(tables.values()))
    rows = own | {
        name: first[first["system"] == name].set_index("journey_id")
        for name in BASELINES
        if (first["system"] == name).any()
    }
    common = set.intersection(*(set(table.index) for table in rows.values()))
    everywhere = set.union(*(set(table.index) for table in own.values()))
    pairs = read_table(pairs_file, columns=PAIR_COLUMNS, made_by="register")
    journeys = pairs[pairs["journey_id"].isin(common)].reset_index(drop=True)
    if journeys.empty:
        raise TableError(
            "the cells of an ablation must have journeys in common",
            found=f"{len(rows)} tables without a common journey",
        )
    weights = draw_patient_weights(journeys["subject_id"], replicates=bootstrap, seed=seed)
    truth = read_truth(journeys, uncertain=uncertain, unmentioned=unmentioned)
    scored = {name: Scored(table.loc[journeys["journey_id"]], truth, weights) for name, table in rows.items()}
    summaries = {name: {measure.key: own.statistics(measure) for measure in MEASURES} for name, own in scored.items()}
    return ScoredCells(summaries, len(journeys), journeys["subject_id"].nunique(), len(everywhere) - len(journeys))


def cell_numbers(summary: Summary) -> dict[str, dict[str, Any]]:
    """Metric -> value, low, high, count, note."""
    return {metric: summary[metric][OVERALL].as_number() for metric in METRICS}


def compare_with(scored: ScoredCells, cells: Sequence[str], reference: str) -> list[dict[str, Any]]:
    """Each cell minus the reference cell, paired."""
    return [
        {
            "one": name,
            "other": reference,
            "metrics": compare(scored.summaries[name], scored.summaries[reference], metrics=METRICS),
        }
        for name in cells
        if name != reference
    ]


def switch_effects(scored: ScoredCells, cells: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The effect of a switch: the mean difference of the pairs of cells that differ in it alone.

    `cells` gives each cell's level on each axis, e.g. {"text": "impression", "stages": 1}.

    Returns:
        One entry per axis and two of its levels: axis, from, to, the number of pairs, and the differences by metric.
    """
    effects = []
    axes = list(next(iter(cells.values()))) if cells else []
    for axis in axes:
        levels = list(dict.fromkeys(cell[axis] for cell in cells.values()))
        for n, before in enumerate(levels):
            for after in levels[n + 1 :]:
                matched = [
                    (one, other)
                    for one, mine in cells.items()
                    for other, theirs in cells.items()
                    if mine == {**theirs, axis: after} and theirs[axis] == before
                ]
                if matched:
                    one = _mean_summary([scored.summaries[name] for name, _ in matched])
                    other = _mean_summary([scored.summaries[name] for _, name in matched])
                    metrics = compare(one, other, metrics=METRICS)
                    effects.append(
                        {"axis": axis, "from": before, "to": after, "pairs": len(matched), "metrics": metrics}
                    )
    return effects


def _mean_summary(summaries: Sequence[Summary]) -> Summary:
    """Average the overall statistics, replicate by replicate."""
    return {
        metric: {
            OVERALL: Statistic(
                np.mean([summary[metric][OVERALL].values for summary in summaries], axis=0),
                min(summary[metric][OVERALL].count for summary in summaries),
            )
        }
        for metric in METRICS
    }


def _read_scores(path: Path) -> pandas.DataFrame:
    return read_table(path, columns=["system", "journey_id", *SCORE_COLUMNS], made_by="evaluate")


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


TITLES = {measure.key: measure.ablation for measure in MEASURES}


def format_ablation(content: Mapping[str, Any]) -> str:
    """The content of ablation.json: cells, effects of the switches, differences, time of variants, failures."""
    axes = list(content["cells"][0]["factors"])
    good = [cell for cell in content["cells"] if cell["metrics"]]
    lines = ["# Ablation", ""]
    if good:
        lines += [_how(content, axes), "", *_cells(content, good, axes)]
    if content["effects"]:
        lines += ["", "## Effect of each switch", ""]
        lines += ["Mean paired difference of the cells that differ in this switch alone, 95 % interval.", ""]
        names = [
            f"{effect['axis']}: {effect['from']} → {effect['to']} ({effect['pairs']})" for effect in content["effects"]
        ]
        lines += _table(
            "switch (pairs of cells)", names, [effect["metrics"] for effect in content["effects"]], signed=True
        )
    if content["differences"]:
        other = content["differences"][0]["other"]
        lines += ["", f"## Each cell minus `{other}`", ""]
        names = [f"`{row['one']}`" for row in content["differences"]]
        lines += _table("cell", names, [row["metrics"] for row in content["differences"]], signed=True)
    if good and "variant" in axes:
        lines += ["", "## Training time", ""]
        lines += ["The budget is in iterations; an iteration takes longer with a larger network.", ""]
        lines += ["| cell | training, s |", "|---|---:|"]
        lines += [f"| `{cell['name']}` | {cell['training_seconds']:.0f} |" for cell in good]
    failed = [cell for cell in content["cells"] if not cell["metrics"]]
    if failed:
        lines += ["", "## Cells without a result", ""]
        lines += [f"- `{cell['name']}`: {cell['reason']}" for cell in failed]
    return "\n".join([*lines, ""])


def _how(content: Mapping[str, Any], axes: Sequence[str]) -> str:
    shared = "text encoder and variant" if "variant" in axes else "text encoder"
    training, split = content["settings"]["training"], content["settings"]["split"]
    return (
        f"Every cell was trained for {training['iterations']} iterations in all; cells with two stages spent "
        f"{training['pretrain_iterations']} of them on stage 1, and share one stage 1 per {shared}. Scored on the "
        f"same {content['journeys']} journeys of {content['patients']} patients ({split} split), "
        f"against the same references. Intervals: 95 %, bootstrap over patients, {content['bootstrap']} rounds."
    )


def _cells(content: Mapping[str, Any], good: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> list[str]:
    names = [" | ".join(_level(cell["factors"][axis]) for axis in axes) for cell in good]
    rows = [cell["metrics"] for cell in good]
    for name, metrics in content["baselines"].items():
        names.append(" | ".join([f"*{name}*", *[""] * (len(axes) - 1)]))
        rows.append(metrics)
    return _table(" | ".join(axis.replace("_", " ") for axis in axes), names, rows, signed=False, columns=len(axes))


def _table(
    head: str, names: Sequence[str], rows: Sequence[Mapping[str, Any]], *, signed: bool, columns: int = 1
) -> list[str]:
    lines = ["| " + " | ".join([head, *TITLES.values()]) + " |", "|---" * columns + "|---:" * len(TITLES) + "|"]
    for name, metrics in zip(names, rows):
        lines.append("| " + " | ".join([name, *(_number(metrics[metric], signed) for metric in TITLES)]) + " |")
    return lines


def _number(number: Mapping[str, Any], signed: bool) -> str:
    def short(value: float | None) -> str:
        return "–" if value is None or value != value else f"{value:+.3f}" if signed else f"{value:.3f}"

    value, low, high = short(number["value"]), short(number["low"]), short(number["high"])
    return value if low == "–" else f"{value} ({low} to {high})"


def _level(level: Any) -> str:
    return {True: "yes", False: "no"}[level] if isinstance(level, bool) else str(level)
