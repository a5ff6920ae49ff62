"""The report's chart: a dot and an interval per system and metric, as SVG that follows the page's colours."""

from collections.abc import Sequence
from dataclasses import dataclass

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
