"""A student of few steps at toy size: trained, resumed, sampled, and refused where it does not fit."""

from pathlib import Path

import pytest
import torch

from biomedjourney_monai.diffusion.settings import SamplingSettings
from biomedjourney_monai.errors import SettingError
from biomedjourney_monai.generation.model import build_generator, load_model
from biomedjourney_monai.networks.distilled import Distilled
from biomedjourney_monai.networks.weights.model_file import load_info, load_tensors

ROOT = Path(__file__).parents[2]
SMALL = {"channels": [32, 32, 32], "num_head_channels": [0, 32, 32]}
RUN = ["--distill_epochs", 2, "--epoch_length", 2, "--batch_size", 2, "--warmup_iterations", 1, "--val_interval", 1]
RUN += ["--precision", "float32", "--preview_iterations", 2, "--lr_cycles", 0]


@pytest.fixture(scope="module")
def distilled(latent_work, run_bundle, small_denoiser, small_model):
    arguments = ["--dataset_dir", latent_work, "--start_from", small_model, *RUN, *small_denoiser]
    result = run_bundle("run", ["train.yaml", "distill.yaml"], *arguments)
    assert result.returncode == 0, result.stderr[-3000:]
    return arguments, latent_work / "runs" / "distill" / "model.pt"


def test_the_file_says_that_it_holds_a_student(distilled, small_model):
    info = load_info(distilled[1])
    assert Distilled.of(info) == Distilled((2, 1, 4), (1.0, 5.0), (1.0, 3.0))
    assert (info["stage"], info["iterations"]) == ("distill", 4)
    assert Distilled.in_file(small_model) is None


def test_the_student_learned_scales_and_kept_the_teachers_decoder(distilled, small_model):
    state, teacher = load_tensors(distilled[1])[0], load_tensors(small_model)[0]
    assert state["denoiser.unet.class_embedding.map.2.weight"].abs().max() > 0
    kept = [name for name in teacher if name.startswith("autoencoder.")]
    assert kept and all(torch.equal(state[name], teacher[name]) for name in kept)
    assert (distilled[1].parent / "previews" / "iteration-000004.png").is_file()


def test_the_same_command_again_has_nothing_to_do(distilled, run_bundle):
    arguments, file = distilled
    before = file.read_bytes()
    again = run_bundle("run", ["train.yaml", "distill.yaml"], *arguments)
    assert again.returncode == 0 and "Nothing to do" in again.stdout + again.stderr
    assert file.read_bytes() == before


def test_a_stopped_run_ends_with_the_same_weights(distilled, run_bundle, tmp_path):
    arguments, file = [*distilled[0], "--output_dir", tmp_path], tmp_path / "distill" / "model.pt"
    first = run_bundle("run", ["train.yaml", "distill.yaml"], *arguments, "--max_epochs", 1)
    assert first.returncode == 0 and load_info(file)["iterations"] == 2
    assert run_bundle("run", ["train.yaml", "distill.yaml"], *arguments).returncode == 0
    state, whole = load_tensors(file)[0], load_tensors(distilled[1])[0]
    assert load_info(file)["iterations"] == 4 and all(torch.equal(state[name], whole[name]) for name in whole)


def test_a_student_is_no_teacher(distilled, run_bundle, tmp_path):
    arguments, file = distilled
    arguments = [*arguments, "--start_from", file, "--output_dir", tmp_path]
    result = run_bundle("run", ["train.yaml", "distill.yaml"], *arguments)
    assert result.returncode != 0 and "must be a teacher; found a student of few steps" in result.stderr
    assert not list(tmp_path.rglob("*.pt"))


def test_a_teacher_of_another_autoencoder_is_refused(distilled, run_bundle, tmp_path, small_model):
    state, info = load_tensors(small_model)
    name = next(name for name in state if name.startswith("autoencoder.") and state[name].ndim == 4)
    generator = torch.Generator().manual_seed(0)
    state[name] = torch.randn(state[name].shape, generator=generator).to(state[name])
    torch.save({**state, "info": info}, tmp_path / "other.pt")
    arguments = [*distilled[0], "--start_from", tmp_path / "other.pt", "--output_dir", tmp_path / "runs"]
    result = run_bundle("run", ["train.yaml", "distill.yaml"], *arguments)
    assert result.returncode != 0 and "must be of the autoencoder that made the latent cache" in result.stderr


def test_sampling_follows_the_file(distilled, small_model, tmp_path, picture):
    overlay = tmp_path / "small.yaml"
    overlay.write_text("denoiser:\n" + "".join(f"  {key}: {value}\n" for key, value in SMALL.items()))
    student = load_model(distilled[1], overlay=overlay)
    assert student.sampler.steps == 2
    result = student.generate(picture, "New large left pleural effusion.", samples=2)
    assert result.documents[0]["steps"] == 2
    four = load_model(distilled[1], overlay=overlay, settings=SamplingSettings(steps=4))
    assert four.generate(picture, "New large left pleural effusion.").documents[0]["steps"] == 4
    with pytest.raises(SettingError, match="steps must be one of 1, 2, 4"):
        load_model(distilled[1], overlay=overlay, settings=SamplingSettings(steps=3))
    generator = build_generator(ROOT / "bundle", weights=distilled[1], denoiser=SMALL)
    assert generator.sampler.steps == 2 and generator.denoiser.distilled is not None
    assert load_model(small_model, overlay=overlay).sampler.steps == 5
