import numpy as np
import pytest
from PIL import Image

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.networks.weights import load_tensors, save_tensors, weights_hash
from biomedjourney_monai.training.latents import LatentCache, LatentDataset


@pytest.fixture
def encode(bundle, random_model, prepared):
    def run(*more):
        return main(["encode", "--work", str(prepared), "--bundle", str(bundle), "--model", str(random_model), *more])

    return run


def test_images_and_texts_become_a_cache_that_training_reads(encode, prepared, capsys):
    assert encode("--batch-size", "3") == 0
    assert "encoded 4 images and 5 texts (0 cut); 3 examples to pretrain, 3 to finetune" in capsys.readouterr().out
    cache = LatentCache(prepared / "latents")
    assert cache.mean.shape == (4, 24, 16, 16)
    assert len(cache.text) == 5  # three impressions, the null text, one description
    pretrain = LatentDataset(prepared / "latents", stage="pretrain", split="train")
    finetune = LatentDataset(prepared / "latents", stage="finetune", split="test")
    assert (len(pretrain), len(finetune)) == (3, 2)
    assert np.array_equal(finetune[0]["prior_latent"], pretrain[1]["new_mean"])  # both are images/1.png
    valid = finetune[0]["valid"][0]
    assert valid[:, 0].sum() == 0  # the mask hides five of the first eight columns
    assert valid[:, 1:].all()


def test_the_cache_knows_what_made_it(encode, prepared, random_model):
    encode()
    encoding = LatentCache(prepared / "latents").encoding
    autoencoder = prepared / "runs" / "autoencoder.pt"
    assert encoding["autoencoder"] == weights_hash(autoencoder)
    assert encoding["text_encoder"] == load_tensors(random_model)[1]["text_encoder"]
    assert len(encoding["dummy_prior"]) == len(encoding["channel_weight"]) == 24
    assert encoding["scale_factor"] > 0
    state, _ = load_tensors(autoencoder)
    model, _ = load_tensors(random_model)
    assert all(np.array_equal(value, model[f"autoencoder.{name}"].float()) for name, value in state.items())


def test_encoding_again_gives_the_same_bytes(encode, prepared):
    encode()
    before = {path.name: path.read_bytes() for path in (prepared / "latents").iterdir()}
    encode()
    assert {path.name: path.read_bytes() for path in (prepared / "latents").iterdir()} == before


def assert_refused(status, capsys, message):
    assert status == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--batch-size", "0"], "--batch-size must be >= 1"),
        (["--bundle", "nowhere"], "nowhere must be a bundle folder"),
        (["--model", "nowhere.pt"], "nowhere.pt must exist"),
        (["--work", "nowhere"], "singles.jsonl must exist"),
    ],
)
def test_wrong_arguments_are_one_line(encode, prepared, capsys, more, message):
    assert_refused(encode(*more), capsys, message)
    assert not (prepared / "latents").exists()


def test_a_model_without_an_autoencoder_leaves_nothing(encode, prepared, random_model, tmp_path, capsys):
    state, info = load_tensors(random_model)
    part = {name: value for name, value in state.items() if name.startswith("denoiser.")}
    save_tensors(tmp_path / "denoiser.pt", part, info=info)
    assert_refused(encode("--model", str(tmp_path / "denoiser.pt")), capsys, "must hold an autoencoder")
    assert not (prepared / "runs" / "autoencoder.pt").exists()


@pytest.mark.parametrize("size", [(64, 64), (128, 64), (100, 100)])
def test_images_of_another_size_are_one_line(encode, prepared, capsys, size):
    Image.new("L", size).save(prepared / "images" / "2.png")
    assert_refused(encode(), capsys, f"found {size[1]}×{size[0]}")
    assert not (prepared / "latents").exists()


@pytest.mark.parametrize("table", ["singles.jsonl", "triples.jsonl"])
def test_a_table_without_its_entries_is_one_line(encode, prepared, capsys, table):
    (prepared / table).write_text('{"split": "train"}\n')
    assert_refused(encode(), capsys, f"{table} must have the entries")
