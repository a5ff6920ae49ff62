"""A study's table as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TITLES = {
    "pathology_auroc": "findings",
    "changed_auroc": "changed findings",
    "race_auroc": "group",
    "age_r": "age r",
    "dice_reference": "Dice",
    "cmig": "CMIG",
}


def format_study(study: Mapping[str, Any]) -> str:
    """Lay study.json out as Markdown: cells, effects of the switches, differences, time of variants, failures."""
    axes = list(study["cells"][0]["factors"])
    good = [cell for cell in study["cells"] if cell["metrics"]]
    lines = ["# Study", ""]
    if good:
        lines += [_how(study, axes), "", *_cells(study, good, axes)]
    if study["effects"]:
        lines += ["", "## What each switch does", ""]
        lines += ["Mean paired difference of the cells that differ in this switch alone, 95 % interval.", ""]
        names = [
            f"{effect['axis']}: {effect['from']} → {effect['to']} ({effect['pairs']})" for effect in study["effects"]
        ]
        lines += _table(
            "switch (pairs of cells)", names, [effect["metrics"] for effect in study["effects"]], signed=True
        )
    if study["differences"]:
        other = study["differences"][0]["other"]
        lines += ["", f"## Each cell minus `{other}`", ""]
        names = [f"`{row['one']}`" for row in study["differences"]]
        lines += _table("cell", names, [row["metrics"] for row in study["differences"]], signed=True)
    if good and "variant" in axes:
        lines += ["", "## What an iteration costs", ""]
        lines += ["The budget is in iterations; one takes longer where a network is larger.", ""]
        lines += ["| cell | training, s |", "|---|---:|"]
        lines += [f"| `{cell['name']}` | {cell['training_seconds']:.0f} |" for cell in good]
    failed = [cell for cell in study["cells"] if not cell["metrics"]]
    if failed:
        lines += ["", "## Cells without a result", ""]
        lines += [f"- `{cell['name']}`: {cell['reason']}" for cell in failed]
    return "\n".join([*lines, ""])


def _how(study: Mapping[str, Any], axes: Sequence[str]) -> str:
    shared = "text encoder and variant" if "variant" in axes else "text encoder"
    training = study["settings"]["training"]
    return (
        f"Every cell was trained for {training['iterations']} iterations in all; cells with two stages spent "
        f"{training['pretrain_iterations']} of them on stage 1, and share one stage 1 per {shared}. Scored on the "
        f"same {study['journeys']} journeys of {study['patients']} patients ({study['settings']['split']} split), "
        f"against the same references. Intervals: 95 %, bootstrap over patients, {study['bootstrap']} rounds."
    )


def _cells(study: Mapping[str, Any], good: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> list[str]:
    names = [" | ".join(_level(cell["factors"][axis]) for axis in axes) for cell in good]
    rows = [cell["metrics"] for cell in good]
    for name, metrics in study["baselines"].items():
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
