"""The overlay sd15.yaml: the exact geometry, and that it works over each config that it is made for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from biomedjourney_monai.configuration import compose, read_overlay
from biomedjourney_monai.networks.stable_diffusion import StableDiffusionAutoencoder
from biomedjourney_monai.phantom.labelled import draw_labelled

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "bundle" / "configs"
COMMON = CONFIGS / "common.yaml"
UNET = 859_520_964
"""Parameters of Stable Diffusion 1.5's UNet, which has 4 input channels."""
VAE = 83_653_863
"""Parameters of its autoencoder, which has 3 image channels."""


def sections(**changes):
    content = read_overlay(CONFIGS / "sd15.yaml", COMMON)
    return {name: {**content[name], **changes.get(name, {})} for name in ("autoencoder", "denoiser", "noise_scheduler")}


def build(name, **changes):
    with torch.device("meta"):
        return compose(COMMON, sections(**changes)).get_parsed_content(name)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_denoiser_is_stable_diffusions_with_four_more_channels_and_the_projection():
    denoiser = build("denoiser", denoiser={"text_width": 768})
    assert count(denoiser.unet) == UNET + 4 * 320 * 3 * 3 == 859_532_484
    assert count(denoiser) == UNET + 4 * 320 * 3 * 3 + 768 * 768 + 768
    assert denoiser.unet.conv_in.conv.weight.shape == (320, 8, 3, 3)
    assert len(denoiser.unet.state_dict()) == 686
    assert denoiser.prior_expectation is None and not denoiser.residual_to_prior
    assert denoiser.unet.out[0].eps == 1e-5
    assert {module.norm.eps for module in denoiser.modules() if hasattr(module, "proj_in")} == {1e-6}


def test_the_autoencoder_is_stable_diffusions_folded_to_grey():
    autoencoder = build("autoencoder")
    assert isinstance(autoencoder, StableDiffusionAutoencoder)
    assert count(build("autoencoder", autoencoder={"in_channels": 3, "out_channels": 3})) == VAE
    assert count(autoencoder) == VAE - 2 * (2 * 128 * 3 * 3) - 2
    with torch.device("meta"):
        assert autoencoder.encode(torch.zeros(1, 1, 256, 256))[0].shape == (1, 4, 32, 32)


def test_the_schedule_is_stable_diffusions():
    schedule = compose(COMMON, sections()).get_parsed_content("noise_scheduler")
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    assert torch.allclose(schedule.alphas_cumprod.double(), (1 - betas).cumprod(0), rtol=1e-4)
    assert str(schedule.prediction_type) == "epsilon"
    assert not schedule.clip_sample


def test_the_learning_rate_is_fixed():
    parser = ConfigParser(ConfigParser.load_config_files([str(CONFIGS / "train.yaml"), str(CONFIGS / "sd15.yaml")]))
    parser["optimizer"] = "$torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=@learning_rate)"
    parser["lr_scheduler#t_total"] = 100
    schedule = parser.get_parsed_content("lr_scheduler")
    rates = set()
    for _ in range(50):
        rates.add(schedule.get_last_lr()[0])
        schedule.optimizer.step()
        schedule.step()
    assert rates == {1e-4}


@pytest.mark.parametrize("name", ["train.yaml", "train_autoencoder.yaml", "inference.yaml"])
def test_every_key_is_known_to_one_of_the_configs_it_lies_over(name):
    known = set(ConfigParser.load_config_file(str(COMMON)))
    known |= {"encode"}  # of the command, whose defaults it changes
    known |= {key for file in ("train.yaml", "inference.yaml") for key in ConfigParser.load_config_file(CONFIGS / file)}
    assert set(ConfigParser.load_config_file(CONFIGS / "sd15.yaml")) <= known


@pytest.fixture(scope="module")
def shrunken(shrunken_denoiser):
    """sd15.yaml's own keys, small."""
    small = {"autoencoder#channels": [32, 32, 32, 32], "autoencoder#num_res_blocks": 1, "image_size": 128}
    return {**shrunken_denoiser, **small}


@pytest.fixture(scope="module")
def workflow(shrunken):
    """Builds a run of configs under sd15.yaml, shrunken."""

    def build(kind, *names, **more):
        return ConfigWorkflow(
            config_file=[str(CONFIGS / name) for name in (*names, "sd15.yaml")],
            workflow_type=kind,
            logging_file=False,
            bundle_root=str(ROOT / "bundle"),
            **shrunken,
            **more,
        )

    return build


