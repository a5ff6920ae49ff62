"""metrics.json as one long table, a number in each row, for spreadsheets and statistics software; a run of MLflow."""

import csv
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas

from biomedjourney_monai import tracking_store
from biomedjourney_monai.evaluation.metrics.registry import HEADLINES, MEASURES
from biomedjourney_monai.evaluation.systems.sources import COUNTERFACTUAL
from biomedjourney_monai.files import make_folder, written_atomically

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


EXPERIMENT = "biomedjourney"
"""MLflow's experiment, the same as for trainings."""

TABLE = "numbers.json"
"""MLflow's table of every number: subgroups, parts and intervals too."""


def default_uri(work: Path) -> str:
    """The tracking store of trainings in the working folder."""
    return tracking_store.open_store(work / "runs")


def log_evaluation(metrics: Mapping[str, Any], files: Sequence[Path], *, uri: str) -> str:
    """Record an evaluation and its files in a tracking store; returns the run's id.

    The folder of an SQLite store is created if needed, and holds the files.
    """
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    database = tracking_store.local_database(uri)
    if database is not None:
        make_folder(database.parent)
        tracking_store.follow_move(database)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        place = None if database is None else (database.parent / tracking_store.ARTIFACTS).as_uri()
        identifier = client.create_experiment(EXPERIMENT, artifact_location=place)
    else:
        identifier = experiment.experiment_id
    run = client.create_run(identifier, run_name="evaluation", tags={"biomedjourney.stage": "evaluation"}).info.run_id
    params = [Param(key, str(value)[:500]) for key, value in parameters(metrics).items()]
    client.log_batch(run, params=params)
    now = int(time.time() * 1000)
    numbers = [Metric(key, value, now, 0) for key, value in compared_numbers(metrics).items()]
    client.log_batch(run, metrics=numbers)
    client.log_table(run, pandas.DataFrame(metric_rows(metrics), columns=COLUMNS).fillna(""), TABLE)
    for file in files:
        client.log_artifact(run, str(file))
    client.set_terminated(run)
    tracking_store.remove_quoted_folder(uri)
    return run


def parameters(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, counts, model and judges."""
    counts = {f"count_{key}": value for key, value in metrics["counts"].items() if key != "dropped"}
    model = {f"model_{key}": value for key, value in metrics.get("model", {}).items()}
    files = {f"judge_{key}": value for key, value in metrics["judges"].get("files", {}).items()}
    settings = dict(metrics["settings"]) | counts | model | {"judges": metrics["judges"].get("name", "")} | files
    return {_allowed(key): value for key, value in settings.items()}


def compared_numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The overall numbers of the measures that `evaluate` prints, under a path such as `counterfactual/cmig`.

    Baselines need no run of their own to be compared with: of them only the headlines are given.
    """
    printed = {measure.key for measure in MEASURES if measure.terminal}
    headlines = {measure.key for measure in HEADLINES}
    found: dict[str, float] = {}
    for row in metric_rows(metrics):
        shown = printed if row["system"] == COUNTERFACTUAL else headlines
        if row["metric"] in shown and row["part"] == "overall" and not row.get("group") and row["value"] != "":
            found[f"{_allowed(row['system'])}/{_allowed(row['metric'])}"] = float(row["value"])
    return found


def _allowed(name: str) -> str:
    """Replace the characters that MLflow does not accept in a name."""
    return re.sub(r"[^\w.\- ]", "_", name)
