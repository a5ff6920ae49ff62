"""One self-contained HTML page from metrics.json, scores.parquet and the working folder's pictures."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from tqdm import tqdm

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import ImageError, TableError
from biomedjourney_monai.evaluation.evaluate import SCORES_FILE
from biomedjourney_monai.evaluation.labels import RACE_GROUPS
from biomedjourney_monai.evaluation.report_figures import ChartRow, Dot, draw_dot_plot
from biomedjourney_monai.evaluation.report_panels import CHOICE, Panel, build_panel, choose_panels
from biomedjourney_monai.evaluation.scoring import SCORE_COLUMNS
from biomedjourney_monai.evaluation.systems import read_counterfactuals
from biomedjourney_monai.files import read_table, written_atomically
from biomedjourney_monai.radiographs.page_pictures import FULL_DIFFERENCE
from biomedjourney_monai.schema import FINDINGS, METRICS_FILE, PAIR_COLUMNS, PAIRS_FILE, SAMPLES_FOLDER, STRUCTURES

PAGE_FILE = "index.html"
TEMPLATE = "report.html.j2"

CSS_CLASSES = {"copy-prior": "prior", "counterfactual": "model", "real reference": "real"}


@dataclass(frozen=True)
class MetricText:
    """How the page speaks of a metric."""

    key: str
    name: str
    meaning: str
    chance: float | None = None
    lower_is_better: bool = False


METRIC_TEXTS = (
    MetricText(
        "pathology_auroc",
        "Findings",
        "Does the picture show the findings that the next report names? A classifier looks at each picture; the number"
        " is how often it ranks one with the finding above one without (AUROC, mean of five findings). 0.5 is chance,"
        " 1 is perfect. Where findings persist a mere copy of the prior does well too: compare with it.",
        chance=0.5,
    ),
    MetricText(
        "changed_auroc",
        "Changed findings",
        "The same, only on findings that appeared or resolved between the two examinations. A copy of the prior is"
        " wrong here by construction, so this is where following the description shows.",
        chance=0.5,
    ),
    MetricText(
        "race_auroc",
        "Group retained",
        "Is it still the same kind of person? A classifier tells demographic groups apart (AUROC, one group against"
        " the rest, mean). On rendered patients a group is an invented appearance that stands in for race.",
        chance=0.5,
    ),
    MetricText(
        "age_r",
        "Age retained",
        "A network estimates the age from the picture; the number is its correlation with the patient's age"
        " (Pearson's r). 0 means that age is lost, 1 that it is fully kept.",
        chance=0.0,
    ),
    MetricText(
        "cmig",
        "CMIG",
        "Accuracy and retention in one number: the geometric mean of the findings' AUROC on one side and, on the"
        " other, the geometric mean of group AUROC and age r. A system must do both to score high.",
    ),
    MetricText(
        "cmig_with_dice",
        "CMIG with anatomy",
        "CMIG with the anatomy overlap as a third measure of retention. An extension, not the paper's definition.",
    ),
    MetricText(
        "dice_reference",
        "Anatomy vs next",
        "Overlap of six structures (lungs, heart, diaphragm, mediastinum, spine) with those of the patient's real next"
        " image (Dice, 1 is identical).",
    ),
    MetricText(
        "dice_prior",
        "Anatomy vs prior",
        "The same overlap with the prior image. The prior itself has 1; a real next image has less, since patients"
        " breathe and turn.",
    ),
    MetricText(
        "kl",
        "KL divergence",
        "How far the classifier's view of the picture is from its view of the real next image: sum of p log(p/q) over"
        " five findings, each image's probabilities divided by their sum. 0 is best.",
        lower_is_better=True,
    ),
)
CHART_METRICS = ("pathology_auroc", "changed_auroc", "race_auroc", "age_r", "dice_reference", "cmig")
HEADLINE_METRICS = ("cmig", "pathology_auroc", "changed_auroc", "race_auroc", "age_r", "dice_reference")


def write_report(work: Path, out: Path, *, panels: int = 12, seed: int = 0) -> dict[str, int]:
    """Write the page.

    Args:
        work: working folder that `biomedjourney evaluate` has been through.
        out: folder for index.html.
        panels: how many journeys to show.
        seed: of their draw.

    Returns:
        How many journeys are shown and how many were left out for a picture that could not be read.

    Raises:
        TableError: if the evaluation is missing or unreadable.
    """
    metrics = read_metrics(work / METRICS_FILE)
    shown, left_out = build_panels(work, metrics, count=panels, seed=seed) if panels else ([], 0)
    page = render_page(metrics, shown)
    with written_atomically(out / PAGE_FILE) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return {"shown": len(shown), "left out": left_out}


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


def build_panels(work: Path, metrics: dict[str, Any], *, count: int, seed: int) -> tuple[list[Panel], int]:
    """Choose journeys among the scored ones and gather their pictures; the second number is how many had none."""
    columns = ["system", "journey_id", *SCORE_COLUMNS]
    scores = read_table(work / SCORES_FILE, columns=columns, made_by="evaluate")
    pairs = read_table(work / PAIRS_FILE, columns=PAIR_COLUMNS, made_by="register")
    has_model = any(system["name"] == "counterfactual" for system in metrics["systems"])
    counterfactuals = read_counterfactuals(work / SAMPLES_FOLDER) if has_model else None
    chosen = choose_panels(pairs[pairs["journey_id"].isin(set(scores["journey_id"]))], count=count, seed=seed)
    by_system = {name: rows.set_index("journey_id") for name, rows in scores.groupby("system")}
    panels, left_out = [], 0
    for journey in tqdm(chosen.to_dict("records"), desc="pictures", unit="journey"):
        mine = {name: rows.loc[journey["journey_id"]].to_dict() for name, rows in by_system.items()}
        try:
            panels.append(build_panel(journey, mine, counterfactuals, work=work))
        except (ImageError, KeyError):
            left_out += 1
    return panels, left_out


def render_page(metrics: dict[str, Any], panels: list[Panel]) -> str:
    """Fill the template."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": format_number, "days": format_days}
    systems = metrics["systems"]
    texts = {text.key: text for text in METRIC_TEXTS}
    return environment.get_template(TEMPLATE).render(
        metrics=metrics,
        systems=systems,
        model=next((system for system in systems if system["name"] == "counterfactual"), None),
        prior=next(system for system in systems if system["name"] == "copy-prior"),
        real=next(system for system in systems if system["name"] == "real reference"),
        css=CSS_CLASSES,
        texts=METRIC_TEXTS,
        notes=_notes(systems),
        starred=any(
            number["note"] for system in systems for parts in system["metrics"].values() for number in parts.values()
        ),
        headline=[texts[key] for key in HEADLINE_METRICS],
        chart=Markup(draw_dot_plot(_chart_rows(systems, texts))),
        parts={"findings": FINDINGS, "groups": RACE_GROUPS, "structures": STRUCTURES},
        panels=panels,
        choice=CHOICE,
        full_difference=FULL_DIFFERENCE,
        rendered=metrics["judges"].get("name") == "phantom",
        version=__version__,
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )


