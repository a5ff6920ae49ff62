"""metrics.json as one long table, a number in each row, for spreadsheets and statistics software."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from biomedjourney_monai.evaluation.systems.sources import COUNTERFACTUAL
from biomedjourney_monai.files import written_atomically

CSV_FILE = "metrics.csv"
COLUMNS = ("system", "attribute", "group", "metric", "part", "value", "low", "high", "count", "note")
"""`attribute` and `group` are empty for numbers over all journeys, else e.g. sex and F."""


def metric_rows(metrics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every number of every system, also of metrics without a registered measure."""
    by_system = metrics_by_system(metrics)
    for system in metrics["systems"]:
        for metric, parts in by_system[system["name"]].items():
            for part, number in parts.items():
                yield {"system": system["name"], "metric": metric, "part": part, **_fields(number)}
        for attribute, groups in system.get("subgroups", {}).items():
            for group, content in groups.items():
                own = {"system": system["name"], "attribute": attribute, "group": group, "part": "overall"}
                for section in content.values():
                    for metric, number in section.items() if isinstance(section, Mapping) else ():
                        yield {**own, "metric": metric, **_fields(number)}


def metrics_by_system(metrics: Mapping[str, Any]) -> dict[str, dict[str, Mapping[str, Mapping[str, Any]]]]:
    """Find every metric of every system: system -> metric -> part -> number.

    A section next to `systems` that holds metrics, such as `probes`, is about the model: its metrics are added to the
    counterfactual's.
    """
    found = {system["name"]: system_metrics(system) for system in metrics["systems"]}
    for section in metrics.values():
        if isinstance(section, Mapping) and COUNTERFACTUAL in found:
            found[COUNTERFACTUAL] |= system_metrics({"metrics": section.get("metrics")})
    return found


def system_metrics(system: Mapping[str, Any]) -> dict[str, Mapping[str, Mapping[str, Any]]]:
    """Find every metric of a system: metric -> part -> number, in order, from each of its sections.

    A section is an entry that holds metrics, such as `metrics` and `further`.
    """
    found: dict[str, Mapping[str, Mapping[str, Any]]] = {}
    for content in system.values():
        if isinstance(content, Mapping):
            found |= {name: parts for name, parts in content.items() if _is_metric(parts)}
    return found


def write_metrics_csv(metrics: Mapping[str, Any], path: Path) -> int:
    """Write the table; returns how many numbers are in it."""
    rows = list(metric_rows(metrics))
    with written_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def _is_metric(parts: Any) -> bool:
    return isinstance(parts, Mapping) and bool(parts) and all(_is_number(number) for number in parts.values())


def _is_number(number: Any) -> bool:
    """Whether it is an entry with a value and an interval."""
    return isinstance(number, Mapping) and {"value", "low", "high"} <= set(number)


def _fields(number: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: number.get(name) for name in ("value", "low", "high", "count", "note")}
    return {name: "" if value is None or value != value else value for name, value in fields.items()}  # NaN != NaN
