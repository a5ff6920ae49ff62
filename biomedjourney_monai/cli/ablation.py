"""Train and score every cell of a grid with the same budget, and write one table.

The grid crosses the text (impression or progression description), registration (on or off), training stages (one or
two) and text encoders: the paper's Tables 2 and 5. It may also cross variants of networks and training. Cells share
what they have in common. Each step is a command as a user would type it; what is done stays done. Kill it and run the
same line again: it goes on where it stopped. Change a setting: only what depends on it is done anew. A cell that fails
is named at the end and costs no other cell.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from biomedjourney_monai.evaluation.ablation.grid import Cell, Study
    from biomedjourney_monai.evaluation.ablation.plan import Plan
    from biomedjourney_monai.evaluation.ablation.steps import Outcome

EXAMPLE = (
    "biomedjourney study --config bundle/configs/study.yaml --out study\n"
    "  biomedjourney study --config bundle/configs/study.yaml --out study --plan\n"
    "  biomedjourney study --config bundle/configs/study.yaml --out study"
    " --cell progression-registered-2stage-small --again"
)
STUDY_FILE = "study.json"
TABLE_FILE = "study.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the grid, such as study.yaml")
    parser.add_argument("--out", type=Path, default=Path("study"), metavar="DIR", help="folder (default: study)")
    parser.add_argument("--bundle", metavar="DIR", help="the bundle's folder (default: found from here)")
    parser.add_argument("--cell", action="append", default=[], metavar="NAME", help="only this cell; may be repeated")
    parser.add_argument("--again", action="store_true", help="do the named cells' own steps once more")
    parser.add_argument("--plan", action="store_true", help="print the steps and which are done, and run none")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from biomedjourney_monai.cli.bundle_model import bundle_folder
    from biomedjourney_monai.errors import ConfigError
    from biomedjourney_monai.evaluation.ablation.grid import choose_cells, read_study
    from biomedjourney_monai.evaluation.ablation.plan import Plan
    from biomedjourney_monai.evaluation.ablation.steps import forget, launcher, run_steps

    if args.again and not args.cell:
        raise ConfigError("--again goes with --cell", found="no cell named", action="Name the cells to do once more")
    bundle, folder = bundle_folder(args).resolve(), args.out.resolve()
    study = read_study(args.config, bundle=bundle)
    cells = choose_cells(study, args.cell)
    plan = Plan(study, cells, folder, bundle=bundle, image_size=_image_size(study, bundle))
    if args.plan:
        return _print_plan(plan, folder)
    with launcher(folder) as launch:
        if args.again:
            forget(
                [step for step in plan.steps() if step.name in {n for c in cells for n in plan.own_steps(c)}], folder
            )
        outcomes = run_steps(plan.steps(), folder, launch=launch)
        return _finish(study, plan, outcomes, folder, bundle=bundle)


def _image_size(study: Study, bundle: Path) -> int:
    from biomedjourney_monai.configuration import compose

    size = study.networks.get("image_size")
    return int(size or compose(bundle / "configs" / "common.yaml", {"bundle_root": str(bundle)}).get("image_size"))


def _print_plan(plan: Plan, folder: Path) -> int:
    from biomedjourney_monai.evaluation.ablation.steps import describe_time, done_steps, estimate_seconds

    steps = plan.steps()
    done = done_steps(steps, folder)
    for step in steps:
        print(f"{'done' if step in done else 'to do':6} {step.name}")
    left = estimate_seconds([step for step in steps if step not in done], done, folder)
    print(f"{len(plan.cells)} cells, {len(steps)} steps, {len(done)} of them done; {describe_time(left)}")
    return 0


def _finish(study: Study, plan: Plan, outcomes: dict[str, Outcome], folder: Path, *, bundle: Path) -> int:
    """Write study.json and study.md from every cell that has a result, and print the table."""
    from biomedjourney_monai.evaluation.ablation.markdown import format_study
    from biomedjourney_monai.files import write_json, written_atomically

    content = collect(study, plan, outcomes, folder, bundle=bundle)
    write_json(folder / STUDY_FILE, content)
    table = format_study(content)
    with written_atomically(folder / TABLE_FILE) as temporary:
        temporary.write_text(table, encoding="utf-8")
    print(table)
    print(f"wrote {folder / STUDY_FILE} and {folder / TABLE_FILE}")
    failed = [cell for cell in plan.cells if not outcomes[plan.last_step(cell)].good]
    for cell in failed:
        print(f"no result: {cell.name}: {outcomes[plan.last_step(cell)].reason}")
    return 1 if failed else 0


def collect(study: Study, plan: Plan, outcomes: dict[str, Outcome], folder: Path, *, bundle: Path) -> dict[str, Any]:
    """Gather the content of study.json: settings, cells, paired differences, effects of the switches, provenance."""
    from biomedjourney_monai import __version__
    from biomedjourney_monai.evaluation.ablation import table as study_table
    from biomedjourney_monai.files import file_hash, read_json
    from biomedjourney_monai.schema import METRICS_FILE

    whole = {cell.name: cell for cell in study.cells if _has_result(cell, plan, outcomes, folder)}
    content: dict[str, Any] = {
        "settings": study.as_record(),
        "version": __version__,
        "cells": [_cell_record(cell, study, plan, outcomes, folder) for cell in study.cells],
        "baselines": {},
        "differences": [],
        "effects": [],
    }
    if not whole:
        return content
    folders = {name: plan.cell_folder(cell) for name, cell in whole.items()}
    asked = read_json(next(iter(folders.values())) / METRICS_FILE, made_by="evaluate")["settings"]
    policy = {key: asked[key] for key in ("bootstrap", "seed", "uncertain", "unmentioned")}
    files = {name: place / "scores.parquet" for name, place in folders.items()}
    scored = study_table.score_cells(files, plan.pairs_file(), **policy)
    for record in content["cells"]:
        if record["name"] in whole:
            record["metrics"] = study_table.cell_numbers(scored.summaries[record["name"]])
            model = folders[record["name"]] / "runs" / "finetune" / "model.pt"
            record["model_sha256"] = file_hash(model) if model.is_file() else ""
    reference = next(iter(whole))
    return content | {
        "journeys": scored.journeys,
        "patients": scored.patients,
        "journeys_left_out": scored.left_out,
        "bootstrap": policy["bootstrap"],
        "baselines": {
            name: study_table.cell_numbers(scored.summaries[name])
            for name in study_table.BASELINES
            if name in scored.summaries
        },
        "differences": study_table.compare_with(scored, list(whole), reference),
        "effects": study_table.switch_effects(scored, {name: factors(cell, study) for name, cell in whole.items()}),
    }


def factors(cell: Cell, study: Study) -> dict[str, Any]:
    """The cell's level on each axis; the variant is one where the study has variants."""
    from dataclasses import asdict

    levels = asdict(cell)
    return levels if study.variants else {axis: level for axis, level in levels.items() if axis != "variant"}


