"""Training by two processes on the CPU, started by torchrun as the docs print it."""

import shutil

import pytest
import torch

from biomedjourney_monai.networks.weights.model_file import load_tensors

pytestmark = pytest.mark.slow

SETTINGS = ["--pretrain_epochs", 3, "--finetune_epochs", 2, "--warmup_iterations", 1, "--val_interval", 1]
SETTINGS += ["--precision", "float32", "--log_iterations", 1, "--learning_rate", 0.001]


@pytest.fixture(scope="module")
def one_and_two(latent_work, tmp_path_factory, run_bundle, small_denoiser):
    """The same training by one process with batches of four and by two with batches of two; and what each printed."""
    one = shutil.copytree(latent_work, tmp_path_factory.mktemp("one") / "work")
    two = shutil.copytree(latent_work, tmp_path_factory.mktemp("two") / "work")
    more = [*SETTINGS, *small_denoiser]
    alone = run_bundle("training", "train.yaml", "--dataset_dir", one, "--batch_size", 4, *more)
    overlay = ["train.yaml", "multi_gpu.yaml"]
    together = run_bundle("training", overlay, "--dataset_dir", two, "--batch_size", 2, *more, processes=2)
    assert alone.returncode == 0, alone.stderr[-3000:]
    assert together.returncode == 0, together.stderr[-3000:]
    return one, two, together.stderr


def read_metrics(work, stage, name):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{work}/runs/mlruns.db")
    experiment = client.get_experiment_by_name("biomedjourney").experiment_id
    runs = [run for run in client.search_runs([experiment]) if run.data.params.get("stage") == stage]
    assert len(runs) == 1  # one process logs
    return [point.value for point in client.get_metric_history(runs[0].info.run_id, name)]


@pytest.mark.parametrize("stage, iterations", [("pretrain", 3), ("finetune", 2)])
def test_two_processes_have_the_losses_of_one(one_and_two, stage, iterations):
    one, two, _ = one_and_two
    alone, together = (read_metrics(work, stage, "loss") for work in (one, two))
    assert len(alone) == len(together) == iterations
    assert together == pytest.approx(alone, rel=1e-4)
    validated = [read_metrics(work, stage, "val_loss") for work in (one, two)]
    assert len(validated[0]) == iterations
    assert validated[1] == pytest.approx(validated[0], rel=1e-4)


def test_two_processes_end_with_the_weights_of_one(one_and_two):
    one, two, _ = one_and_two
    alone, together = (
        torch.load(work / "runs" / "finetune" / "checkpoint.pt", weights_only=True)["denoiser"] for work in (one, two)
    )
    start = load_tensors(one / "runs" / "pretrain" / "model.pt")[0]

    def distance(other):
        return sum(float((alone[name] - other[name].float()).abs().sum()) for name in alone)

    assert distance(together) < 0.05 * distance({name: start[f"denoiser.{name}"] for name in alone})


def test_the_first_process_alone_speaks(one_and_two):
    assert one_and_two[2].count("Wrote ") == 2  # one model for each stage
    assert len(list((one_and_two[1] / "runs").glob("*/model.pt"))) == 2


def test_several_processes_without_the_overlay_are_refused(latent_work, run_bundle):
    result = run_bundle("training", "train.yaml", "--dataset_dir", latent_work, processes=2)
    assert result.returncode != 0
    assert "multi_gpu.yaml" in result.stderr
