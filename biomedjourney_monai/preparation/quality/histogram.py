"""The histogram of registration scores, as SVG that follows the page's colours."""

import numpy as np

WIDTH, HEIGHT = 860, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 14, 40
BIN_WIDTH = 0.025


def draw_histogram(kept: np.ndarray, dropped: np.ndarray, *, threshold: float) -> str:
    """Draw the number of pairs by score in [-1, 1], dropped ones on top of kept ones, with a line at the threshold.

    Scores that are NaN are left out. Returns SVG markup, without external text.
    """
    kept, dropped = (np.asarray(scores, float)[np.isfinite(scores)] for scores in (kept, dropped))
    edges = _edges(np.concatenate([kept, dropped, [threshold]]))
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


def _edges(scores: np.ndarray) -> np.ndarray:
    low = min(0.0, np.floor(scores.min() / BIN_WIDTH) * BIN_WIDTH)
    return np.arange(round((1.0 - low) / BIN_WIDTH) + 1) * BIN_WIDTH + low


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
