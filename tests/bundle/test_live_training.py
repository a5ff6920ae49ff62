"""Training without a latent cache: what `encode --no-cache` leaves is enough for the bundle's run."""

import json
from pathlib import Path

import numpy as np
import pytest
from monai.bundle import ConfigWorkflow
from PIL import Image

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.networks.weights.model_file import load_tensors


@pytest.fixture
def work(tmp_path, picture, small_model, write_prepared):
    """A working folder of three journeys after `encode --augment jitter --no-cache`."""
    chest = Image.open(picture).resize((128, 128))
    work = write_prepared(
        tmp_path / "work",
        [np.asarray(chest.rotate(number)) for number in range(4)],
        splits=["train"] * 4,
        journeys=[(0, 1, "train"), (1, 2, "train"), (2, 3, "validate")],
    )
    bundle = Path(__file__).parents[2] / "bundle"
    settings = ["--bundle", str(bundle), "--model", str(small_model), "--augment", "jitter", "--no-cache"]
    assert main(["encode", "--work", str(work), *settings]) == 0
    return bundle, work


def test_a_stage_trains_and_validates_on_the_images_themselves(work, small_denoiser, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    bundle, folder = work
    assert [path.name for path in (folder / "latents").iterdir()] == ["encoding.json"]
    overrides = {name.lstrip("-"): json.loads(value) for name, value in zip(small_denoiser[::2], small_denoiser[1::2])}
    run = ConfigWorkflow(
        config_file=[str(bundle / "configs" / name) for name in ("train.yaml", "finetune.yaml")],
        workflow_type="train",
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(folder),
        start_from=None,
        register_as=None,
        max_epochs=2,
        epoch_length=2,
        batch_size=2,
        val_interval=1,
        score_epochs=0,
        preview_iterations=2,
        **overrides,
    )
    run.initialize()
    run.run()
    dataset = run.parser.get_parsed_content("train#dataset")
    assert (len(dataset), dataset.variants > 1000) == (2, True)
    assert run.parser.get_parsed_content("validate#evaluator").state.metrics["val_loss"] > 0
    _, info = load_tensors(folder / "runs" / "finetune" / "model.pt")
    assert info["iterations"] == 4
    assert len(list((folder / "runs" / "finetune" / "previews").glob("*.png"))) == 2
