import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from biomedjourney_monai.errors import ConfigError, ImageError, TableError, WeightsError
from biomedjourney_monai.files import write_json_lines
from biomedjourney_monai.networks.autoencoder import PatchAutoencoderKL
from biomedjourney_monai.networks.weights.geometry import geometry_hash
from biomedjourney_monai.networks.weights.model_file import load_into, load_tensors, save_tensors
from biomedjourney_monai.training.first_stage import FirstStage, RadiographDataset, ReconstructionLoss, load_autoencoder

COMMON = """
image_size: 16
autoencoder:
  _target_: biomedjourney_monai.networks.autoencoder.PatchAutoencoderKL
  latent_channels: 3
  patch: 4
  width: 8
  blocks: 1
"""


@pytest.fixture
def work(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for index in range(6):
        name = f"images/{index}.png"
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16)).astype(np.uint8)).save(tmp_path / name)
        rows.append({"image": name, "split": "train" if index else "validate"})
    write_json_lines(tmp_path / "singles.jsonl", rows)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "common.yaml").write_text(COMMON)
    return tmp_path


def test_images_are_scaled_to_minus_one_and_one(work):
    dataset = RadiographDataset(work, split="train")
    assert len(dataset) == 5
    item = dataset[0]
    pixels = np.asarray(Image.open(work / "images" / "1.png"), np.float32)
    assert item["image"].shape == (1, 16, 16)
    assert np.allclose(item["image"][0], pixels / 127.5 - 1, atol=1e-6)
    assert torch.equal(item["image"], item["label"])


def test_images_of_several_folders_follow_each_other(work, tmp_path):
    both = RadiographDataset([work, str(work)], split="train")
    assert len(both) == 10 and both.paths[:5] == both.paths[5:]
    with pytest.raises(TableError, match="describe"):
        RadiographDataset([work, tmp_path / "none"], split="train")


def test_a_split_without_images_is_refused(work):
    with pytest.raises(TableError, match="images of split test"):
        RadiographDataset(work, split="test")


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\n cut"])
def test_a_broken_image_is_one_error(work, content):
    (work / "images" / "1.png").unlink()
    if content is not None:
        (work / "images" / "1.png").write_bytes(content)
    with pytest.raises(ImageError, match="biomedjourney register"):
        RadiographDataset(work, split="train")[0]


def test_the_loss_by_hand():
    reconstruction = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    image = torch.zeros(1, 1, 2, 2)
    mean, deviation = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 0.5)
    # error 1 / 4; gradients: |−1|, 0 across and |−1|, 0 down; divergence ½ (4 + ¼ − 1 + 2 ln 2)
    divergence = 0.5 * (4 + 0.25 - 1 + 2 * math.log(2))
    expected = 0.25 + 3 * (0.5 + 0.5) + 0.1 * divergence
    loss = ReconstructionLoss(gradient_weight=3, kl_weight=0.1)
    assert loss((reconstruction, mean, deviation), image).item() == pytest.approx(expected)


def test_each_term_counts_by_its_weight():
    image, reconstruction = torch.zeros(1, 1, 4, 4), torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    output = (reconstruction, torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    terms = {"gradient_weight": 0, "kl_weight": 0, "perceptual": lambda one, other: (one - other).square().sum()}

    def loss(**weights):
        return ReconstructionLoss(**{**terms, **weights})(output, image).item()

    plain, square = reconstruction.mean().item(), reconstruction.square().sum().item()
    assert loss() == pytest.approx(plain)
    assert loss(l1_weight=0.5) == pytest.approx(0.5 * plain)
    assert loss(perceptual_weight=2.0) == pytest.approx(plain + 2 * square, rel=1e-5)
    assert loss(penalty=lambda made: 3 * made.mean()) == pytest.approx(4 * plain)


def test_a_perfect_reconstruction_from_a_standard_normal_costs_nothing():
    image = torch.rand(1, 1, 4, 4)
    loss = ReconstructionLoss(gradient_weight=1, kl_weight=1)
    assert loss((image, torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)), image).item() == 0


def test_the_first_stage_starts_at_the_principal_components(work):
    dataset = RadiographDataset(work, split="train")
    stage = FirstStage(bundle_root=work, dataset=dataset, fit_images=5)
    images = torch.stack([dataset[index]["image"] for index in range(5)])
    fitted = PatchAutoencoderKL(latent_channels=3, patch=4, width=8, blocks=1)
    fitted.fit(images)
    assert torch.allclose(stage.autoencoder.encode(images)[0], fitted.encode(images)[0], atol=1e-4)


def test_only_what_decodes_is_trained(work):
    stage = FirstStage(bundle_root=work, dataset=RadiographDataset(work, split="train"))
    trained = {id(parameter) for parameter in stage.trainable}
    for name, parameter in stage.autoencoder.named_parameters():
        frozen = name.startswith(("encoder.", "quant_conv_mu.", "quant_conv_log_sigma."))
        assert (id(parameter) in trained) != frozen, name


