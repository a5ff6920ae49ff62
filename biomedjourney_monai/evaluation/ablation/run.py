"""The stage `ablation`: train and score every cell of a grid with equal budgets, and write ablation.json and .md."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biomedjourney_monai.errors import ConfigError, refuse_unknown_keywords
from biomedjourney_monai.evaluation.ablation.grid import choose_cells, read_ablation
from biomedjourney_monai.evaluation.ablation.plan import Plan
from biomedjourney_monai.evaluation.ablation.steps import (
    describe_time,
    done_steps,
    estimate_seconds,
    forget,
    launcher,
    run_steps,
)
from biomedjourney_monai.evaluation.ablation.table import collect_results, format_ablation
from biomedjourney_monai.files import write_json, written_atomically
from biomedjourney_monai.model_config import ModelConfig

RESULTS_FILE = "ablation.json"
TABLE_FILE = "ablation.md"


@dataclass(frozen=True)
class AblationResult:
    """The result of an ablation: the written content and files, and the reason of each wanted cell without a result."""

    content: dict[str, Any]
    table: str
    file: Path
    table_file: Path
    failed: dict[str, str]


@refuse_unknown_keywords
def run_ablation(
    config: str | Path,
    *,
    out: str | Path = "ablation",
    bundle: str | Path | None = None,
    cells: Sequence[str] = (),
    again: bool = False,
    say: Callable[[str], None] = print,
) -> AblationResult:
    """Run the steps that are not done, and write the table of every cell that has a result.

    Args:
        config: settings file, for example the bundle's `configs/ablation.yaml`.
        out: folder of the ablation.
        bundle: bundle folder; None for the installed one.
        cells: names of the wanted cells; none for all.
        again: run the wanted cells' own steps again.
        say: called with a line for each step and the estimated remaining time.

    Raises:
        ConfigError: naming the setting that is wrong, or a cell that is not in the grid.
        AblationStoppedError: if a command was told to stop.
    """
    if again and not cells:
        raise ConfigError("--again goes with --cell", found="no cell", action="Name the cells to run again")
    plan = _make_plan(config, out, bundle, cells)
    with launcher(plan.folder) as launch:
        steps = plan.steps()
        if again:
            own = {name for cell in plan.cells for name in plan.own_steps(cell)}
            forget([step for step in steps if step.name in own], plan.folder)
        outcomes = run_steps(steps, plan.folder, launch=launch, say=say)
        content = collect_results(plan, outcomes)
        table, file, table_file = format_ablation(content), plan.folder / RESULTS_FILE, plan.folder / TABLE_FILE
        write_json(file, content)
        with written_atomically(table_file) as temporary:
            temporary.write_text(table, encoding="utf-8")
    last = {cell.name: outcomes[plan.last_step(cell)] for cell in plan.cells}
    failed = {name: outcome.reason for name, outcome in last.items() if not outcome.good}
    return AblationResult(content, table, file, table_file, failed)


def list_steps(
    config: str | Path,
    *,
    out: str | Path = "ablation",
    bundle: str | Path | None = None,
    cells: Sequence[str] = (),
) -> list[str]:
    """The steps and which of them are done, as lines of text; nothing is run. For the arguments see `run_ablation`."""
    plan = _make_plan(config, out, bundle, cells)
    steps = plan.steps()
    done = done_steps(steps, plan.folder)
    left = estimate_seconds([step for step in steps if step not in done], done, plan.folder)
    summary = f"{len(plan.cells)} cells, {len(steps)} steps, {len(done)} of them done; {describe_time(left)}"
    return [*(f"{'done' if step in done else 'to do':6} {step.name}" for step in steps), summary]


def _make_plan(config: str | Path, out: str | Path, bundle: str | Path | None, cells: Sequence[str]) -> Plan:
    model = ModelConfig.find(bundle)
    root = model.bundle.resolve()
    ablation = read_ablation(Path(config), bundle=root)
    size = int(ablation.networks.get("image_size") or model.image_size)
    return Plan(ablation, choose_cells(ablation, cells), Path(out).resolve(), bundle=root, image_size=size)
