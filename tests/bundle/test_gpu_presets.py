"""The overlays for GPUs of several sizes: they change only what exists, and what they build trains."""

import re
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.networks.distilled import Distilled
from biomedjourney_monai.networks.weights.model_file import load_info, load_tensors
from biomedjourney_monai.training.gpu_preset import PRESETS, GpuPreset

CONFIGS = Path(__file__).parents[2] / "bundle" / "configs"
DOCS = CONFIGS.parent / "docs"
STACKS = {f"--gpu_memory {size}": ("gpu.yaml", {"gpu_memory": size}) for size in PRESETS} | {
    "gpu12.yaml": ("gpu12.yaml", {})
}
"""By the name in the documentation: the overlay and its overrides."""

LEFT_AS_IN_COMMON = {"autoencoder": {}, "image_size": 128}
"""Of sd15.yaml, since the latents are the small autoencoder's."""


def load(name):
    return ConfigParser.load_config_file(str(CONFIGS / name))


def parse(name, overrides):
    """The settings of an overlay, with everything resolved."""
    parser = ConfigParser({"denoiser": {}, "states_per_example": 1, **load(name), **overrides})
    parser.parse()
    keys = ("batch_size", "accumulate", "denoiser#gradient_checkpointing")
    return {key: parser.get_parsed_content(key) for key in keys if key in parser}


def test_every_preset_there_is_is_tested():
    assert {path.name for path in CONFIGS.glob("gpu*.yaml")} == {name for name, _ in STACKS.values()}


@pytest.mark.parametrize("name", ["gpu.yaml", "gpu12.yaml"])
def test_a_preset_changes_only_what_exists(name):
    known, sections = set(load("train.yaml")), load("common.yaml")
    for key in set(load(name)) - {"gpu_memory", "gpu_preset"}:
        section, _, part = key.partition("#")
        assert section in known
        assert not part or part in sections[section]


@pytest.mark.parametrize("stack", STACKS)
def test_a_preset_steps_on_the_papers_batch(stack):
    content = parse(*STACKS[stack])
    assert content["batch_size"] * content["accumulate"] == load("sd15.yaml")["batch_size"] == 32


@pytest.mark.parametrize("stack", [stack for stack in STACKS if stack != "gpu12.yaml"])
def test_a_students_batch_is_smaller_by_its_states_and_steps_on_as_many_examples(stack):
    name, overrides = STACKS[stack]
    content, student = parse(name, overrides), parse(name, {**overrides, "states_per_example": 4})
    assert student["batch_size"] * 4 == content["batch_size"]
    assert student["batch_size"] * student["accumulate"] == 32


@pytest.mark.parametrize("stack", STACKS)
def test_the_page_tells_each_presets_batch(stack):
    content = parse(*STACKS[stack])
    pages = "\n".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md")))
    (row,) = re.findall(rf"^\| `{stack}` \| (\d+) × (\d+) \|", pages, flags=re.M)
    assert [int(number) for number in row] == [content["batch_size"], content["accumulate"]]


@pytest.mark.parametrize(("memory", "size"), [(24, 24), (39.5, 24), (48, 40), (80, 80), (141, 80)])
def test_other_memory_takes_the_next_smaller_preset(memory, size):
    assert GpuPreset.for_memory(memory) == PRESETS[size]


def test_too_little_memory_is_refused():
    with pytest.raises(BiomedJourneyError, match=r"gpu_memory must be >= 24, in GB; found 16\. Lay gpu12.yaml"):
        GpuPreset.for_memory(16)


@pytest.fixture
def built(latent_work, shrunken_denoiser, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def build(stack, stage="pretrain.yaml", **more):
        name, overrides = STACKS[stack]
        files = ("train.yaml", stage, "sd15.yaml", name)
        run = ConfigWorkflow(
            config_file=[str(CONFIGS / file) for file in files],
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
            **overrides,
            **more,
        )
        run.initialize()
        return run

    return build


@pytest.mark.parametrize("stack", STACKS)
def test_what_a_preset_builds_takes_a_step(stack, built, tmp_path):
    run = built(stack)
    trainer = run.parser.get_parsed_content("train#trainer")
    start = {key: value.clone() for key, value in trainer.network.state_dict().items()}
    run.run()
    assert type(trainer.optimizer).__name__ == ("Adafactor" if stack == "gpu12.yaml" else "AdamW")
    blocks = [*trainer.network.unet.down_blocks, *trainer.network.unet.up_blocks]
    checkpointed = stack in ("gpu12.yaml", "--gpu_memory 24")
    assert all(("forward" in vars(block)) == checkpointed for block in blocks)
    averaged = run.parser.get_parsed_content("averaged").ema_model
    assert (averaged is trainer.network) == (stack == "gpu12.yaml")
    changed = [key for key, value in trainer.network.state_dict().items() if not torch.equal(value, start[key])]
    assert len(changed) > 10
    assert (tmp_path / "pretrain" / "model.pt").is_file()


@pytest.mark.parametrize("stack", ["gpu12.yaml", "--gpu_memory 24"])
def test_a_student_of_this_geometry_takes_a_step(stack, built, tmp_path):
    built(stack).run()
    teacher = tmp_path / "pretrain" / "model.pt"
    wide = {"distilled#text_guidance_scale": [1.0, 10.0], "teacher_steps": 2, "path_steps": [2]}
    run = built(stack, "distill.yaml", start_from=str(teacher), **wide)
    run.run()
    assert run.parser.get_parsed_content("train#prepare_batch").distilled.text_guidance_scale == (1.0, 10.0)
    info = load_info(tmp_path / "distill" / "model.pt")
    assert Distilled.of(info) == Distilled((2, 1, 4), (1.0, 10.0), (1.0, 3.0))
    state, before = load_tensors(tmp_path / "distill" / "model.pt")[0], load_tensors(teacher)[0]
    assert any(not torch.equal(state[name], before[name]) for name in before if name.startswith("denoiser.unet"))
