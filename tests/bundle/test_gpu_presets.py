"""The overlays for GPUs of several sizes: they change only what exists, and what they build trains."""

import re
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

CONFIGS = Path(__file__).parents[2] / "bundle" / "configs"
DOCS = CONFIGS.parent / "docs" / "how-to" / "large-models.md"
PRESETS = [f"gpu{size}.yaml" for size in (12, 24, 40, 80)]
LEFT_AS_IN_COMMON = {"autoencoder": {}, "image_size": 128}
"""Of sd15.yaml, since the latents are the small autoencoder's."""


def load(name):
    return ConfigParser.load_config_file(str(CONFIGS / name))


def test_every_preset_there_is_is_tested():
    assert sorted(path.name for path in CONFIGS.glob("gpu*.yaml")) == sorted(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_changes_only_what_exists_and_steps_on_the_papers_batch(name):
    known, sections = set(load("train.yaml")), load("common.yaml")
    content = load(name)
    for key in content:
        section, _, part = key.partition("#")
        assert section in known
        assert not part or part in sections[section]
    assert content["batch_size"] * content["accumulate"] == load("sd15.yaml")["batch_size"] == 32


@pytest.mark.parametrize("name", PRESETS)
def test_the_page_tells_each_presets_batch(name):
    content = load(name)
    (row,) = re.findall(rf"^\| `{name}` \| (\d+) × (\d+) \|", DOCS.read_text(encoding="utf-8"), flags=re.M)
    assert [int(number) for number in row] == [content["batch_size"], content["accumulate"]]


@pytest.fixture
def built(latent_work, shrunken_denoiser, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def build(name):
        run = ConfigWorkflow(
            config_file=[str(CONFIGS / file) for file in ("train.yaml", "sd15.yaml", name, "pretrain.yaml")],
            workflow_type="train",
            logging_file=False,
            bundle_root=str(CONFIGS.parent),
            dataset_dir=str(latent_work),
            output_dir=str(tmp_path),
            max_epochs=1,
            epoch_length=2,
            batch_size=2,
            accumulate=2,
            **LEFT_AS_IN_COMMON,
            num_workers=0,
            **shrunken_denoiser,
        )
        run.initialize()
        return run

    return build


@pytest.mark.parametrize("name", PRESETS)
def test_what_a_preset_builds_takes_a_step(name, built, tmp_path):
    run = built(name)
    trainer = run.parser.get_parsed_content("train#trainer")
    start = {key: value.clone() for key, value in trainer.network.state_dict().items()}
    run.run()
    assert type(trainer.optimizer).__name__ == ("Adafactor" if name == "gpu12.yaml" else "AdamW")
    blocks = [*trainer.network.unet.down_blocks, *trainer.network.unet.up_blocks]
    assert all(("forward" in vars(block)) == (name in ("gpu12.yaml", "gpu24.yaml")) for block in blocks)
    averaged = run.parser.get_parsed_content("averaged").ema_model
    assert (averaged is trainer.network) == (name == "gpu12.yaml")
    changed = [key for key, value in trainer.network.state_dict().items() if not torch.equal(value, start[key])]
    assert len(changed) > 10
    assert (tmp_path / "pretrain" / "model.pt").is_file()
