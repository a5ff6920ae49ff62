"""The charts: every system's dots by main metric, and a small chart of every metric that is not in the main tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from biomedjourney_monai.evaluation.metrics.measure import TOPICS, Measure
from biomedjourney_monai.evaluation.metrics.registry import MEASURES, measure_of
from biomedjourney_monai.evaluation.page.metrics_csv import metrics_by_system

HEADROOM = 0.06
"""Share of the numbers' range that is left free at both ends of a scale other than 0 to 1."""

WIDE = 0.5
"""Numbers between 0 and 1 that are all smaller than this get a scale that ends where they end."""


@dataclass(frozen=True)
class Bar:
    """A system's number on the scale of its chart: percentages of the chart's width, None where unknown."""

    system: str
    number: Mapping[str, Any]
    at: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class MeasureChart:
    """One metric: the values at both ends of its scale, the overall number of each system that has one, and the parts.

    `table` gives the number of each part by system, in the order of `parts`; None where a system lacks it.
    """

    measure: Measure
    scale: tuple[float, float]
    bars: list[Bar]
    parts: list[str]
    table: dict[str, list[Mapping[str, Any] | None]]


def measure_charts(metrics: Mapping[str, Any]) -> dict[str, list[MeasureChart]]:
    """A chart of every metric of metrics.json that is not in the main tables and has a number, by topic.

    Charts are in the order of the registry; a metric without a measure comes last.
    """
    by_system = metrics_by_system(metrics)
    names = {name for own in by_system.values() for name in own if measure_of(name).topic}
    order = [measure.key for measure in MEASURES]
    topics: dict[str, list[MeasureChart]] = {topic: [] for topic in TOPICS}
    for name in sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name)):
        chart = _chart(name, {system: own[name] for system, own in by_system.items() if name in own})
        if chart.bars:
            topics[chart.measure.topic].append(chart)
    return {topic: charts for topic, charts in topics.items() if charts}


def _chart(name: str, by_system: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> MeasureChart:
    parts = list(dict.fromkeys(part for own in by_system.values() for part in own if part != "overall"))
    overall = {system: own["overall"] for system, own in by_system.items() if _known(own.get("overall"))}
    measure = measure_of(name)
    scale = _scale(list(overall.values()), chance=measure.chance)
    return MeasureChart(
        measure,
        scale,
        [_bar(system, number, scale) for system, number in overall.items()],
        parts,
        {system: [own.get(part) for part in parts] for system, own in by_system.items() if system in overall},
    )


def _scale(numbers: Sequence[Mapping[str, Any]], *, chance: float | None) -> tuple[float, float]:
    values = [number[end] for number in numbers for end in ("value", "low", "high") if number[end] is not None]
    values += [] if chance is None else [chance]
    if not values or (min(values) >= 0 and WIDE <= max(values) <= 1):
        return 0.0, 1.0
    if min(values) >= 0 and 0 < max(values) < WIDE:
        return 0.0, max(values) * (1 + HEADROOM)
    low, high = min(values), max(values)
    room = HEADROOM * (high - low) or 1.0
    return (low - room if low < 0 else max(low - room, 0.0)), high + room


def _bar(system: str, number: Mapping[str, Any], scale: tuple[float, float]) -> Bar:
    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - scale[0]) / (scale[1] - scale[0]), 1)

    return Bar(system, number, place(number["value"]), place(number["low"]), place(number["high"]))


def _known(number: Mapping[str, Any] | None) -> bool:
    return number is not None and number["value"] is not None


MIN_ROW_HEIGHT = 58
STEP = 14
"""Between two systems of a row."""

LEFT, RIGHT, TOP, BOTTOM = 190, 24, 10, 34
WIDTH = 860


@dataclass(frozen=True)
class Dot:
    """A value in [0, 1] with its interval, and the CSS class that colours it."""

    system: str
    css: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ChartRow:
    """One metric: its name, the value of pure chance if it has one, and a dot per system."""

    name: str
    chance: float | None
    dots: Sequence[Dot]


def draw_dot_plot(rows: Sequence[ChartRow]) -> str:
    """Draw rows of dots on one axis from 0 to 1; returns SVG markup. Names must be escaped."""
    row_height = max([MIN_ROW_HEIGHT, *(STEP * (len(row.dots) + 1) for row in rows)])
    height = TOP + row_height * len(rows) + BOTTOM
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Scores of the systems with 95 % intervals">']
    parts += [_axis(height)]
    parts += [_row(row, TOP + row_height * n, row_height) for n, row in enumerate(rows)]
    return "".join([*parts, "</svg>"])


def _x(value: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * min(max(value, 0.0), 1.0), 1)


def _axis(height: int) -> str:
    lines = []
    for tenth in range(0, 11, 2):
        x = _x(tenth / 10)
        lines.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        lines.append(f'<text class="tick" x="{x}" y="{height - 10}" text-anchor="middle">{tenth / 10:.1f}</text>')
    return "".join(lines)


def _row(row: ChartRow, top: int, height: int) -> str:
    middle = top + height / 2
    parts = [f'<text class="name" x="{LEFT - 16}" y="{middle + 5}" text-anchor="end">{row.name}</text>']
    parts.append(f'<line class="grid" x1="0" x2="{WIDTH}" y1="{top + height}" y2="{top + height}"/>')
    if row.chance is not None:
        x = _x(row.chance)
        parts.append(
            f'<line class="chance" x1="{x}" x2="{x}" y1="{top + 6}" y2="{top + height - 6}">'
            f"<title>chance: {row.chance}</title></line>"
        )
    first = middle - STEP * (len(row.dots) - 1) / 2
    parts += [_dot(dot, first + STEP * n) for n, dot in enumerate(row.dots)]
    return "".join(parts)


def _dot(dot: Dot, y: float) -> str:
    interval = bar = ""
    if dot.low is not None and dot.high is not None:
        interval = f" ({dot.low:.3f} to {dot.high:.3f})"
        bar = f'<line x1="{_x(dot.low)}" x2="{_x(dot.high)}" y1="{y}" y2="{y}"/>'
    return (
        f'<g class="dot {dot.css}"><title>{dot.system}: {dot.value:.3f}{interval}</title>'
        f'{bar}<circle cx="{_x(dot.value)}" cy="{y}" r="5"/></g>'
    )
