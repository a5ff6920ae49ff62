"""diffusers reads what is exported, and computes the same."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.networks.denoiser import Denoiser
from biomedjourney_monai.networks.stable_diffusion import StableDiffusionAutoencoder
from biomedjourney_monai.networks.weights.geometry import GEOMETRY_KEY, geometry_of
from biomedjourney_monai.networks.weights.model_file import load_tensors, save_tensors

_spec = importlib.util.spec_from_file_location(
    "foreign_networks", Path(__file__).parents[1] / "networks" / "weights" / "formats" / "conftest.py"
)
foreign = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(foreign)
relative_error = foreign.relative_error

TEXT_WIDTH = 20
SIZES = {"channels": [8, 16, 16], "latent_channels": 4, "norm_num_groups": 4}


@pytest.fixture
def model(tmp_path):
    """A model file, its networks and the overlay of its geometry."""
    import yaml
    from monai.networks.schedulers import DDPMScheduler

    torch.manual_seed(0)
    settings = {**foreign.DENOISER, "text_width": TEXT_WIDTH}
    schedule = {"num_train_timesteps": 1000, "schedule": "scaled_linear_beta", "beta_start": 0.00085}
    schedule |= {"beta_end": 0.012, "prediction_type": "v_prediction", "clip_sample": False}
    parts = {
        "denoiser": foreign.reveal(Denoiser(**settings, scale_factor=0.7)),
        "autoencoder": foreign.reveal(StableDiffusionAutoencoder(in_channels=1, out_channels=1, **SIZES)),
    }
    state = {f"{part}.{name}": value for part, net in parts.items() for name, value in net.state_dict().items()}
    geometry = geometry_of(**parts, noise_scheduler=DDPMScheduler(**schedule))
    save_tensors(tmp_path / "model.pt", state, info={GEOMETRY_KEY: geometry})
    denoiser = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    content = {
        "denoiser": {**denoiser, "prior_expectation": None},
        "autoencoder": {
            "_class_": "biomedjourney_monai.networks.stable_diffusion.StableDiffusionAutoencoder",
            **{"in_channels": 1, "out_channels": 1, **SIZES},
        },
        "noise_scheduler": {"_class_": "monai.networks.schedulers.DDPMScheduler", **schedule},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "model.pt", tmp_path / "small.yaml", parts, DDPMScheduler(**schedule)


@pytest.fixture
def export(model, tmp_path, bundle, capsys):
    """Runs the verb; returns (status, folder, what it printed)."""

    def run(*options, file=model[0]):
        line = ["export-weights", str(file), "--out", str(tmp_path / "exported"), "--overlay", str(model[1])]
        status = main([*line, "--bundle", str(bundle), "--text-width", str(TEXT_WIDTH), *options])
        printed = capsys.readouterr()
        return status, tmp_path / "exported", printed.out + printed.err

    return run


@pytest.mark.parametrize("scale", [1.0, 1e-3])
@torch.no_grad()
def test_diffusers_reads_the_unet_and_computes_the_same(export, model, relative_error, scale):
    from diffusers import UNet2DConditionModel

    status, folder, printed = export()
    assert status == 0, printed
    unet, loading = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    noisy, prior = torch.randn(2, 2, 4, 16, 16) * scale
    text, timesteps = torch.randn(2, 7, TEXT_WIDTH), torch.tensor([3, 900])
    expected = model[2]["denoiser"](noisy, timesteps, prior, text)
    assert relative_error(unet(torch.cat([noisy, prior], 1), timesteps, text).sample, expected) < 1e-4


@pytest.mark.parametrize("colour", [False, True])
@torch.no_grad()
def test_diffusers_reads_the_autoencoder_and_computes_the_same(export, model, relative_error, colour):
    from diffusers import AutoencoderKL

    status, folder, printed = export(*["--colour"] * colour)
    assert status == 0, printed
    vae, loading = AutoencoderKL.from_pretrained(folder, subfolder="vae", output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert vae.config.scaling_factor == pytest.approx(0.7)
    image, latent = torch.randn(2, 1, 16, 16), torch.randn(2, 4, 4, 4)
    channels = 3 if colour else 1
    mean, deviation = model[2]["autoencoder"].encode(image)
    posterior = vae.encode(image.repeat(1, channels, 1, 1)).latent_dist
    assert relative_error(posterior.mean, mean) < 1e-5 and relative_error(posterior.std, deviation) < 1e-5
    expected = model[2]["autoencoder"].decode(latent).repeat(1, channels, 1, 1)
    assert relative_error(vae.decode(latent).sample, expected) < 1e-5


def test_diffusers_reads_the_scheduler_with_the_same_noise(export, model):
    from diffusers import DDIMScheduler

    folder = export()[1]
    scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler")
    assert torch.allclose(scheduler.alphas_cumprod, model[3].alphas_cumprod, rtol=1e-5)
    assert scheduler.config.prediction_type == "v_prediction"
    assert not scheduler.config.clip_sample and scheduler.config.steps_offset == 1


def test_half_precision_halves_the_files(export):
    whole, out = {}, export()[1]
    for part in ("unet", "vae"):
        whole[part] = (out / part / "diffusion_pytorch_model.safetensors").stat().st_size
        (out / part / "diffusion_pytorch_model.safetensors").unlink()
        (out / part / "config.json").unlink()
        (out / part).rmdir()
    (out / "scheduler" / "scheduler_config.json").unlink()
    (out / "scheduler").rmdir()
    assert export("--half")[0] == 0
    for part, size in whole.items():
        assert (out / part / "diffusion_pytorch_model.safetensors").stat().st_size < 0.7 * size


def test_what_is_exported_comes_back_unchanged(export, model, tmp_path, bundle):
    from biomedjourney_monai.networks.weights.model_file import load_tensors

    folder = export()[1]
    line = ["import-weights", "--format", "diffusers", str(folder), "--out", str(tmp_path / "again.pt")]
    assert main([*line, "--overlay", str(model[1]), "--bundle", str(bundle), "--text-width", str(TEXT_WIDTH)]) == 0
    before, after = load_tensors(model[0])[0], load_tensors(tmp_path / "again.pt")[0]
    assert before.keys() == after.keys() and all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_taken_folder_is_left_alone(export, tmp_path):
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "mine.txt").write_text("keep")
    status, folder, printed = export()
    assert status == 2 and "new or empty folder" in printed
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_a_model_of_another_geometry_is_refused_by_its_keys(export, model):
    import yaml

    content = yaml.safe_load(model[1].read_text())
    content["denoiser"]["num_head_channels"] = [4, 4, 4, 4]
    model[1].write_text(yaml.safe_dump(content))
    status, folder, printed = export()
    assert status == 2 and "denoiser#num_head_channels" in printed and not folder.exists()


def test_the_shipped_model_which_diffusers_cannot_compute_is_refused(tmp_path, bundle, capsys):
    (tmp_path / "none.yaml").write_text("image_size: 128\n")
    line = ["export-weights", str(bundle / "models" / "model.pt"), "--out", str(tmp_path / "out")]
    assert main([*line, "--overlay", str(tmp_path / "none.yaml"), "--bundle", str(bundle)]) == 2
    assert "prior_expectation" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_student_of_few_steps_is_refused(export, model, tmp_path):
    state, info = load_tensors(model[0])
    student = {"steps": [2, 1], "text_guidance_scale": [1.0, 5.0], "image_guidance_scale": [1.0, 3.0]}
    info[GEOMETRY_KEY]["denoiser"]["distilled"] = student
    save_tensors(tmp_path / "student.pt", state, info=info)
    status, folder, printed = export(file=tmp_path / "student.pt")
    assert status == 2 and "student.pt must be a teacher" in printed and "found a student of few steps" in printed
    assert not folder.exists()


def test_configs_are_plain_json(export):
    folder = export()[1]
    assert json.loads((folder / "unet" / "config.json").read_text())["_class_name"] == "UNet2DConditionModel"
