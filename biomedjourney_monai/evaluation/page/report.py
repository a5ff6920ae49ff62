"""One self-contained HTML page from metrics.json, scores.parquet and the working folder's pictures."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import TableError
from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS
from biomedjourney_monai.evaluation.page.anatomy import structure_classes
from biomedjourney_monai.evaluation.page.cases import RULE, list_failures, list_unknown
from biomedjourney_monai.evaluation.page.figures import ChartRow, Dot, draw_dot_plot
from biomedjourney_monai.evaluation.page.further import further_charts
from biomedjourney_monai.evaluation.page.gallery import Gallery, Sources, build_gallery
from biomedjourney_monai.evaluation.page.judges import reopen_judges
from biomedjourney_monai.evaluation.page.panels import CHOICE
from biomedjourney_monai.evaluation.page.paper_tables import result_tables
from biomedjourney_monai.evaluation.page.texts import METRIC_TEXTS, text_of
from biomedjourney_monai.evaluation.subgroups import AGE_BANDS
from biomedjourney_monai.files import read_json, written_atomically
from biomedjourney_monai.radiographs.pictures.html import FULL_DIFFERENCE
from biomedjourney_monai.schema import FINDINGS, METRICS_FILE, STRUCTURES

PAGE_FILE = "index.html"
TEMPLATE = "report.html.j2"
STUDY_FILE = "study.json"

CSS_CLASSES = {
    "copy-prior": "prior",
    "counterfactual": "model",
    "real reference": "real",
    "true counterfactual": "truth",
}
OTHER_CLASSES = 5
"""Further systems are coloured other0 to other4, and then from the beginning."""

CHART_METRICS = ("pathology_auroc", "changed_auroc", "race_auroc", "age_r", "dice_reference", "cmig")
HEADLINE_METRICS = ("cmig", "pathology_auroc", "changed_auroc", "race_auroc", "age_r", "dice_reference")


@dataclass(frozen=True)
class ReportOptions:
    """What a report can be asked for.

    Attributes:
        panels: how many journeys to show.
        seed: of their draw.
        judge_weights: folder of the evaluation's judges, for contours and heat maps.
        truth: folder of true counterfactuals of rendered patients.
        study: folder of `biomedjourney study`, for Tables 2 and 5.
        ladders: folders of `biomedjourney ladder`, whose strips are shown.
    """

    panels: int = 12
    seed: int = 0
    judge_weights: Path | None = None
    truth: Path | None = None
    study: Path | None = None
    ladders: Sequence[Path] = ()


def write_report(work: Path, out: Path, *, options: ReportOptions | None = None) -> dict[str, Any]:
    """Write the page.

    Args:
        work: working folder that `biomedjourney evaluate` has been through.
        out: folder for index.html.
        options: see there.

    Returns:
        How many journeys are shown, how many were left out for a picture that could not be read, and why there are no
        contours and heat maps, "" if there are.

    Raises:
        TableError: if the evaluation, or a study that is asked for, is missing or unreadable.
    """
    options = options or ReportOptions()
    metrics = read_metrics(work / METRICS_FILE)
    study = None if options.study is None else read_study_results(options.study / STUDY_FILE)
    judges, no_judges = reopen_judges(metrics, options.judge_weights)
    sources = Sources(work, judges=judges, truth=options.truth, ladders=options.ladders)
    gallery = build_gallery(metrics, sources, count=options.panels, seed=options.seed)
    page = render_page(metrics, gallery, study=study, no_judges=no_judges)
    with written_atomically(out / PAGE_FILE) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return {"shown": len(gallery.panels), "left out": sum(gallery.left_out.values()), "no judges": no_judges}


def read_metrics(path: Path) -> dict[str, Any]:
    """Read metrics.json.

    Raises:
        TableError: if it is missing or not what `biomedjourney evaluate` writes.
    """
    action = "Run `biomedjourney evaluate` first"
    if not path.is_file():
        raise TableError(f"{path} must exist", found="no such file", action=action)
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        keys = {text.key for text in METRIC_TEXTS}
        complete = metrics["counts"] and all(keys <= set(system["metrics"]) for system in metrics["systems"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise TableError(
            f"{path} must hold an evaluation", found=f"unreadable ({type(error).__name__})", action=action
        ) from error
    if not complete or not metrics["systems"]:
        raise TableError(f"{path} must hold an evaluation", found="one without all metrics", action=action)
    return metrics


def read_study_results(path: Path) -> dict[str, Any]:
    """Read study.json.

    Raises:
        TableError: if it is missing or not what `biomedjourney study` writes.
    """
    study = read_json(path, made_by="study")
    if not isinstance(study, dict) or not {"cells", "settings"} <= set(study):
        raise TableError(f"{path} must hold a study", found="something else", action="Run `biomedjourney study` again")
    return study


def render_page(
    metrics: Mapping[str, Any], gallery: Gallery, *, study: Mapping[str, Any] | None = None, no_judges: str = ""
) -> str:
    """Fill the template."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": format_number, "short": format_short, "days": format_days}
    systems = metrics["systems"]
    by_name = {system["name"]: system for system in systems}
    return environment.get_template(TEMPLATE).render(
        metrics=metrics,
        systems=systems,
        model=by_name.get("counterfactual"),
        prior=by_name["copy-prior"],
        real=by_name["real reference"],
        css=css_classes(systems),
        texts=METRIC_TEXTS,
        text_of=text_of,
        notes=_notes(systems),
        headline=[text_of(key) for key in HEADLINE_METRICS],
        chart=Markup(draw_dot_plot(_chart_rows(systems))),
        tables=result_tables(metrics, study),
        has_study=study is not None,
        parts={"findings": FINDINGS, "groups": RACE_GROUPS, "structures": STRUCTURES},
        further=further_charts(metrics),
        gallery=gallery,
        choice=CHOICE,
        rule=RULE,
        no_judges=no_judges,
        structures=structure_classes(),
        full_difference=FULL_DIFFERENCE,
        failures=list_failures(metrics) + [("pictures of this page", *row) for row in gallery.left_out.items()],
        subgroups={system["name"]: order_subgroups(system.get("subgroups", {})) for system in systems},
        unknown=list_unknown(metrics),
        rendered=metrics["judges"].get("name") == "phantom",
        version=__version__,
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )


def css_classes(systems: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """System name -> CSS class of its colour."""
    others = [system["name"] for system in systems if system["name"] not in CSS_CLASSES]
    return CSS_CLASSES | {name: f"other{n % OTHER_CLASSES}" for n, name in enumerate(others)}


def order_subgroups(subgroups: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Put sex, age and race, and the age bands, into the order that people read them in; JSON has sorted them."""
    bands = [name for name, _, _ in AGE_BANDS]
    attributes = sorted(subgroups, key=lambda name: ("sex", "age", "race", name).index(name))
    return {
        name: dict(
            sorted(subgroups[name].items(), key=lambda item: bands.index(item[0]) if item[0] in bands else len(bands))
        )
        for name in attributes
    }


def format_number(value: float | None) -> str:
    """Write a number with three decimals, from ten on with one, an unknown one as a dash."""
    if value is None or value != value:
        return "–"
    digits = 1 if abs(value) >= 10 else 3
    text = f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0 turns -0.0 into 0.0
    return text.replace("-", "−")


def format_short(value: float) -> str:
    """Write an end of a scale."""
    return f"{value:.3g}".replace("-", "−")


def format_days(days: float) -> str:
    """Say how much later an examination was."""
    whole = round(days)
    return "the same day" if whole < 1 else f"{whole} day{'s' if whole != 1 else ''} later"


def _notes(systems: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say which overall numbers are unknown or partial, and why."""
    return [
        f"{system['name']}, {text.name}: {system['metrics'][text.key]['overall']['note']}"
        for system in systems
        for text in METRIC_TEXTS
        if system["metrics"][text.key]["overall"]["note"]
    ]


def _chart_rows(systems: Sequence[Mapping[str, Any]]) -> list[ChartRow]:
    css = css_classes(systems)
    rows = []
    for key in CHART_METRICS:
        dots = []
        for system in systems:
            number = system["metrics"][key]["overall"]
            if number["value"] is not None:
                name = html.escape(system["name"])
                dots.append(Dot(name, css[system["name"]], number["value"], number["low"], number["high"]))
        rows.append(ChartRow(html.escape(text_of(key).name), text_of(key).chance, dots))
    return rows
