"""One self-contained HTML page on what stages kept and dropped beside the paper's numbers, and how pairs registered.

The same working folder gives the same bytes. The registration page shows radiographs, so it is patient data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.files import read_json, written_atomically
from biomedjourney_monai.radiographs import read_mask, read_png
from biomedjourney_monai.radiographs.pictures.html import FULL_DIFFERENCE, colour_difference, picture_uri
from biomedjourney_monai.schema import CHEXPERT_LABELS, IMAGES_FOLDER

PAPER_IMAGES = 377_110
PAPER_STUDIES = 227_827
PAPER_PA_IMAGES = 157_148
PAPER_SINGLES = 69_846
PAPER_TRIPLES = {"train": 9_354, "validate": 1_056, "test": 1_214}

_PA_NOTE = (
    "the paper's number; MIMIC-CXR-JPG's ViewPosition says PA of 96,161 images, so the paper must count differently"
)
_SINGLES_NOTE = "one image per study here"


@dataclass(frozen=True)
class Step:
    """What is left after a step.

    Args:
        name: of what is counted.
        here: the number; None if the step has not run.
        paper: the paper's number; None if it gives none.
        note: on the comparison of the two.
    """

    name: str
    here: int | None
    paper: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Losses:
    """What one step dropped: reason → number, the most frequent first."""

    name: str
    reasons: Mapping[str, int]

    @property
    def total(self) -> int:
        """Number of everything that the step dropped."""
        return sum(self.reasons.values())


def count_steps(
    cohort: Mapping[str, Any] | None, journeys: Mapping[str, Any] | None, pairs: Mapping[str, Any] | None
) -> list[Step]:
    """Count what is left, step by step, from cohort_drops.json, journeys_drops.json and register_drops.json."""
    splits = (cohort or {}).get("kept_by_split", {})
    singles = splits.get("train", 0) + splits.get("validate", 0) if cohort else None
    steps = [
        Step("images in the source", _get(cohort, "images"), PAPER_IMAGES),
        Step("studies in the source", _get(cohort, "studies"), PAPER_STUDIES),
        Step("images that are PA", _get(cohort, "pa_images"), PAPER_PA_IMAGES, _PA_NOTE),
        Step("eligible studies", _get(cohort, "kept")),
        Step("of these in train and validate, for pretraining", singles, PAPER_SINGLES, _SINGLES_NOTE),
    ]
    if journeys or pairs:
        found = _get(journeys, "kept") if journeys else _get(pairs, "journeys")
        steps.append(Step("journeys: two consecutive studies", found))
    if pairs:
        kept = pairs["kept_by_split"]
        steps.append(Step("pairs kept", pairs["kept"], sum(PAPER_TRIPLES.values())))
        steps += [Step(f"pairs kept: {split}", kept.get(split, 0), paper) for split, paper in PAPER_TRIPLES.items()]
    return steps


def count_losses(
    cohort: Mapping[str, Any] | None, journeys: Mapping[str, Any] | None, pairs: Mapping[str, Any] | None
) -> list[Losses]:
    """Count what each step dropped and why; arguments as for `count_steps`."""
    parts = [
        ("images left out by cohort", _get(cohort, "images_dropped")),
        ("studies left out by cohort", _get(cohort, "studies_dropped")),
        ("images kept, but flagged", _get(cohort, "images_flagged")),
        ("pairs of studies left out by journeys", _get(journeys, "dropped")),
        ("journeys left out by register", _get(pairs, "dropped")),
    ]
    return [Losses(name, _most_frequent_first(reasons)) for name, reasons in parts if reasons is not None]


def _get(counts: Mapping[str, Any] | None, key: str) -> Any:
    return None if counts is None else counts.get(key)


def _most_frequent_first(reasons: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))


PER_KIND = 2


@dataclass(frozen=True)
class PairPictures:
    """One pair on the page.

    Args:
        title: for example "best, j000012".
        facts: its measures, and whether it is kept, in one line.
        before: (caption, data URI) of the prior, the new image before registration, and their difference.
        after: the same with the registered image.
    """

    title: str
    facts: str
    before: list[tuple[str, str]]
    after: list[tuple[str, str]]


def choose_pairs(pairs: pd.DataFrame, *, per_kind: int = PER_KIND) -> list[tuple[str, int]]:
    """Choose pairs by score: the best, the median and the worst of all registered ones, and the worst kept.

    Returns:
        (kind, row number), each pair once, under the first kind that includes it.
    """
    places = np.flatnonzero(pairs["gradient_correlation"].notna() & (pairs["new_image"] != ""))
    order = places[np.argsort(-pairs["gradient_correlation"].to_numpy()[places], kind="stable")]
    kept = order[pairs["kept"].to_numpy()[order]]
    middle = max(0, (len(order) - per_kind + 1) // 2)
    kinds = {
        "best": order[:per_kind],
        "median": order[middle : middle + per_kind],
        "worst": order[::-1][:per_kind],
        "worst kept": kept[::-1][:per_kind],
    }
    chosen: dict[int, str] = {}
    for kind, rows in kinds.items():
        for row in rows:
            chosen.setdefault(int(row), kind)
    return [(kind, row) for row, kind in chosen.items()]


def draw_pair(kind: str, row: Mapping[str, Any], work: Path) -> PairPictures:
    """Read a pair's pictures and measures, from its row of pairs.parquet; an ImageError if a picture is missing."""
    prior, moved = read_png(work / row["prior_image"]), read_png(work / row["new_image"])
    new = read_png(work / IMAGES_FOLDER / f"{row['new_dicom_id']}.png")
    valid = read_mask(work / row["valid_mask"])
    facts = [
        f"score {row['gradient_correlation']:.3f}",
        f"scale {row['scale']:.2f}",
        f"rotation {row['rotation_degrees']:.1f}°",
        f"shift {row['shift_x_px']:.0f}, {row['shift_y_px']:.0f} px",
        f"overlap {row['overlap']:.2f}",
        "kept" if row["kept"] else f"dropped: {row['drop_reason']}",
    ]
    return PairPictures(
        title=f"{kind}, {row['journey_id']}",
        facts=" · ".join(facts),
        before=_row(prior, new, "new image", None),
        after=_row(prior, moved, "new image, registered", valid),
    )


