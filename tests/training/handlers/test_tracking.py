import pytest
from ignite.engine import Events
from mlflow.tracking import MlflowClient

from biomedjourney_monai.training.handlers.tracking import StageTracker, StepClock
from biomedjourney_monai.training.processes import SharedLoss


@pytest.fixture
def track(make_training, tmp_path):
    """Train a stage with the tracker attached."""

    def start(stage="pretrain", *, max_epochs=1, resume=True, parameters=None):
        training = make_training(tmp_path / stage, max_epochs=max_epochs, resume=resume)
        (tmp_path / "config.yaml").write_text("a: 1\n")
        SharedLoss(every=1).attach(training.trainer)
        StageTracker(
            folder=tmp_path,
            stage=stage,
            every=1,
            examples=4,
            parameters={"learning_rate": 0.05, **(parameters or {})},
            config_files=[tmp_path / "config.yaml"],
            datasets={"train": {"fingerprint": "f" * 64, "examples": 10}},
            pictures=tmp_path / "previews",
            tracking_uri=f"sqlite:///{tmp_path}/mlruns.db",
            experiment_name="biomedjourney",
            run_name=f"{stage} run",
        ).attach(training.trainer)
        return training

    return start


@pytest.fixture
def recorded(tmp_path):
    def read():
        client = MlflowClient(f"sqlite:///{tmp_path}/mlruns.db")
        experiment = client.get_experiment_by_name("biomedjourney").experiment_id
        runs = client.search_runs([experiment], order_by=["start_time ASC"])
        parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        return client, parents, [run for run in runs if "mlflow.parentRunId" in run.data.tags]

    return read


def test_both_stages_lie_under_one_parent(track, recorded):
    track("pretrain").run()
    track("finetune").run()
    _, parents, runs = recorded()
    assert len(parents) == 1
    assert [run.data.tags["mlflow.parentRunId"] for run in runs] == [parents[0].info.run_id] * 2
    assert [run.info.run_name for run in runs] == ["pretrain run", "finetune run"]
    assert {run.info.status for run in [*parents, *runs]} == {"FINISHED"}


def test_the_page_opens_it_as_a_training_unless_somebody_chose_otherwise(track, recorded):
    track("pretrain").run()
    client = recorded()[0]
    experiment = client.get_experiment_by_name("biomedjourney")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    client.set_experiment_tag(experiment.experiment_id, "mlflow.experimentKind", "genai_development")
    track("finetune").run()
    assert client.get_experiment_by_name("biomedjourney").tags["mlflow.experimentKind"] == "genai_development"


def test_a_stage_trained_anew_gets_a_parent_of_its_own(track, recorded):
    track("pretrain").run()
    track("pretrain", resume=False).run()
    assert len(recorded()[1]) == 2


def test_every_iteration_tells_loss_rate_speed_and_memory(track, recorded):
    training = track().run()
    client, _, (run,) = recorded()
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [point.value for point in history] == pytest.approx(training.losses)
    assert run.data.metrics["learning_rate"] == pytest.approx(0.05 / 3)
    assert run.data.metrics["examples_per_second"] > 0
    assert 0 <= run.data.metrics["share_waiting_for_data"] < 1
    assert 0.05 < run.data.metrics["peak_memory_gib"] < 100
    assert run.data.metrics["gradient_norm"] > 0


def test_configs_datasets_and_pictures_are_kept(track, recorded, tmp_path):
    (tmp_path / "previews").mkdir()
    (tmp_path / "previews" / "iteration-000001.png").write_bytes(b"picture")
    track().run()
    client, _, (run,) = recorded()
    kept = {item.path for folder in ("configs", "previews") for item in client.list_artifacts(run.info.run_id, folder)}
    assert kept == {"configs/config.yaml", "previews/iteration-000001.png"}
    assert [(item.dataset.name, item.dataset.digest) for item in run.inputs.dataset_inputs] == [("train", "f" * 36)]
    assert run.data.params["learning_rate"] == "0.05"


def test_a_resumed_training_goes_on_in_its_run(track, recorded):
    stopped = track(max_epochs=2)
    stopped.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda e: e.terminate(skip_completed=True))
    stopped.run()
    client, (parent,), (run,) = recorded()
    assert run.info.status == parent.info.status == "KILLED"
    track(max_epochs=2, parameters={"learning_rate": 0.07}).run()  # another value than the run's first
    _, (parent,), (run,) = recorded()
    assert run.info.status == parent.info.status == "FINISHED"
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 4


def test_nothing_to_do_leaves_no_run(track, recorded):
    track().run()
    track().run()
    assert [len(part) for part in recorded()[1:]] == [1, 1]


def test_a_broken_training_is_recorded_as_failed(track, recorded):
    training = track()
    training.trainer.add_event_handler(Events.ITERATION_STARTED(once=2), lambda engine: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        training.run()
    _, (parent,), (run,) = recorded()
    assert run.info.status == parent.info.status == "FAILED"


def test_the_clock_counts_steps_and_waiting_but_not_what_lies_between(make_training, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("biomedjourney_monai.training.handlers.tracking.time.perf_counter", lambda: now[0])

    def tick(seconds):
        return lambda *args: now.__setitem__(0, now[0] + seconds)

    training = make_training(tmp_path, max_epochs=2)
    clock = StepClock()
    training.trainer.add_event_handler(Events.EPOCH_COMPLETED, tick(100.0))
    training.trainer.add_event_handler(Events.ITERATION_STARTED, tick(3.0))
    clock.attach(training.trainer)
    training.trainer.add_event_handler(Events.GET_BATCH_STARTED, tick(1.0))  # after the clock: while it waits
    training.run()
    assert clock.lap() == (4, 16.0, 4.0)
    assert clock.lap() == (0, 0.0, 0.0)
