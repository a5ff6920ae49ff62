"""One self-contained HTML page from metrics.json, scores.parquet and the working folder's pictures."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from markupsafe import Markup

from biomedjourney_monai import __version__
from biomedjourney_monai.configuration import locate_root
from biomedjourney_monai.errors import TableError, refuse_unknown_keywords, require_at_least
from biomedjourney_monai.evaluation.comparison import AGE_BANDS
from biomedjourney_monai.evaluation.judges.loading import reload_judges
from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS
from biomedjourney_monai.evaluation.metrics.registry import HEADLINES, MAIN_TABLE, measure_of
from biomedjourney_monai.evaluation.page.cases import RULE, list_failures, list_unknown
from biomedjourney_monai.evaluation.page.charts import ChartRow, Dot, draw_dot_plot, measure_charts
from biomedjourney_monai.evaluation.page.gallery import Gallery, Sources, build_gallery
from biomedjourney_monai.evaluation.page.metrics_csv import CSV_FILE, default_uri, log_evaluation, write_metrics_csv
from biomedjourney_monai.evaluation.page.panels import CHOICE, structure_classes
from biomedjourney_monai.evaluation.page.paper_tables import result_tables
from biomedjourney_monai.evaluation.systems.sources import COUNTERFACTUAL
from biomedjourney_monai.files import read_json, written_atomically
from biomedjourney_monai.output_check import refuse_unwritable_results
from biomedjourney_monai.preparation.quality.page import open_template
from biomedjourney_monai.radiographs.pictures.html import FULL_DIFFERENCE
from biomedjourney_monai.schema import FINDINGS, METRICS_FILE, REPORT_FOLDER, STRUCTURES

PAGE_FILE = "index.html"
ABLATION_FILE = "ablation.json"
NO_TRACKING = "none"

CSS_CLASSES = {
    "copy-prior": "prior",
    COUNTERFACTUAL: "model",
    "real reference": "real",
    "true counterfactual": "truth",
}
OTHER_CLASSES = 5
"""Further systems have the colours other0 to other4, and then again from the first."""

# The components of a score come before it in the chart, and after it among the cards.
CHART_ROWS = tuple(sorted(HEADLINES, key=lambda measure: measure.combined))
CARDS = tuple(sorted(HEADLINES, key=lambda measure: not measure.combined))


@dataclass(frozen=True)
class Report:
    """What `write_report` wrote.

    Attributes:
        page: index.html.
        table: metrics.csv.
        numbers: how many numbers are in the table.
        shown: journeys on the page.
        left_out: journeys whose picture could not be read.
        no_judges: why there are no contours and heat maps; "" if there are.
        run: id of MLflow's run; "" without tracking.
        tracking_uri: its store.
    """

    page: Path
    table: Path
    numbers: int
    shown: int
    left_out: int
    no_judges: str
    run: str
    tracking_uri: str


@refuse_unknown_keywords
def write_report(
    work: str | Path,
    *,
    out: str | Path | None = None,
    panels: int = 12,
    seed: int = 0,
    judge_weights: str | Path | None = None,
    truth: str | Path | None = None,
    ablation: str | Path | None = None,
    ladders: Sequence[str | Path] = (),
    tracking_uri: str | None = None,
) -> Report:
    """Write the page and metrics.csv, and record the evaluation in MLflow.

    Args:
        work: working folder that `biomedjourney evaluate` has scored.
        out: folder for index.html; None for `report/` of the working folder.
        panels: journeys to show, 0 for no pictures.
        seed: of the draw of the journeys to show.
        judge_weights: folder of the evaluation's judges, for contours and heat maps; None for the bundle's `models/`.
        truth: folder of true counterfactuals of rendered patients, to show.
        ablation: folder of `biomedjourney ablation`, for the paper's Tables 2 and 5.
        ladders: folders of `biomedjourney ladder`, whose strips are shown.
        tracking_uri: MLflow's store; None for the working folder's, "none" for no tracking.

    Raises:
        SettingError: if `panels` or `seed` is negative.
        TableError: if the evaluation, or an ablation that is asked for, is missing or unreadable.
        ImageError: if a ladder has no strip.
    """
    require_at_least(0, panels=panels, seed=seed)
    work = Path(work)
    page = Path(out or work / REPORT_FOLDER) / PAGE_FILE
    refuse_unwritable_results(page.parent, PAGE_FILE)
    refuse_unwritable_results(work, CSV_FILE)
    metrics = read_metrics(work / METRICS_FILE)
    cells = None if ablation is None else read_ablation_results(Path(ablation) / ABLATION_FILE)
    judges, no_judges = reload_judges(metrics["judges"], Path(judge_weights or Path(locate_root()) / "models"))
    truths = None if truth is None else Path(truth)
    sources = Sources(work, judges=judges, truth=truths, ladders=[Path(folder) for folder in ladders])
    gallery = build_gallery(metrics, sources, count=panels, seed=seed)
    content = render_page(metrics, gallery, ablation=cells, no_judges=no_judges)
    with written_atomically(page) as temporary:
        temporary.write_text(content, encoding="utf-8")
    table = work / CSV_FILE
    numbers = write_metrics_csv(metrics, table)
    uri = tracking_uri or default_uri(work)
    run = "" if uri == NO_TRACKING else log_evaluation(metrics, [work / METRICS_FILE, table, page], uri=uri)
    left_out = sum(gallery.left_out.values())
    return Report(page, table, numbers, len(gallery.panels), left_out, no_judges, run, uri)


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
        keys = {measure.key for measure in MAIN_TABLE}
        complete = metrics["counts"] and all(keys <= set(system["metrics"]) for system in metrics["systems"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise TableError(
            f"{path} must hold an evaluation", found=f"unreadable ({type(error).__name__})", action=action
        ) from error
    if not complete or not metrics["systems"]:
        raise TableError(f"{path} must hold an evaluation", found="a system without some of the metrics", action=action)
    return metrics


def read_ablation_results(path: Path) -> dict[str, Any]:
    """Read ablation.json.

    Raises:
        TableError: if it is missing or not what `biomedjourney ablation` writes.
    """
    content = read_json(path, made_by="ablation")
    if not isinstance(content, dict) or not {"cells", "settings"} <= set(content):
        raise TableError(
            f"{path} must hold an ablation",
            found="no cells and settings",
            action="Run `biomedjourney ablation` again",
        )
    return content


def render_page(
    metrics: Mapping[str, Any], gallery: Gallery, *, ablation: Mapping[str, Any] | None = None, no_judges: str = ""
) -> str:
    """Fill the template."""
    template = Path(__file__).with_name("report.html.j2")
    filters = {"number": format_number, "short": format_short, "days": format_days}
    systems = metrics["systems"]
    by_name = {system["name"]: system for system in systems}
    return open_template(template, **filters).render(
        metrics=metrics,
        systems=systems,
        model=by_name.get(COUNTERFACTUAL),
        prior=by_name["copy-prior"],
        real=by_name["real reference"],
        css=css_classes(systems),
        measures=MAIN_TABLE,
        measure_of=measure_of,
        notes=_notes(systems),
        headline=CARDS,
        chart=Markup(draw_dot_plot(_chart_rows(systems))),
        tables=result_tables(metrics, ablation),
        has_ablation=ablation is not None,
        parts={"findings": FINDINGS, "groups": RACE_GROUPS, "structures": STRUCTURES},
        further=measure_charts(metrics),
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
    """Put sex, age and race, and the age bands, into their usual order; JSON has sorted them."""
    bands = [name for name, _, _ in AGE_BANDS]
    attributes = sorted(subgroups, key=lambda name: ("sex", "age", "race", name).index(name))
    return {
        name: dict(
            sorted(subgroups[name].items(), key=lambda item: bands.index(item[0]) if item[0] in bands else len(bands))
        )
        for name in attributes
    }


def format_number(value: float | None) -> str:
    """A number with three decimals, from ten on with one; an unknown one as a dash."""
    if value is None or value != value:
        return "–"
    digits = 1 if abs(value) >= 10 else 3
    text = f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0 turns -0.0 into 0.0
    return text.replace("-", "−")


def format_short(value: float) -> str:
    """An end of a scale."""
    return f"{value:.3g}".replace("-", "−")


def format_days(days: float) -> str:
    """How much later an examination was; NaN where the source has no dates."""
    if math.isnan(days):
        return "a later visit"
    whole = round(days)
    return "the same day" if whole < 1 else f"{whole} day{'s' if whole != 1 else ''} later"


def _notes(systems: Sequence[Mapping[str, Any]]) -> list[str]:
    """The overall numbers that are unknown or partial, and why."""
    return [
        f"{system['name']}, {measure.title}: {system['metrics'][measure.key]['overall']['note']}"
        for system in systems
        for measure in MAIN_TABLE
        if system["metrics"][measure.key]["overall"]["note"]
    ]


def _chart_rows(systems: Sequence[Mapping[str, Any]]) -> list[ChartRow]:
    css = css_classes(systems)
    rows = []
    for measure in CHART_ROWS:
        dots = []
        for system in systems:
            number = system["metrics"][measure.key]["overall"]
            if number["value"] is not None:
                name = html.escape(system["name"])
                dots.append(Dot(name, css[system["name"]], number["value"], number["low"], number["high"]))
        rows.append(ChartRow(html.escape(measure.title), measure.chance, dots))
    return rows