def _has_result(cell: Cell, plan: Plan, outcomes: dict[str, Outcome], folder: Path) -> bool:
    """Whether this run or, for a cell that was not asked for, an earlier one with these settings scored it."""
    from biomedjourney_monai.evaluation.ablation.steps import done_steps

    if plan.last_step(cell) in outcomes:
        return outcomes[plan.last_step(cell)].good
    return plan.last_step(cell) in {step.name for step in done_steps(plan.for_cells([cell]).steps(), folder)}


def _cell_record(cell: Cell, study: Study, plan: Plan, outcomes: dict[str, Outcome], folder: Path) -> dict[str, Any]:
    from biomedjourney_monai.evaluation.ablation.steps import read_state

    outcome = outcomes.get(plan.last_step(cell))
    states = {name: read_state(folder, name) for name in plan.own_steps(cell)}
    trained = [read_state(folder, name).get("seconds", 0) for name in plan.training_steps(cell)]
    return {
        "name": cell.name,
        "factors": factors(cell, study),
        "status": outcome.status if outcome else "not asked for",
        "reason": outcome.reason if outcome else "not asked for in this run",
        "seconds": round(sum(float(state.get("seconds", 0)) for state in states.values()), 1),
        "training_seconds": round(sum(map(float, trained)), 1),
        "commands": {name: state["command"] for name, state in states.items() if "command" in state},
        "metrics": {},
    }
