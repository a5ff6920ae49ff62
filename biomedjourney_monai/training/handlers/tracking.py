"""Record a training in MLflow: both stages under one parent run, with everything that identifies a run."""

import json
import logging
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from mlflow.entities import Dataset, DatasetInput, Run
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID
from monai.handlers import MLFlowHandler

from biomedjourney_monai.tracking_store import FOLDER_TAG, artifact_address, remove_quoted_folder
from biomedjourney_monai.training.handlers.interruption import call_on_failure

logger = logging.getLogger(__name__)

KIND_TAG = "mlflow.experimentKind"
"""With this tag MLflow's page shows an experiment as a training, not as one of language models."""

STAGE_TAG = "biomedjourney.stage"
PARENT = "parent"


class StageTracker(MLFlowHandler):
    """MONAI's MLflow handler, with a parent run, throughput and memory, the configs and the pictures.

    The stages that are trained into one folder share a parent run. A training that continues from a checkpoint
    continues its run; one that is complete opens none. The loss is read from `engine.state.loss` (`SharedLoss`).

    Args:
        folder: output folder of the stages, which identifies the parent run.
        stage: name of this stage.
        every: iterations between two records of loss, learning rate, gradient norm, throughput and memory.
        examples: examples per iteration, of all processes.
        parameters: settings of the run.
        config_files: saved with the run.
        datasets: fingerprint and number of examples of each dataset.
        pictures: folder whose PNGs are saved with the run.
        register: called with tracking URI and run id when the stage is done, e.g. `RegisterModel`.
        **more: of MONAI's `MLFlowHandler`.
    """

    experiment: Any  # MONAI's class declares these as None
    cur_run: Any

    def __init__(
        self,
        *,
        folder: str | Path,
        stage: str,
        every: int = 20,
        examples: int = 1,
        parameters: Mapping[str, Any] | None = None,
        config_files: Sequence[str | Path] = (),
        datasets: Mapping[str, Mapping[str, Any]] | None = None,
        pictures: str | Path | None = None,
        register: Callable[[str, str], Any] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(
            iteration_log=lambda engine, iteration: iteration % every == 0,
            experiment_param=dict(parameters or {}),
            **{"artifact_location": artifact_address(folder), **more},
        )
        self.folder, self.stage, self.examples = str(Path(folder).resolve()), stage, examples
        self.config_files, self.datasets = [Path(name) for name in config_files], dict(datasets or {})
        self.pictures = None if pictures is None else Path(pictures)
        self.register = register
        self.clock = StepClock()
        self._sent: set[Path] = set()

    def attach(self, engine: Engine) -> None:
        """Register with the trainer."""
        self.clock.attach(engine)
        super().attach(engine)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._send_pictures)
        engine.add_event_handler(Events.COMPLETED, self._end, "FINISHED")
        engine.add_event_handler(Events.TERMINATE, self._end_if_stopped)
        call_on_failure(engine, lambda engine: self._end(engine, "FAILED"))

    def start(self, engine: Engine) -> None:
        """Open the run, or continue it."""
        if engine.state.epoch >= (engine.state.max_epochs or 0):
            return
        self._set_experiment()
        if KIND_TAG not in self.experiment.tags:
            self.client.set_experiment_tag(self.experiment.experiment_id, KIND_TAG, "custom_model_development")
        self.cur_run = self._unfinished_run() if engine.state.iteration else None
        if self.cur_run is None:
            parent = self._parent()
            tags = {MLFLOW_PARENT_RUN_ID: parent, STAGE_TAG: self.stage, FOLDER_TAG: self.folder, **git_tags()}
            self.cur_run = self.client.create_run(self.experiment.experiment_id, run_name=self.run_name, tags=tags)
        else:
            parent = self.cur_run.data.tags[MLFLOW_PARENT_RUN_ID]
        for run in (parent, self.cur_run.info.run_id):
            self.client.update_run(run, status="RUNNING")
        known, given = self.cur_run.data.params, self.experiment_param or {}
        self.experiment_param = {key: value for key, value in given.items() if key not in known}
        super().start(engine)
        self._send_configs()
        self._send_datasets()
        self.clock.restart()

    def _parent(self) -> str:
        """The id of this folder's parent run; a new one if this stage was already trained under it."""
        for run in self._runs_of_folder():
            if run.data.tags.get(STAGE_TAG) == PARENT:
                return run.info.run_id
            if run.data.tags.get(STAGE_TAG) == self.stage:
                break
        tags = {STAGE_TAG: PARENT, FOLDER_TAG: self.folder, **git_tags()}
        name = f"training {time.strftime('%Y-%m-%d %H:%M:%S')}"
        return self.client.create_run(self.experiment.experiment_id, run_name=name, tags=tags).info.run_id

    def _unfinished_run(self) -> Run | None:
        for run in self._runs_of_folder():
            if run.data.tags.get(STAGE_TAG) == self.stage:
                return None if run.info.status == "FINISHED" else run
        return None

    def _runs_of_folder(self) -> list[Run]:
        """The folder's runs, latest first."""
        runs = self.client.search_runs([self.experiment.experiment_id], order_by=["start_time DESC"])
        return [run for run in runs if run.data.tags.get(FOLDER_TAG) == self.folder]  # no query: names may hold quotes

    def _send_configs(self) -> None:
        for file in self.config_files:
            if file.is_file():
                self.client.log_artifact(self.cur_run.info.run_id, str(file), "configs")

    def _send_datasets(self) -> None:
        inputs = [
            DatasetInput(Dataset(name, about["fingerprint"][:36], "local", "{}", profile=json.dumps(dict(about))))
            for name, about in self.datasets.items()
        ]
        if inputs:
            self.client.log_inputs(self.cur_run.info.run_id, inputs)

    def _send_pictures(self) -> None:
        if self.cur_run is None or self.pictures is None:
            return
        for picture in sorted(self.pictures.glob("*.png")):
            if picture not in self._sent:
                self.client.log_artifact(self.cur_run.info.run_id, str(picture), "previews")
                self._sent.add(picture)

    def _default_iteration_log(self, engine: Engine) -> None:
        steps, seconds, waited = self.clock.lap()
        trainer: Any = engine
        metrics = {
            "loss": trainer.state.loss,
            "learning_rate": float(trainer.optimizer.param_groups[0]["lr"]),
            "examples_per_second": steps * self.examples / max(seconds, 1e-9),
            "share_waiting_for_data": waited / max(seconds, 1e-9),
            "peak_memory_gib": peak_memory_gib(),
        }
        if hasattr(engine.state, "gradient_norm"):
            metrics["gradient_norm"] = float(trainer.state.gradient_norm)
        if self.cur_run is not None:
            self._log_metrics(metrics, step=engine.state.iteration)

    def _end(self, engine: Engine, status: str) -> None:
        if self.cur_run is None:
            return
        self._send_pictures()
        if status == "FINISHED" and self.register is not None:
            self.register(self.client.tracking_uri, self.cur_run.info.run_id)
        for run in (self.cur_run.info.run_id, self.cur_run.data.tags[MLFLOW_PARENT_RUN_ID]):
            self.client.set_terminated(run, status)
        self.cur_run = None
        self._dispose_sqlite_store()
        remove_quoted_folder(self.client.tracking_uri)

    def _end_if_stopped(self, engine: Engine) -> None:
        if engine.should_terminate == "skip_completed":
            self._end(engine, "KILLED")


class StepClock:
    """Measures the time of the steps and the time of waiting for data in them, without the time between steps."""

    def __init__(self) -> None:
        self.restart()

    def attach(self, engine: Engine) -> None:
        """Register with the trainer."""
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._ask)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._get)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._finish)

    def restart(self) -> None:
        """Start again from 0."""
        self._steps, self._busy, self._waited, self._asked = 0, 0.0, 0.0, time.perf_counter()

    def lap(self) -> tuple[int, float, float]:
        """Number of steps, their seconds and the seconds of waiting in them, since the last call."""
        result = (self._steps, self._busy, self._waited)
        self.restart()
        return result

    def _ask(self) -> None:
        self._asked = time.perf_counter()

    def _get(self) -> None:
        self._waited += time.perf_counter() - self._asked

    def _finish(self) -> None:
        self._steps += 1
        self._busy += time.perf_counter() - self._asked


def peak_memory_gib() -> float:
    """Peak memory of this process in GiB: on its GPU if it has used one, else resident."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux gives KiB


def git_tags() -> dict[str, str]:
    """The revision of the package's git checkout, if there is one."""
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {MLFLOW_GIT_COMMIT: done.stdout.strip()}
