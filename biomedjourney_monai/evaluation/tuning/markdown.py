"""The result of `biomedjourney tune` as a table in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from biomedjourney_monai.evaluation.metrics.registry import MEASURES
from biomedjourney_monai.evaluation.tuning.validation_score import score_name

COLUMNS = {
    score_name(measure, part): (heading, measure.unit)
    for measure in MEASURES
    for part, heading in measure.tuning.items()
}
"""Score -> heading and unit; a column without any score is left out."""


def format_tuning(content: Mapping[str, Any]) -> str:
    """The settings of tune.json, then a row for each pair of scales and threshold."""
    settings, points = content["settings"], content["points"]
    lines = ["# Guidance scales and what is kept of the prior", "", _how(settings)]
    if settings["truth"] is not None:
        lines += [
            "",
            "*Inside* and *outside*: PSNR to the true counterfactual inside and outside the changed region, of the"
            f" {settings['truth']['journeys']} of these journeys that have one.",
        ]
    return "\n".join([*lines, "", *format_points(points, frontier=content["frontier"], best=content["best"]), ""])


def format_points(points: Sequence[Mapping[str, Any]], *, frontier: Sequence[int], best: int) -> list[str]:
    """The table's lines, the best CMIG in bold; `frontier` and `best` are indices of points."""
    columns = [name for name in COLUMNS if any(name in point for point in points)]
    heads = ["kept below", "text, image", *(COLUMNS[name][0] for name in columns), ""]
    lines = ["| " + " | ".join(heads) + " |", "|---|---" + "|---:" * len(columns) + "|---|"]
    for place, point in enumerate(points):
        names = [_threshold(point["keep_unchanged"]), _scales(point)]
        names = [f"**{name}**" for name in names] if place == best else names
        notes = ["frontier"] * (place in frontier) + ["best CMIG"] * (place == best)
        cells = [*names, *(_cell(point.get(name), COLUMNS[name][1]) for name in columns), ", ".join(notes)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _how(settings: Mapping[str, Any]) -> str:
    sampler = settings["sampler"]
    low, high = sampler["guidance_interval"]
    guided = "" if (low, high) == (0, 1) else f", guided between the noise levels {low:g} and {high:g}"
    return (
        f"{settings['journeys']} journeys of split {settings['split']}, {sampler['steps']} steps of {sampler['solver']}"
        f"{guided}, seed {settings['seed']}, model {settings['model'][:12]}. The frontier: no other row has both a"
        " higher pathology AUROC and a higher mean of group AUROC and age r."
    )


def _scales(point: Mapping[str, Any]) -> str:
    return f"{point['text_guidance_scale']:g}, {point['image_guidance_scale']:g}"


def _threshold(value: float) -> str:
    return f"{value:g}".replace("0.", ".", 1) if value else "nothing kept"


def _cell(value: float | None, unit: str) -> str:
    if value is None or value != value:
        return "–"
    if unit == "dB":
        return f"{value:.1f}"
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text
