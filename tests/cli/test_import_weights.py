"""From the files of other projects to a model file that training and inference take, and what is refused on the way."""

import importlib.util
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.configuration import read_overlay
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.weights.geometry import geometry_hash
from biomedjourney_monai.networks.weights.model_file import load_tensors, save_tensors, weights_hash

_spec = importlib.util.spec_from_file_location(
    "foreign_networks", Path(__file__).parents[1] / "networks" / "weights" / "formats" / "conftest.py"
)
foreign = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(foreign)
make_unet, make_vae, make_checkpoint = foreign.make_unet, foreign.make_vae, foreign.make_checkpoint
relative_error = foreign.relative_error

TEXT_WIDTH = 128  # of the shipped text tower
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012}


@pytest.fixture
def overlay(tmp_path):
    """The shrunken geometry as an overlay, in the keys of sd15.yaml."""
    denoiser = {key: list(value) if isinstance(value, tuple) else value for key, value in foreign.DENOISER.items()}
    denoiser.pop("text_width")  # the text encoder's
    content = {
        "image_size": 32,
        "denoiser": {**denoiser, "prior_expectation": None, "scale_factor": 0.5},
        "autoencoder": {
            "_class_": "biomedjourney_monai.networks.stable_diffusion.StableDiffusionAutoencoder",
            **{"in_channels": 1, "out_channels": 1, "channels": [8, 16, 16], "latent_channels": 4},
            "norm_num_groups": 4,
        },
        "noise_scheduler": {
            "_class_": "monai.networks.schedulers.DDPMScheduler",
            **{"num_train_timesteps": 1000, "schedule": "scaled_linear_beta", **SCHEDULE},
            "prediction_type": "epsilon",
            "clip_sample": False,
        },
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "small.yaml"


@pytest.fixture
def import_weights(overlay, tmp_path, bundle, capsys):
    """Runs the verb; returns (status, model file, what it printed)."""

    def run(kind, *source, options=()):
        out = tmp_path / "imported.pt"
        line = ["import-weights", "--format", kind, *map(str, source), "--out", str(out)]
        status = main([*line, "--overlay", str(overlay), "--bundle", str(bundle), *options])
        printed = capsys.readouterr()
        return status, out, printed.out + printed.err

    return run


@pytest.fixture
def diffusers_folder(make_unet, make_vae, tmp_path):
    """A folder as diffusers itself writes it; the UNet takes the noisy latent alone."""
    from diffusers import DDIMScheduler

    unet, vae = make_unet(in_channels=4), make_vae()
    unet.save_pretrained(tmp_path / "sd" / "unet")
    vae.save_pretrained(tmp_path / "sd" / "vae")
    DDIMScheduler(beta_schedule="scaled_linear", **SCHEDULE).save_pretrained(tmp_path / "sd" / "scheduler")
    return tmp_path / "sd", unet, vae


def build(overlay, bundle, model):
    return ModelConfig.find(bundle, model, overlay).load_generator(steps=2)


@torch.no_grad()
def denoiser_error(generator, unet, relative_error, *, scale=1e-3):
    """Against diffusers' UNet, which takes what the text projection makes of the token states."""
    noisy, prior = torch.randn(2, 2, 4, 16, 16) * scale
    text, timesteps = torch.randn(2, 7, TEXT_WIDTH), torch.tensor([3, 900])
    inputs = noisy if unet.config.in_channels == 4 else torch.cat([noisy, prior], 1)
    expected = unet(inputs, timesteps, generator.denoiser.text_projection(text)).sample
    return relative_error(generator.denoiser(noisy, timesteps, prior, text), expected)


@torch.no_grad()
def test_a_diffusers_folder_becomes_a_model_that_computes_the_same(
    import_weights, diffusers_folder, overlay, bundle, relative_error
):
    folder, unet, vae = diffusers_folder
    status, model, printed = import_weights("diffusers", folder)
    assert status == 0, printed
    assert "widened the denoiser's input from 4 to 8" in printed and "as random with seed 0" in printed
    assert load_tensors(model)[1]["image_size"] == 32
    generator = build(overlay, bundle, model)
    assert denoiser_error(generator, unet, relative_error) < 1e-4
    image = torch.rand(1, 1, 32, 32)
    expected = vae.encode((image * 2 - 1).repeat(1, 3, 1, 1)).latent_dist.mean
    assert relative_error(generator.autoencoder.encode(image * 2 - 1)[0], expected) < 1e-4
    assert generator.denoiser.scale_factor.item() == pytest.approx(0.18215)
    made = generator(image, "New large left pleural effusion.")
    assert made.shape == image.shape and made.isfinite().all()


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_a_compvis_checkpoint_gives_its_averaged_weights(
    import_weights, make_checkpoint, make_unet, overlay, bundle, relative_error, tmp_path, suffix
):
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
    from safetensors.torch import save_file

    state, source = make_checkpoint(averaged=True), tmp_path / f"instruct{suffix}"
    save_file(state, source) if suffix == ".safetensors" else torch.save({"state_dict": state, "epoch": 3}, source)
    unet = make_unet()
    averaged = {name: value + 1 for name, value in convert_ldm_unet_checkpoint(dict(state), dict(unet.config)).items()}
    unet.load_state_dict(averaged)
    status, model, printed = import_weights("compvis", source)
    assert status == 0, printed
    assert "averaged weights" in printed and "set aside 1 tensors: text encoder" in printed
    imported = load_tensors(model)[0]
    assert torch.equal(imported["denoiser.unet.out.2.conv.weight"], averaged["conv_out.weight"])
    _, _, printed = import_weights("compvis", source, options=["--no-ema"])
    assert "plain weights" in printed
    plain = load_tensors(model)[0]["denoiser.unet.out.2.conv.weight"]
    assert torch.equal(plain, state["model.diffusion_model.out.2.weight"])
    unet.load_state_dict({name: value - 1 for name, value in averaged.items()})
    assert denoiser_error(build(overlay, bundle, model), unet, relative_error) < 1e-4


def test_half_precision_sources_stay_so_and_load_as_what_they_are(
    import_weights, diffusers_folder, overlay, bundle, relative_error, tmp_path
):
    folder, unet, _ = diffusers_folder
    unet.half().save_pretrained(folder / "unet")
    status, model, printed = import_weights("diffusers", folder)
    assert status == 0, printed
    assert load_tensors(model)[0]["denoiser.unet.conv_in.conv.weight"].dtype == torch.float16
    assert denoiser_error(build(overlay, bundle, model), unet.float(), relative_error) < 1e-4


def test_the_file_carries_its_configuration_and_the_same_command_gives_the_same_bytes(import_weights, diffusers_folder):
    folder = diffusers_folder[0]
    model = import_weights("diffusers", folder)[1]
    first, (_, info) = weights_hash(model), load_tensors(model)
    assert info["config_hash"] == geometry_hash(info["geometry"])
    assert info["geometry"]["denoiser"]["num_head_channels"] == [2, 4, 4, 4]
    assert set(info["imported"]["files"]) == {f"{name}/diffusion_pytorch_model.safetensors" for name in ("unet", "vae")}
    assert weights_hash(import_weights("diffusers", folder)[1]) == first
    assert weights_hash(import_weights("diffusers", folder, options=["--seed", "1"])[1]) != first


def test_another_geometry_is_refused_by_the_keys_that_differ(import_weights, diffusers_folder, overlay, bundle):
    from biomedjourney_monai.errors import WeightsError

    model = import_weights("diffusers", diffusers_folder[0])[1]
    content = yaml.safe_load(overlay.read_text())
    content["denoiser"] |= {"num_head_channels": [4, 4, 4, 4], "norm_eps": 1e-6}  # same shapes, another function
    content["noise_scheduler"]["prediction_type"] = "v_prediction"
    overlay.write_text(yaml.safe_dump(content))
    with pytest.raises(WeightsError) as error:
        build(overlay, bundle, model)
    for difference in ("num_head_channels", "norm_eps 1e-05 instead of 1e-06", "epsilon instead of v_prediction"):
        assert difference in str(error.value)
    status, _, printed = import_weights("diffusers", diffusers_folder[0])
    assert status == 2 and "denoiser#num_head_channels [2, 4, 4, 4] instead of [4, 4, 4, 4]" in printed


def test_training_starts_from_the_imported_denoiser(import_weights, diffusers_folder, overlay, bundle, tmp_path):
    from biomedjourney_monai.training.data.latents import LatentCache, LatentRow
    from biomedjourney_monai.training.stages import StageSetup

    model = import_weights("diffusers", diffusers_folder[0])[1]
    state = load_tensors(model)[0]
    first_stage = {name[12:]: value for name, value in state.items() if name.startswith("autoencoder.")}
    save_tensors(tmp_path / "autoencoder.pt", first_stage, info={})
    latents = np.zeros((1, 4, 8, 8), np.float16)
    LatentCache.write(
        tmp_path / "latents",
        mean=latents,
        log_variance=latents,
        valid=np.ones((1, 8, 8), bool),
        text_states=np.zeros((1, 64, TEXT_WIDTH), np.float16),
        rows=[LatentRow("pretrain", "train", 0, -1, -1, 0)],
        encoding={
            "autoencoder": weights_hash(tmp_path / "autoencoder.pt"),
            **{"scale_factor": 0.9, "dummy_prior": [0.0] * 4, "channel_weight": [1.0] * 4},
        },
    )
    sections = read_overlay(overlay, bundle / "configs" / "common.yaml")
    sections = {name: sections[name] for name in ("autoencoder", "denoiser", "noise_scheduler")}
    setup = StageSetup(
        bundle_root=bundle,
        latents_dir=tmp_path / "latents",
        autoencoder_file=tmp_path / "autoencoder.pt",
        start_from=model,
        text_encoder_dir=None,
        seed=3,
        device="cpu",
        sections=sections,
        scale_factor="start",  # as in sd15.yaml
    )
    assert setup.scale_factor == pytest.approx(0.18215)
    assert all(torch.equal(value, state[f"denoiser.{name}"]) for name, value in setup.denoiser.state_dict().items())


def test_every_missing_and_surplus_tensor_is_named(import_weights, make_checkpoint, tmp_path):
    state = make_checkpoint()
    for name in ("model.diffusion_model.out.2.bias", "first_stage_model.quant_conv.bias"):
        state.pop(name)
    state |= {f"lora.{index}": torch.zeros(1) for index in range(5)}
    state["model.diffusion_model.controls.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "odd.ckpt")
    status, model, printed = import_weights("compvis", tmp_path / "odd.ckpt")
    assert status == 2 and not model.exists()
    for place in ("unet.out.2.conv.bias", "quant_conv_mu.conv.bias", "quant_conv_log_sigma.conv.bias"):
        assert f"missing: {'denoiser' if 'unet' in place else 'autoencoder'}.{place}" in printed
    assert all(f"surplus: lora.{index}" in printed for index in range(5))
    assert "surplus: denoiser.unet.controls.weight" in printed


class _Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (str(self.target),))


def test_a_malicious_pickle_is_refused_and_not_run(import_weights, make_checkpoint, tmp_path):
    state, target = make_checkpoint(), tmp_path / "boom"
    torch.save({"state_dict": state, "callbacks": _Bomb(target)}, tmp_path / "bomb.ckpt")
    (tmp_path / "old.ckpt").write_bytes(pickle.dumps({"state_dict": _Bomb(target)}, protocol=2))
    for name in ("bomb.ckpt", "old.ckpt"):
        status, model, printed = import_weights("compvis", tmp_path / name)
        assert status == 2 and "tensors only" in printed and "mkdir" in printed
        assert not model.exists() and not target.exists()


def test_the_callback_class_that_published_checkpoints_name_does_not_stop_them(
    import_weights, make_checkpoint, tmp_path, monkeypatch
):
    import sys
    import types

    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)
    content = {"state_dict": make_checkpoint(), "callbacks": {module.ModelCheckpoint: {"best": 0.5}}}
    torch.save(content, tmp_path / "lightning.ckpt")
    monkeypatch.undo()
    status, _, printed = import_weights("compvis", tmp_path / "lightning.ckpt")
    assert status == 0, printed


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_a_truncated_file_is_refused(import_weights, make_checkpoint, tmp_path, suffix):
    from safetensors.torch import save_file

    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(make_checkpoint(), whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    status, model, printed = import_weights("compvis", cut)
    assert status == 2 and "cut short" in printed and not model.exists()


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_a_pointer_of_git_lfs_is_called_one(import_weights, tmp_path, suffix):
    pointer = tmp_path / f"v1-5-pruned{suffix}"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1a\nsize 4265380512\n")
    status, model, printed = import_weights("compvis", pointer)
    assert status == 2 and "git lfs pull" in printed and not model.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(import_weights, make_checkpoint, tmp_path, value):
    state = make_checkpoint()
    state["first_stage_model.quant_conv.weight"].view(-1)[3] = value
    torch.save(state, tmp_path / "diverged.ckpt")
    status, model, printed = import_weights("compvis", tmp_path / "diverged.ckpt")
    assert status == 2 and "NaN or infinity in 1 tensors, first autoencoder.quant_conv_mu" in printed
    assert not model.exists()


def test_a_folder_as_the_model_file_is_refused_before_anything_is_read(import_weights, diffusers_folder, tmp_path):
    (tmp_path / "imported.pt").mkdir()
    status, _, printed = import_weights("diffusers", diffusers_folder[0])
    assert status == 2 and "--out must be a file" in printed and "reading" not in printed


def test_a_file_of_the_wrong_model_is_refused(import_weights, make_unet, make_checkpoint, diffusers_folder, tmp_path):
    torch.save(make_unet().state_dict(), tmp_path / "unet.ckpt")
    torch.save(make_checkpoint(in_channels=9), tmp_path / "inpainting.ckpt")
    folder = diffusers_folder[0]
    for kind, source, expected in (
        ("compvis", tmp_path / "unet.ckpt", "model.diffusion_model.*"),
        ("compvis", tmp_path / "inpainting.ckpt", "found 9"),
        ("compvis", folder, "a folder"),
        ("diffusers", tmp_path / "unet.ckpt", "a folder unet"),
        ("diffusers", folder / "vae", "a folder unet"),
        ("monai-generative", folder / "unet" / "diffusion_pytorch_model.safetensors", "two files"),
    ):
        status, model, printed = import_weights(kind, source)
        assert status == 2 and expected in printed and not model.exists(), printed


def test_another_noise_schedule_is_refused(import_weights, diffusers_folder):
    from diffusers import DDIMScheduler

    folder = diffusers_folder[0]
    DDIMScheduler(prediction_type="v_prediction").save_pretrained(folder / "scheduler")
    status, _, printed = import_weights("diffusers", folder)
    assert status == 2
    assert "noise_scheduler#prediction_type v_prediction instead of epsilon" in printed
    assert "noise_scheduler#alphas_cumprod.last" in printed


def test_an_identity_projection_needs_equal_widths(import_weights, diffusers_folder):
    options = ["--text-projection", "identity"]
    status, _, printed = import_weights("diffusers", diffusers_folder[0], options=options)
    assert status == 2 and "128 and 24" in printed
    status, model, printed = import_weights("diffusers", diffusers_folder[0], options=[*options, "--text-width", "24"])
    assert status == 0, printed
    assert torch.equal(load_tensors(model)[0]["denoiser.text_projection.weight"], torch.eye(24))


def test_models_of_monai_generative_compute_the_same(import_weights, overlay, bundle, tmp_path, relative_error):
    from generative.networks.nets import AutoencoderKL, DiffusionModelUNet

    torch.manual_seed(0)
    unet = DiffusionModelUNet(
        spatial_dims=2,
        in_channels=4,
        out_channels=4,
        num_res_blocks=1,
        num_channels=(8, 16),
        attention_levels=(False, True),
        num_head_channels=(0, 4),
        norm_num_groups=4,
        with_conditioning=True,
        cross_attention_dim=12,
    )
    sizes = {"spatial_dims": 2, "num_res_blocks": 1, "attention_levels": [False, True], "norm_num_groups": 4}
    autoencoder = AutoencoderKL(num_channels=(8, 16), latent_channels=4, **sizes)
    unet, autoencoder = foreign.reveal(unet), foreign.reveal(autoencoder)
    torch.save(unet.state_dict(), tmp_path / "unet.pt")
    torch.save({"model": autoencoder.state_dict()}, tmp_path / "autoencoder.pt")
    content = yaml.safe_load(overlay.read_text())
    content["denoiser"] |= {"channels": [8, 16], "attention_levels": [False, True], "num_head_channels": [0, 4]}
    content["denoiser"] |= {"num_res_blocks": 1, "norm_num_groups": 4, "cross_attention_dim": 12}
    content["denoiser"] |= {"norm_eps": 1e-6}
    for include_fc in (True, False):
        content["autoencoder"] = {
            "_class_": "monai.networks.nets.AutoencoderKL",
            **{**sizes, "channels": [8, 16], "latent_channels": 4, "include_fc": include_fc},
        }
        overlay.write_text(yaml.safe_dump(content))
        status, model, printed = import_weights("monai-generative", tmp_path / "autoencoder.pt", tmp_path / "unet.pt")
        assert status == 0, printed
        assert "set aside 8 tensors: attention projections" in printed
        generator = build(overlay, bundle, model)
        with torch.no_grad():
            latent, text = torch.randn(2, 4, 8, 8), torch.randn(2, 7, TEXT_WIDTH)
            assert relative_error(generator.autoencoder.decode(latent), autoencoder.decode(latent)) < 1e-4
            projected = generator.denoiser.text_projection(text)
            expected = unet(latent, torch.tensor([3, 900]), context=projected)
            found = generator.denoiser(latent, torch.tensor([3, 900]), torch.randn(2, 4, 8, 8), text)
            assert relative_error(found, expected) < 1e-4
