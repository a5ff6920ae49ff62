"""Every metric beside the table's, each as a small chart: also metrics that this page has never heard of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from biomedjourney_monai.evaluation.page.metrics_csv import metrics_by_system
from biomedjourney_monai.evaluation.page.texts import FURTHER_TEXTS, METRIC_TEXTS, TOPICS, MetricText, text_of

HEADROOM = 0.06
"""Of the range that the numbers span, left free at both ends of a scale that is not 0 to 1."""

WIDE = 0.5
"""Numbers between 0 and 1 of which none is as large as this get a scale that ends where they end."""


@dataclass(frozen=True)
class Bar:
    """A system's number on the scale of its chart: percentages of the chart's width, None where unknown."""

    system: str
    number: Mapping[str, Any]
    at: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class FurtherChart:
    """One metric.

    Attributes:
        text: how to speak of it.
        scale: the values at the left and the right end.
        bars: the overall number of each system that has one.
        parts: names of its parts.
        table: system -> number of each part, in that order; None where a system lacks it.
    """

    text: MetricText
    scale: tuple[float, float]
    bars: list[Bar]
    parts: list[str]
    table: dict[str, list[Mapping[str, Any] | None]]


def further_charts(metrics: Mapping[str, Any]) -> dict[str, list[FurtherChart]]:
    """Make a chart of every metric that is not in the main tables and that some system has a number for.

    Args:
        metrics: content of metrics.json.

    Returns:
        Topic -> its charts, in the order of the page's words; a metric without words comes last.
    """
    by_system = metrics_by_system(metrics)
    names = {name for own in by_system.values() for name in own} - {text.key for text in METRIC_TEXTS}
    order = [text.key for text in FURTHER_TEXTS]
    topics: dict[str, list[FurtherChart]] = {topic: [] for topic in TOPICS}
    for name in sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name)):
        chart = _chart(name, {system: own[name] for system, own in by_system.items() if name in own})
        if chart.bars:
            topics[chart.text.topic].append(chart)
    return {topic: charts for topic, charts in topics.items() if charts}


def _chart(name: str, by_system: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> FurtherChart:
    parts = list(dict.fromkeys(part for own in by_system.values() for part in own if part != "overall"))
    overall = {system: own["overall"] for system, own in by_system.items() if _known(own.get("overall"))}
    text = text_of(name)
    scale = _scale(list(overall.values()), chance=text.chance)
    return FurtherChart(
        text,
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
