import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.networks.text.encoder import TextEncoder
from biomedjourney_monai.networks.text.tower_folder import TowerGeometry
from biomedjourney_monai.training.text_tower.tower import fit_text_tower, measure_retrieval

TINY = TowerGeometry(
    width=32, layers=1, heads=2, embed_dim=16, image_size=32, image_width=24, image_layers=1, patch_size=16
)


def pairs(count=40, *, side=32):
    """Bright images that say "large", dark ones that say "small"."""
    rng = np.random.default_rng(0)
    is_large = np.arange(count) % 2 == 1
    noise = rng.integers(0, 60, (count, side, side))
    images = (noise + 160 * is_large[:, None, None]).astype(np.uint8)
    return images, [["Large effusion.", "Large."] if large else ["Small effusion."] for large in is_large]


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tower")
    images, texts = pairs()
    figures = fit_text_tower(images, texts, out=folder, seed=3, steps=6, batch_size=8, geometry=TINY)
    return folder, figures


def test_the_folder_loads_as_biomedclip_does(tower):
    encoder = TextEncoder.from_folder(tower[0])
    assert (encoder.width, encoder.context_length) == (32, 128)
    states = encoder.encode(["New moderate left pleural effusion.", ""])
    assert states.shape == (2, 128, 32)
    assert not torch.equal(states[0], states[1])


def test_the_folder_holds_half_precision_and_says_how_it_was_made(tower):
    from safetensors.torch import load_file

    folder, figures = tower
    state = load_file(folder / "open_clip_model.safetensors")
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float16}
    made = json.loads((folder / "training.json").read_text())
    assert (made["seed"], made["steps"], made["images"]) == (3, 6, 40)
    assert made["figures"] == pytest.approx(figures)


def test_the_same_seed_gives_the_same_bytes_and_leaves_the_global_generator_alone(tower, tmp_path):
    images, texts = pairs()
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    fit_text_tower(images, texts, out=tmp_path, seed=3, steps=6, batch_size=8, geometry=TINY)
    assert torch.equal(torch.rand(3), expected)
    for file in sorted(tower[0].iterdir()):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.slow
def test_a_tower_continues_an_earlier_one_and_keeps_its_token_states(tower, tmp_path):
    images, texts = pairs()
    kept = ["New large left effusion.", "The right effusion has resolved.", "Unchanged mild edema."]
    settings = {"seed": 5, "steps": 30, "batch_size": 8, "geometry": TINY}
    fit_text_tower(images, texts, out=tmp_path / "early", **settings, kept_texts=kept)
    figures = fit_text_tower(
        images, texts, out=tmp_path / "on", **settings | {"seed": 6}, start_from=tmp_path / "early", kept_texts=kept
    )
    fit_text_tower(images, texts, out=tmp_path / "other", **settings | {"seed": 6}, kept_texts=kept)
    early, on, other = (TextEncoder.from_folder(tmp_path / name).encode(kept) for name in ("early", "on", "other"))
    assert figures["kept_states"] < 0.2
    assert (on - early).square().mean() < 0.2 * (other - early).square().mean()
    assert (tmp_path / "early" / "vocab.txt").read_bytes() != b""


def test_a_tower_of_another_width_cannot_be_continued(tower, tmp_path):
    images, texts = pairs()
    wider = replace(TINY, width=64)
    with pytest.raises(ConfigError, match="same width"):
        fit_text_tower(images, texts, out=tmp_path / "t", seed=0, steps=1, geometry=wider, start_from=tower[0])
    assert not (tmp_path / "t").exists()


def test_another_seed_gives_another_tower(tower, tmp_path):
    images, texts = pairs()
    fit_text_tower(images, texts, out=tmp_path, seed=4, steps=6, batch_size=8, geometry=TINY)
    assert TextEncoder.from_folder(tmp_path).weights_hash != TextEncoder.from_folder(tower[0]).weights_hash


@pytest.mark.slow
def test_training_learns_which_text_goes_with_which_image(tmp_path):
    images, texts = pairs(80)
    texts = [choice[:1] for choice in texts]
    before = fit_text_tower(images, texts, out=tmp_path / "a", seed=0, steps=1, batch_size=16, geometry=TINY)
    after = fit_text_tower(images, texts, out=tmp_path / "b", seed=0, steps=150, batch_size=16, geometry=TINY)
    assert after["meaning"] < 0.8 * before["meaning"]
    assert after["words"] < 0.8 * before["words"]
    assert after["recall_at_1"] == 1.0  # equal texts share a rank


def test_retrieval_counts_the_texts_that_score_better():
    class Fixed(nn.Module):
        def encode_image(self, images, normalize):
            return torch.eye(3)

        def encode_text(self, ids, normalize):
            return torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.1], [0.0, 0.0, 0.9]])

    figures = measure_retrieval(Fixed(), lambda texts: None, np.zeros((3, 8, 8), np.uint8), [["a"], ["b"], ["c"]])
    # image 0: all texts score 0, a tie, rank 1; image 1: text 0 scores better, rank 2; image 2: rank 1
    assert figures["recall_at_1"] == pytest.approx(2 / 3)
    assert (figures["pairs"], figures["recall_at_10"], figures["median_rank"]) == (3, 1.0, 1)


@pytest.mark.parametrize(
    ("images", "texts", "steps", "rule"),
    [
        (np.zeros((10, 32, 32), np.float32), [["a"]] * 10, 1, "uint8"),
        (np.zeros((10, 64, 64), np.uint8), [["a"]] * 10, 1, "32, 32"),
        (np.zeros((10, 32, 32), np.uint8), [["a"]] * 9, 1, "texts for each"),
        (np.zeros((2, 32, 32), np.uint8), [["a"]] * 2, 1, "at least 8"),
        (np.zeros((10, 32, 32), np.uint8), [["a"]] * 9 + [[]], 1, "must have a text"),
        (np.zeros((10, 32, 32), np.uint8), [["a"]] * 10, 0, "steps"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(tmp_path, images, texts, steps, rule):
    with pytest.raises(ConfigError, match=rule):
        fit_text_tower(images, texts, out=tmp_path / "tower", seed=0, steps=steps, geometry=TINY)
    assert not (tmp_path / "tower").exists()


def test_the_default_tower_is_small_and_128_wide():
    from transformers import BertConfig, BertModel

    geometry = TowerGeometry()
    config = geometry.bert_config(1500)
    bert = BertModel(BertConfig(**config), add_pooling_layer=False)
    assert (config["hidden_size"], geometry.context_length) == (128, 128)
    assert sum(parameter.numel() for parameter in bert.parameters()) * 2 < 2.2e6  # bytes in float16
