"""The model that a training leaves in MLflow's registry gives what the model file gives."""

import numpy as np
import pytest
import torch

from biomedjourney_monai.training.handlers.registry import tracking_at


@pytest.fixture(scope="module")
def finetuned(latent_work, run_bundle, small_denoiser, small_model):
    """The folder of a short training of the second stage."""
    settings = ["--max_epochs", 1, "--epoch_length", 1, "--batch_size", 2, "--start_from", small_model]
    result = run_bundle(
        "training", ["train.yaml", "finetune.yaml"], "--dataset_dir", latent_work, *settings, *small_denoiser
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return latent_work / "runs"


@pytest.fixture
def registered(finetuned):
    """That folder, while MLflow's functions look into its registry."""
    with tracking_at(f"sqlite:///{finetuned}/mlruns.db"):
        yield finetuned


def test_the_registered_model_gives_what_the_file_gives(registered, small_generator):
    import mlflow

    model = mlflow.pyfunc.load_model("models:/biomedjourney/1")
    priors = np.random.default_rng(0).random((2, 1, 128, 128), dtype=np.float32)
    description = "New large left pleural effusion."
    served = model.predict(priors, params={"description": description, "seed": 3})
    generator = small_generator()
    generator.load(registered / "finetune" / "model.pt")
    expected = generator(torch.from_numpy(priors), description, seeds=[3, 3]).numpy()
    assert np.abs(served - expected).max() < 1e-6
    other = model.predict(priors, params={"description": description, "seed": 4})
    assert np.abs(other - served).max() > 1e-3


def test_its_signature_says_what_it_takes_and_gives(registered):
    import mlflow

    signature = mlflow.models.get_model_info("models:/biomedjourney/1").signature
    assert signature.inputs.inputs[0].shape == (-1, 1, 128, 128)
    assert signature.outputs.inputs[0].shape == (-1, 1, 128, 128)
    assert {parameter.name for parameter in signature.params.params} == {"description", "seed"}


def test_a_wrong_shape_is_refused_by_the_signature(registered):
    import mlflow

    model = mlflow.pyfunc.load_model("models:/biomedjourney/1")
    with pytest.raises(mlflow.MlflowException, match="schema"):
        model.predict(np.zeros((1, 1, 64, 64), np.float32))
