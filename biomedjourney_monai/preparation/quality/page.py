"""One self-contained HTML page on what a stage kept and dropped, and how well pairs were registered.

The same working folder gives the same bytes. The registration page shows radiographs, so it is patient data.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.files import read_json, written_atomically
from biomedjourney_monai.preparation.quality.attrition import count_losses, count_steps
from biomedjourney_monai.preparation.quality.histogram import draw_histogram
from biomedjourney_monai.preparation.quality.pair_pictures import PairPictures, choose_pairs, draw_pair
from biomedjourney_monai.radiographs.pictures.html import FULL_DIFFERENCE
from biomedjourney_monai.schema import CHEXPERT_LABELS

TEMPLATE = "page.html.j2"
COHORT_PAGE = "cohort_report.html"
REGISTER_PAGE = "register_report.html"
COHORT_COUNTS = "cohort_drops.json"
JOURNEYS_COUNTS = "journeys_drops.json"


def write_cohort_page(work: str | Path, studies: pd.DataFrame, counts: Mapping[str, Any]) -> Path:
    """Write cohort_report.html: what is left after each step, the reasons, and the labels by split.

    Args:
        studies: columns `schema.STUDY_COLUMNS`.
        counts: as in cohort_drops.json.
    """
    present = (studies[list(CHEXPERT_LABELS)] == 1).groupby(studies["split"]).sum()
    page = _render(
        title="Cohort",
        steps=count_steps(counts, None, None),
        losses=count_losses(counts, None, None),
        labels={label: present[label].to_dict() for label in CHEXPERT_LABELS},
        splits=counts["kept_by_split"],
    )
    return _write(Path(work) / COHORT_PAGE, page)


def write_quality_page(work: str | Path, pairs: pd.DataFrame, counts: Mapping[str, Any]) -> Path:
    """Write register_report.html: what is left after each step, the reasons, the scores, and example pairs.

    Args:
        work: the working folder; the counts of cohort and journeys are shown if they exist.
        pairs: columns `schema.PAIR_COLUMNS`.
        counts: as in register_drops.json.
    """
    work = Path(work)
    stages = (_read_counts(work / COHORT_COUNTS, "cohort"), _read_counts(work / JOURNEYS_COUNTS, "journeys"), counts)
    kept = pairs["kept"].astype(bool)
    scores = pairs["gradient_correlation"].astype(float)
    bars = draw_histogram(scores[kept].to_numpy(), scores[~kept].to_numpy(), threshold=counts["min_score"])
    pictures, unreadable = _draw_pairs(pairs, work)
    page = _render(
        title="Registration",
        steps=count_steps(*stages),
        losses=count_losses(*stages),
        histogram=Markup(bars),
        scored=int(scores.notna().sum()),
        quartiles=scores.quantile([0.05, 0.25, 0.5, 0.75]).to_dict(),
        calibrated=counts.get("calibrated_at_percentile"),
        pictures=pictures,
        unreadable=unreadable,
    )
    return _write(work / REGISTER_PAGE, page)


def _draw_pairs(pairs: pd.DataFrame, work: Path) -> tuple[list[PairPictures], int]:
    drawn, unreadable = [], 0
    for kind, row in choose_pairs(pairs):
        try:
            drawn.append(draw_pair(kind, {str(name): value for name, value in pairs.iloc[row].items()}, work))
        except ImageError:
            unreadable += 1
    return drawn, unreadable


def _read_counts(path: Path, verb: str) -> Mapping[str, Any] | None:
    return read_json(path, made_by=verb) if path.is_file() else None


def _render(*, title: str, **content: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda number: "–" if number is None else f"{number:,}"
    defaults: dict[str, Any] = {
        "labels": None,
        "splits": None,
        "histogram": None,
        "pictures": [],
        "full_difference": FULL_DIFFERENCE,
    }
    return environment.get_template(TEMPLATE).render(**defaults | content, title=title, version=__version__)


def _write(path: Path, page: str) -> Path:
    with written_atomically(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