@pytest.fixture(scope="module")
def work(tmp_path_factory, shrunken, write_prepared):
    """A working folder of 128 × 128 radiographs, encoded with a shrunken Stable Diffusion autoencoder."""
    import yaml

    from biomedjourney_monai.cli.main import main
    from biomedjourney_monai.networks.weights.model_file import save_tensors

    images = draw_labelled(4, seed=0, size=128, processes=1).images
    splits = ("train", "train", "validate", "train")
    work = write_prepared(tmp_path_factory.mktemp("sd15") / "work", images, splits=splits, journeys=[(0, 1, "train")])
    overlay = ConfigParser.load_config_file(CONFIGS / "sd15.yaml")
    for key, value in shrunken.items():
        section, _, name = key.partition("#")
        overlay[section] = {**overlay[section], name: value} if name else value
    (work / "small.yaml").write_text(yaml.safe_dump(overlay))
    torch.manual_seed(0)
    changes = read_overlay(work / "small.yaml", COMMON)
    autoencoder = compose(COMMON, {"autoencoder": changes["autoencoder"]}).get_parsed_content("autoencoder")
    save_tensors(work / "runs" / "autoencoder.pt", autoencoder.state_dict(), info={})
    bundle = ["--bundle", str(ROOT / "bundle"), "--overlay", str(work / "small.yaml")]
    assert main(["encode", "--work", str(work), *bundle]) == 0
    return work


@pytest.fixture(scope="module")
def model(work, workflow):
    """One iteration of pretraining."""
    few = {"dataset_dir": str(work), "epoch_length": 1, "max_epochs": 1, "batch_size": 2}
    run = workflow("train", "train.yaml", "pretrain.yaml", **few)
    run.initialize()
    run.run()
    run.finalize()
    return work / "runs" / "pretrain" / "model.pt"


def test_encode_computes_the_scale_factor_of_the_latents(work):
    from biomedjourney_monai.training.data.latents import LatentCache

    cache = LatentCache(work / "latents")
    assert cache.encoding["augmentation"]["kind"] == "crop"  # the overlay's
    assert cache.mean.shape == (5 * 4, 4, 16, 16)  # four films, one of them also in its prior's windows
    mean, log_variance = (np.asarray(moments, "float64")[::4] for moments in (cache.mean, cache.log_variance))
    variance = mean.var() + np.exp(log_variance).mean()
    assert cache.encoding["scale_factor"] == pytest.approx(variance**-0.5, rel=1e-6)


@pytest.mark.slow
def test_a_stage_trains_and_its_model_makes_a_counterfactual(work, model, workflow, tmp_path):
    from biomedjourney_monai.networks.weights.model_file import load_tensors
    from biomedjourney_monai.training.data.latents import LatentCache

    state, info = load_tensors(model)
    assert info["image_size"] == 128
    assert state["denoiser.scale_factor"].item() == torch.tensor(LatentCache(work / "latents").encoding["scale_factor"])
    prior = str(work / "images" / "2.png")
    run = workflow(
        "inference",
        "inference.yaml",
        prior=prior,
        checkpoint=str(model),
        output_dir=str(tmp_path),
        **{"sampler#steps": 1},
    )
    run.initialize()
    run.run()
    generator = run.network_def
    assert generator.denoiser.latent_channels == 4
    assert [path.suffix for path in sorted(tmp_path.rglob("*")) if path.is_file()].count(".png") == 1


@pytest.mark.slow
def test_the_autoencoder_is_finetuned_with_every_loss(work, workflow, tmp_path):
    run = workflow(
        "train",
        "train_autoencoder.yaml",
        dataset_dir=str(work),
        output_dir=str(tmp_path),
        start_from=str(work / "runs" / "autoencoder.pt"),
        epoch_length=2,
        max_epochs=1,
        batch_size=1,
        perceptual_weight=0.1,
        adversarial_weight=0.1,
        adversarial_start=1,
        discriminator_channels=4,
    )
    run.initialize()
    run.run()
    run.finalize()
    checkpoint = torch.load(tmp_path / "autoencoder" / "checkpoint.pt", weights_only=True)
    assert {"discriminator", "discriminator_optimizer"} <= set(checkpoint)
    assert checkpoint["discriminator_optimizer"]["state"][0]["step"].item() == 1