def test_the_same_seed_starts_at_the_same_weights(work):
    dataset = RadiographDataset(work, split="train")
    first, second, other = (
        FirstStage(bundle_root=work, dataset=dataset, fit_images=2, seed=seed).autoencoder.state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_overrides_reach_the_autoencoder_and_misspelt_ones_are_refused(work):
    dataset = RadiographDataset(work, split="train")
    assert (
        FirstStage(bundle_root=work, dataset=dataset, section={"latent_channels": 5}).autoencoder.latent_channels == 5
    )
    with pytest.raises(ConfigError, match="latent_channels"):
        FirstStage(bundle_root=work, dataset=dataset, section={"latent_chanels": 5})


def test_finetuning_starts_from_a_file_of_an_autoencoder_or_of_a_model(work):
    dataset = RadiographDataset(work, split="train")
    trained = FirstStage(bundle_root=work, dataset=dataset, seed=3).autoencoder.state_dict()
    save_tensors(work / "alone.pt", trained, info={})
    whole = {f"autoencoder.{name}": value for name, value in trained.items()} | {"denoiser.x": torch.zeros(1)}
    save_tensors(work / "model.pt", whole, info={})
    for file in ("alone.pt", "model.pt"):
        stage = FirstStage(bundle_root=work, dataset=dataset, seed=4, start_from=work / file)
        assert all(torch.equal(value, trained[name]) for name, value in stage.autoencoder.state_dict().items())
        assert len(stage.trainable) < len(list(stage.autoencoder.parameters()))
    save_tensors(work / "denoiser.pt", {"denoiser.x": torch.zeros(1)}, info={})
    with pytest.raises(WeightsError, match="must hold an autoencoder"):
        FirstStage(bundle_root=work, dataset=dataset, start_from=work / "denoiser.pt")


STABLE_DIFFUSION = {
    "_class_": "biomedjourney_monai.networks.stable_diffusion.StableDiffusionAutoencoder",
    "in_channels": 1,
    "out_channels": 1,
    "channels": [8, 8],
    "num_res_blocks": 1,
    "norm_num_groups": 4,
}


def test_finetuning_refuses_an_autoencoder_of_other_settings_by_their_names(work):
    dataset = RadiographDataset(work, split="train")
    FirstStage(bundle_root=work, dataset=dataset, section=STABLE_DIFFUSION).save(work / "sd.pt", info={})
    other = {**STABLE_DIFFUSION, "norm_num_groups": 2}  # the same tensors, another function
    with pytest.raises(WeightsError, match="autoencoder#norm_num_groups 4 instead of 2"):
        FirstStage(bundle_root=work, dataset=dataset, section=other, start_from=work / "sd.pt")


def test_another_class_of_autoencoder_trains_as_a_whole(work):
    stage = FirstStage(bundle_root=work, dataset=RadiographDataset(work, split="train"), section=STABLE_DIFFUSION)
    assert len(stage.trainable) == len(list(stage.autoencoder.parameters()))
    images = torch.rand(2, 1, 16, 16)
    made = stage.reconstruct(images)
    assert made.shape == images.shape and made.min() >= 0 and made.max() <= 1
    mode, _ = stage.autoencoder.encode(images * 2 - 1)
    assert torch.allclose(made, ((stage.autoencoder.decode(mode) + 1) / 2).clamp(0, 1), atol=1e-6)


def test_saved_weights_fit_a_fresh_autoencoder(work):
    stage = FirstStage(bundle_root=work, dataset=RadiographDataset(work, split="train"))
    stage.save(work / "autoencoder.pt", info={"stage": "autoencoder"})
    state, info = load_tensors(work / "autoencoder.pt")
    assert info["stage"] == "autoencoder"
    assert info["config_hash"] == geometry_hash(info["geometry"])
    fresh = load_into(PatchAutoencoderKL(latent_channels=3, patch=4, width=8, blocks=1), state)
    image = torch.rand(1, 1, 16, 16)
    assert torch.equal(fresh.encode(image)[0], stage.autoencoder.encode(image)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weights_that_stay_on_the_disk_are_the_same_weights(tmp_path, dtype):
    one, other = (PatchAutoencoderKL(latent_channels=3, patch=4, width=8, blocks=1) for _ in range(2))
    path = tmp_path / "autoencoder.pt"
    save_tensors(path, {name: value.to(dtype) for name, value in one.state_dict().items()}, info={})
    load_autoencoder(other, path, mmap=True)
    save_tensors(path, {"another": torch.zeros(1)}, info={})  # a new file in its place
    for name, value in other.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, one.state_dict()[name].to(dtype).float())
    assert all(parameter.requires_grad for parameter in other.parameters())
    on_disk = str(path) in Path("/proc/self/maps").read_text()
    assert on_disk == (dtype == torch.float32)