def _row(prior: np.ndarray, new: np.ndarray, caption: str, valid: np.ndarray | None) -> list[tuple[str, str]]:
    return [
        ("prior image", picture_uri(prior)),
        (caption, picture_uri(new)),
        ("difference", picture_uri(colour_difference(new, prior, valid=valid))),
    ]


WIDTH, HEIGHT = 860, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 14, 40
BIN_WIDTH = 0.025


def draw_histogram(kept: np.ndarray, dropped: np.ndarray, *, threshold: float) -> str:
    """Draw the number of pairs by score in [-1, 1], dropped ones on top of kept ones, with a line at the threshold.

    Scores that are NaN are left out. Returns SVG markup, without external text.
    """
    kept, dropped = (np.asarray(scores, float)[np.isfinite(scores)] for scores in (kept, dropped))
    low = min(0.0, np.floor(np.concatenate([kept, dropped, [threshold]]).min() / BIN_WIDTH) * BIN_WIDTH)
    edges = np.arange(round((1.0 - low) / BIN_WIDTH) + 1) * BIN_WIDTH + low
    counts = [np.histogram(scores, edges)[0] for scores in (kept, dropped)]
    highest = max(1, int((counts[0] + counts[1]).max()))
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Histogram of the registration scores">']
    parts += [_axes(edges, highest)]
    for place, (good, bad) in enumerate(zip(*counts)):
        span = (_x(edges[place], edges), _x(edges[place + 1], edges))
        range_text = f"{edges[place]:.3f} to {edges[place + 1]:.3f}"
        parts.append(_bar("kept", span, 0, int(good), highest, f"{range_text}: {good} kept"))
        parts.append(_bar("dropped", span, int(good), int(bad), highest, f"{range_text}: {bad} dropped"))
    x = _x(threshold, edges)
    parts.append(f'<line class="threshold" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    parts.append(f'<text class="tick" x="{x + 6}" y="{TOP + 12}">threshold {threshold:.3f}</text>')
    return "".join([*parts, "</svg>"])


def _x(value: float, edges: np.ndarray) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * float((value - edges[0]) / (edges[-1] - edges[0])), 1)


def _y(count: float, highest: int) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * count / highest, 1)


def _axes(edges: np.ndarray, highest: int) -> str:
    parts = []
    for tenth in range(int(np.ceil(edges[0] * 10)), 11, 2 if edges[0] >= -0.5 else 5):
        x = _x(tenth / 10, edges)
        parts.append(
            f'<text class="tick" x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tenth / 10:.1f}</text>'
        )
    for count in sorted({0, highest // 2, highest}):
        y = _y(count, highest)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{count:,}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="tick" x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">gradient correlation</text>')
    return "".join(parts)


def _bar(css: str, span: tuple[float, float], start: int, count: int, highest: int, title: str) -> str:
    if not count:
        return ""
    top, bottom = _y(start + count, highest), _y(start, highest)
    return (
        f'<rect class="{css}" x="{span[0] + 0.5}" width="{round(span[1] - span[0] - 1, 1)}" '
        f'y="{top}" height="{round(bottom - top, 1)}"><title>{title}</title></rect>'
    )


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
    template = open_template(
        Path(__file__).with_name(TEMPLATE), count=lambda number: "–" if number is None else f"{number:,}"
    )
    defaults: dict[str, Any] = {
        "labels": None,
        "splits": None,
        "histogram": None,
        "pictures": [],
        "full_difference": FULL_DIFFERENCE,
    }
    return template.render(**defaults | content, title=title, version=__version__)


def open_template(path: Path, **filters: Callable[..., str]) -> jinja2.Template:
    """Load a page's template; what it inserts is escaped, and what it lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(path.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(path.name)


def _write(path: Path, page: str) -> Path:
    with written_atomically(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