def format_number(value: float | None) -> str:
    """Write a number with three decimals, an unknown one as a dash."""
    if value is None or value != value:
        return "–"
    text = f"{round(value, 3) + 0.0:.3f}"  # + 0.0 turns -0.0 into 0.0
    return text.replace("-", "−")


def format_days(days: float) -> str:
    """Say how much later an examination was."""
    whole = round(days)
    return "the same day" if whole < 1 else f"{whole} day{'s' if whole != 1 else ''} later"


def _notes(systems: list[dict[str, Any]]) -> list[str]:
    """Say which overall numbers are unknown or partial, and why."""
    return [
        f"{system['name']}, {text.name}: {system['metrics'][text.key]['overall']['note']}"
        for system in systems
        for text in METRIC_TEXTS
        if system["metrics"][text.key]["overall"]["note"]
    ]


def _chart_rows(systems: list[dict[str, Any]], texts: dict[str, MetricText]) -> list[ChartRow]:
    rows = []
    for key in CHART_METRICS:
        dots = []
        for system in systems:
            number = system["metrics"][key]["overall"]
            if number["value"] is not None:
                css = CSS_CLASSES.get(system["name"], "other")
                dots.append(Dot(html.escape(system["name"]), css, number["value"], number["low"], number["high"]))
        rows.append(ChartRow(html.escape(texts[key].name), texts[key].chance, dots))
    return rows
