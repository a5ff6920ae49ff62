import math

import numpy as np
import pytest
import torch
from PIL import Image

from biomedjourney_monai.errors import ConfigError, ImageError, TableError
from biomedjourney_monai.files import write_json_lines
from biomedjourney_monai.networks.autoencoder import PatchAutoencoderKL
from biomedjourney_monai.networks.weights import load_into, load_tensors
from biomedjourney_monai.training.first_stage import FirstStage, RadiographDataset, ReconstructionLoss

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


def test_saved_weights_fit_a_fresh_autoencoder(work):
    stage = FirstStage(bundle_root=work, dataset=RadiographDataset(work, split="train"))
    stage.save(work / "autoencoder.pt", info={"stage": "autoencoder"})
    state, info = load_tensors(work / "autoencoder.pt")
    assert info == {"stage": "autoencoder"}
    fresh = load_into(PatchAutoencoderKL(latent_channels=3, patch=4, width=8, blocks=1), state)
    image = torch.rand(1, 1, 16, 16)
    assert torch.equal(fresh.encode(image)[0], stage.autoencoder.encode(image)[0])
