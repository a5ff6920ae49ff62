"""The overlay res256.yaml: 256×256 pixels on the small model's latent grid; it encodes, trains a step and samples."""

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from PIL import Image

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.configuration import compose, read_overlay
from biomedjourney_monai.networks.weights.model_file import load_tensors, save_tensors
from biomedjourney_monai.phantom.labelled import draw_labelled
from biomedjourney_monai.training.data.latents import LatentCache

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "bundle" / "configs"
OVERLAY = CONFIGS / "res256.yaml"
SMALL = {"denoiser#channels": [32, 32, 32], "denoiser#num_head_channels": [0, 32, 32]}


def test_every_key_is_known_to_the_configs_it_lies_over():
    for name in ("train.yaml", "train_autoencoder.yaml", "inference.yaml"):
        known = set(ConfigParser.load_config_file(str(CONFIGS / name)))
        assert set(ConfigParser.load_config_file(str(OVERLAY))) <= known | {"image_size"}


def test_the_latent_grid_is_that_of_128_pixels():
    autoencoder = compose(CONFIGS / "common.yaml", read_overlay(OVERLAY, CONFIGS / "common.yaml")).get_parsed_content(
        "autoencoder"
    )
    mean, _ = autoencoder.encode(torch.zeros(1, 1, 256, 256))
    assert mean.shape == (1, 64, 16, 16)
    assert autoencoder.decode(mean).shape == (1, 1, 256, 256)


@pytest.fixture(scope="module")
def work(tmp_path_factory, write_prepared):
    """Four rendered radiographs of 256×256, encoded with an autoencoder of random weights."""
    images = draw_labelled(4, seed=0, size=256, processes=1).images
    splits = ("train", "train", "validate", "train")
    work = write_prepared(tmp_path_factory.mktemp("res256") / "work", images, splits=splits, journeys=[(0, 1, "train")])
    sections = read_overlay(OVERLAY, CONFIGS / "common.yaml")
    autoencoder = compose(CONFIGS / "common.yaml", sections).get_parsed_content("autoencoder")
    save_tensors(work / "runs" / "autoencoder.pt", autoencoder.state_dict(), info={})
    line = ["encode", "--work", work, "--bundle", ROOT / "bundle", "--overlay", OVERLAY]
    assert main([*map(str, line)]) == 0
    return work


def run(kind, *names, **settings):
    files = [str(CONFIGS / name) for name in (*names, OVERLAY.name)]
    settings |= {"bundle_root": str(ROOT / "bundle"), **SMALL}
    workflow = ConfigWorkflow(config_file=files, workflow_type=kind, logging_file=False, **settings)
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def test_a_step_trains_and_its_model_draws_a_film_of_256_pixels(work, tmp_path):
    assert LatentCache(work / "latents").mean.shape[1:] == (64, 16, 16)
    few = {"dataset_dir": str(work), "epoch_length": 1, "max_epochs": 1, "batch_size": 2}
    run("train", "train.yaml", "pretrain.yaml", **few)
    model = work / "runs" / "pretrain" / "model.pt"
    assert load_tensors(model)[1]["image_size"] == 256
    asked = {"prior": str(work / "images" / "2.png"), "description": "New edema.", "checkpoint": str(model)}
    run("inference", "inference.yaml", output_dir=str(tmp_path), **asked, **{"sampler#steps": 1})
    (made,) = tmp_path.glob("*.png")
    with Image.open(made) as picture:
        assert (picture.size, np.asarray(picture).std() > 10) == ((256, 256), True)
