"""An evaluation as a run of MLflow: settings, the numbers that people compare, and the files."""

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas

from biomedjourney_monai import tracking_store
from biomedjourney_monai.evaluation.metrics.registry import HEADLINES, MEASURES
from biomedjourney_monai.evaluation.page.metrics_csv import COLUMNS as CSV_COLUMNS
from biomedjourney_monai.evaluation.page.metrics_csv import metric_rows
from biomedjourney_monai.evaluation.systems.sources import COUNTERFACTUAL
from biomedjourney_monai.files import make_folder

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
    client.log_table(run, pandas.DataFrame(metric_rows(metrics), columns=CSV_COLUMNS).fillna(""), TABLE)
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
