"""A small chart of every metric that is not in the main tables, also of metrics without a registered measure."""

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
