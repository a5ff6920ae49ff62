"""Training at toy size through the command line that the README prints."""

import json
import shutil

import pytest
from PIL import Image

from biomedjourney_monai.networks.weights.model_file import load_tensors

FEW = ["--pretrain_epochs", 3, "--finetune_epochs", 1, "--epoch_length", 2, "--batch_size", 2]
SETTINGS = ["--learning_rate", 0.0005, "--warmup_iterations", 1, "--val_interval", 1, "--precision", "float32"]


@pytest.fixture(scope="module")
def trained(latent_work, run_bundle, small_denoiser):
    """Both stages, once."""
    return run_bundle("training", "train.yaml", "--dataset_dir", latent_work, *FEW, *SETTINGS, *small_denoiser)


@pytest.fixture(scope="module")
def runs(trained, latent_work):
    """What MLflow knows of the first command, by stage."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{latent_work}/runs/mlruns.db")
    experiment = client.get_experiment_by_name("biomedjourney")
    found = client.search_runs([experiment.experiment_id])
    return {run.data.params["stage"]: run for run in found if "stage" in run.data.params}


def test_both_stages_leave_a_model_and_a_checkpoint(trained, latent_work):
    assert trained.returncode == 0, trained.stderr[-3000:]
    for stage, iterations in (("pretrain", 6), ("finetune", 2)):
        state, info = load_tensors(latent_work / "runs" / stage / "model.pt")
        assert (info["stage"], info["iterations"], info["learning_rate"]) == (stage, iterations, 0.0005)
        assert any(name.startswith("denoiser.") for name in state)
        assert any(name.startswith("autoencoder.") for name in state)
        assert not any(name.startswith("text_encoder.") for name in state)
        assert (latent_work / "runs" / stage / "checkpoint.pt").is_file()


def test_an_override_of_a_network_reaches_both_stages(trained, latent_work):
    widths = {
        len(tensor)
        for stage in ("pretrain", "finetune")
        for name, tensor in load_tensors(latent_work / "runs" / stage / "model.pt")[0].items()
        if name.endswith("conv_in.conv.bias")
    }
    assert widths == {32}


def test_finetuning_starts_from_pretrainings_weights(trained, latent_work, small_generator):
    pretrained, finetuned = (
        load_tensors(latent_work / "runs" / stage / "model.pt")[0] for stage in ("pretrain", "finetune")
    )
    random = small_generator().state_dict()  # the seed that both stages would start from

    def distance(one, other):
        return sum(float((one[name].float() - other[name].float()).square().sum()) for name in finetuned)

    assert 0 < distance(finetuned, pretrained) < distance(finetuned, random)


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_mlflow_has_parameters_and_metrics_of_each_stage(runs, stage):
    run = runs[stage]
    assert run.data.params["learning_rate"] == "0.0005"
    assert run.data.params["stage"] == stage
    assert run.data.params["scale_factor"] == "0.9"
    assert run.data.metrics["val_loss"] > 0
    assert run.info.status == "FINISHED"


def test_the_same_command_again_has_nothing_to_do(trained, latent_work, run_bundle, small_denoiser):
    models = [latent_work / "runs" / stage / "model.pt" for stage in ("pretrain", "finetune")]
    before = [load_tensors(model)[0] for model in models]
    again = run_bundle("run", "train.yaml", "--dataset_dir", latent_work, *FEW, *SETTINGS, *small_denoiser)
    assert again.returncode == 0, again.stderr[-3000:]
    assert again.stderr.count("Nothing to do") == 2
    for model, state in zip(models, before):
        assert all(value.equal(state[name]) for name, value in load_tensors(model)[0].items())


@pytest.mark.slow
def test_one_stage_alone_goes_on_where_it_stopped(trained, latent_work, tmp_path, run_bundle, small_denoiser):
    work = shutil.copytree(latent_work, tmp_path / "work")
    more = ["--pretrain_epochs", 4, *FEW[2:], *SETTINGS, *small_denoiser]
    result = run_bundle("run", ["train.yaml", "pretrain.yaml"], "--dataset_dir", work, *more)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Continue from epoch 3" in result.stderr
    assert load_tensors(work / "runs" / "pretrain" / "model.pt")[1]["iterations"] == 8


@pytest.mark.parametrize(
    "override, nearest",
    [
        (["--max_epoch", 3], "--max_epochs"),
        pytest.param(["--denoiser#chanels", "[32,32,32]"], "--denoiser#channels", marks=pytest.mark.slow),
        pytest.param(["--train#trainer#max_epoch", 3], "--train#trainer#max_epochs", marks=pytest.mark.slow),
    ],
)
def test_a_misspelt_override_ends_with_one_line(tmp_path, run_bundle, override, nearest):
    result = run_bundle("training", "train.yaml", "--dataset_dir", tmp_path, *override)
    assert result.returncode != 0
    assert result.stderr.strip().splitlines()[-1].startswith("error: an override must name a key of the config")
    assert f"Did you mean {nearest}?" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_missing_working_folder_ends_with_one_line_and_leaves_nothing(tmp_path, run_bundle):
    result = run_bundle("training", "train.yaml", "--dataset_dir", tmp_path / "nowhere", *FEW)
    assert result.returncode != 0
    assert "error: " in result.stderr.strip().splitlines()[-1]
    assert "biomedjourney encode" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_autoencoder_trains_and_exports(tmp_path, run_bundle, picture):
    work = tmp_path / "work"
    (work / "images").mkdir(parents=True)
    rows = []
    for n, split in enumerate(["train"] * 40 + ["validate"] * 2):
        Image.open(picture).resize((128, 128)).rotate(n).save(work / "images" / f"{n}.png")
        rows.append({"image": f"images/{n}.png", "split": split, "impression": "Clear."})
    (work / "singles.jsonl").write_text("\n".join(map(json.dumps, rows)))
    few = ["--max_epochs", 1, "--epoch_length", 1, "--batch_size", 2, "--fit_images", 40]
    result = run_bundle("training", "train_autoencoder.yaml", "--dataset_dir", work, *few)
    assert result.returncode == 0, result.stderr[-3000:]
    assert load_tensors(work / "runs" / "autoencoder.pt")[1]["stage"] == "autoencoder"
