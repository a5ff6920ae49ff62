"""The tables of an ablation as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from biomedjourney_monai.evaluation.ablation.table import MEASURES

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
