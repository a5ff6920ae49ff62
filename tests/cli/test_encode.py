import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.configuration import compose
from biomedjourney_monai.networks.text.encoder import TextEncoder
from biomedjourney_monai.networks.weights.model_file import load_tensors, save_tensors, weights_hash
from biomedjourney_monai.training.data.latents import LatentCache, LatentDataset

BUNDLE = Path(__file__).resolve().parents[2] / "bundle"


@pytest.fixture
def encode(bundle, random_model, prepared):
    def run(*more):
        return main(["encode", "--work", str(prepared), "--bundle", str(bundle), "--model", str(random_model), *more])

    return run


def test_images_and_texts_become_a_cache_that_training_reads(encode, prepared, capsys):
    assert encode("--batch-size", "3") == 0
    assert (
        "encoded 4 images and 18 texts (0 cut), 13 of them that nothing changes; 3 examples to pretrain, 3 to finetune"
        in capsys.readouterr().out
    )
    cache = LatentCache(prepared / "latents")
    assert cache.mean.shape == (4, 24, 16, 16)
    assert len(cache.text) == 18  # three impressions, the null text, one description, 13 sentences without change
    assert cache.encoding["unchanged_texts"] == list(range(5, 18))
    assert all(row.changed for row in cache.rows if row.stage == "finetune")  # New small left pleural effusion.
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


@pytest.fixture
def second(prepared, tmp_path):
    """A copy of the working folder."""
    return Path(shutil.copytree(prepared, tmp_path / "second"))


def test_several_folders_are_encoded_alike_with_the_autoencoder_that_one_has(encode, prepared, second, capsys):
    torch.manual_seed(3)
    autoencoder = compose(BUNDLE / "configs" / "common.yaml").get_parsed_content("autoencoder")
    own = second / "runs" / "autoencoder.pt"
    save_tensors(own, autoencoder.state_dict(), info={})
    assert encode("--work", str(second)) == 0
    assert (prepared / "runs" / "autoencoder.pt").read_bytes() == own.read_bytes()
    output = capsys.readouterr().out
    assert output.count("3 to finetune (3 change a finding)") == 2
    assert "scale factor of the mixture" in output
    encodings = [LatentCache(work / "latents").encoding for work in (prepared, second)]
    assert encodings[0] == encodings[1]


def test_folders_with_different_autoencoders_are_refused_before_anything_is_encoded(encode, prepared, second, capsys):
    for number, work in enumerate((prepared, second)):
        save_tensors(work / "runs" / "autoencoder.pt", {"a": torch.full((1,), float(number))}, info={})
    assert encode("--work", str(second)) == 2
    error = capsys.readouterr().err
    assert "must have one autoencoder" in error and error.count("\n") == 1
    assert not (prepared / "latents").exists()


def test_another_text_encoder_is_taken_from_its_folder(encode, prepared, bundle, tmp_path):
    from safetensors.torch import load_file, save_file

    tower = shutil.copytree(bundle / "models" / "text_tower", tmp_path / "tower")
    weights = tower / "open_clip_model.safetensors"
    state = load_file(weights)
    state["text.transformer.embeddings.LayerNorm.bias"] += 0.5
    save_file(state, weights)
    encode()
    shipped = LatentCache(prepared / "latents")
    assert encode("--text-encoder", str(tower)) == 0
    other = LatentCache(prepared / "latents")
    assert shipped.encoding["text_encoder"] != other.encoding["text_encoder"]
    assert other.encoding["text_encoder"] == TextEncoder.from_folder(tower).weights_hash
    assert other.text.shape == shipped.text.shape and not np.array_equal(other.text[0], shipped.text[0])


def test_texts_that_are_cut_are_counted_once_at_the_end(encode, prepared, capsys, caplog):
    singles = prepared / "singles.jsonl"
    singles.write_text(singles.read_text().replace('"impression": "', '"impression": "' + "small left effusion " * 60))
    assert encode() == 0
    assert "texts (4 cut)" in capsys.readouterr().out
    assert not [record for record in caplog.records if "cut" in record.getMessage()]


def files_of(folder):
    return {path.name: path for path in folder.iterdir()}


def test_a_stopped_run_goes_on_and_leaves_what_is_done(encode, prepared, monkeypatch):
    monkeypatch.setattr("biomedjourney_monai.training.data.encode_shards.IMAGES_PER_SHARD", 1)
    encode()
    latents = prepared / "latents"
    complete = {name: path.read_bytes() for name, path in files_of(latents).items()}
    lost = next(name for name in complete if name.startswith("mean-00002"))
    for name in (lost, "rows.jsonl", "encoding.json"):
        (latents / name).unlink()
    kept = {name: path.stat().st_mtime_ns for name, path in files_of(latents).items()}
    assert encode() == 0
    assert {name: path.read_bytes() for name, path in files_of(latents).items()} == complete
    again = {name: path.stat().st_mtime_ns for name, path in files_of(latents).items()}
    assert {name for name in kept if again[name] != kept[name]} == {lost.replace("mean", "log_variance")}
    assert len(LatentCache(latents).mean) == 4


def test_a_changed_image_is_encoded_again_and_its_old_latents_go(encode, prepared, monkeypatch):
    monkeypatch.setattr("biomedjourney_monai.training.data.encode_shards.IMAGES_PER_SHARD", 1)
    encode()
    before = set(files_of(prepared / "latents"))
    Image.new("L", (128, 128), 77).save(prepared / "images" / "2.png")
    encode()
    after = set(files_of(prepared / "latents"))
    assert {name.split("-")[0] + name.split("-")[1] for name in before - after} == {"mean00002", "log_variance00002"}
    assert len(after) == len(before)


def test_another_autoencoder_encodes_every_image_again(encode, prepared):
    encode()
    before = set(files_of(prepared / "latents"))
    state, info = load_tensors(prepared / "runs" / "autoencoder.pt")
    save_tensors(prepared / "runs" / "autoencoder.pt", {k: v * 1.01 for k, v in state.items()}, info=info)
    encode()
    gone = before - set(files_of(prepared / "latents"))
    assert {name.split("-")[0] for name in gone} == {"mean", "log_variance"}


@pytest.mark.slow
def test_two_processes_of_dask_write_the_same_cache(encode, prepared, monkeypatch):
    monkeypatch.setattr("biomedjourney_monai.training.data.encode_shards.IMAGES_PER_SHARD", 2)
    encode()
    before = {name: path.read_bytes() for name, path in files_of(prepared / "latents").items()}
    for path in (prepared / "latents").iterdir():
        path.unlink()
    assert encode("--processes", "2") == 0
    assert {name: path.read_bytes() for name, path in files_of(prepared / "latents").items()} == before


def test_float32_keeps_what_float16_rounds(encode, prepared):
    encode()
    half = LatentCache(prepared / "latents")
    encode("--precision", "float32")
    full = LatentCache(prepared / "latents")
    assert (half.mean.dtype, full.mean.dtype, full.text.dtype) == (np.float16, np.float32, np.float32)
    assert np.array_equal(np.asarray(full.mean).astype(np.float16), np.asarray(half.mean))
    assert not np.array_equal(np.asarray(full.mean), np.asarray(half.mean, np.float32))


@pytest.mark.parametrize("kind", ["crop", "jitter"])
def test_variants_change_prior_new_image_and_mask_alike(encode, prepared, kind):
    Image.open(prepared / "images" / "0.png").save(prepared / "images" / "1.png")  # a journey without any change
    assert encode("--augment", kind, "--variants", "3") == 0
    dataset = LatentDataset(prepared / "latents", stage="finetune", split="train")
    assert (len(dataset), dataset.variants) == (1, 3)
    items = [dataset[variant] for variant in range(3)]
    for item in items:
        assert np.allclose(item["prior_latent"], item["new_mean"], atol=2e-3)
    for one, other in ((0, 1), (1, 2)):
        assert (items[one]["new_mean"] - items[other]["new_mean"]).abs().max() > 0.05
    plain = encode() or LatentDataset(prepared / "latents", stage="finetune", split="train")[0]
    assert np.allclose(plain["new_mean"], items[0]["new_mean"], atol=2e-3)


def test_what_a_jitter_brings_in_does_not_count(encode, prepared):
    encode("--augment", "jitter", "--variants", "4")
    dataset = LatentDataset(prepared / "latents", stage="pretrain", split="train")
    first, *others = ([dataset[index + number * len(dataset)]["valid"] for index in range(3)] for number in range(4))
    assert all(valid.all() for valid in first)
    assert any(not valid.all() for valids in others for valid in valids)


def test_the_papers_flip_mirrors_images_and_swaps_words(encode, prepared, capsys):
    from biomedjourney_monai.errors import ConfigError

    assert encode("--reproduce-paper-flip", "--variants", "2") == 0
    assert "heart on the wrong side" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="must not be mirrored"):
        LatentDataset(prepared / "latents", stage="finetune", split="train")
    flipped = LatentDataset(prepared / "latents", stage="finetune", split="train", reproduce_paper_flip=True)
    plain, mirrored = flipped[0], flipped[1]
    assert plain["valid"][0, :, 0].sum() == 0  # the mask hides the first columns
    assert mirrored["valid"][0, :, -1].sum() == 0
    assert mirrored["valid"][0, :, 0].all()
    assert not np.array_equal(plain["text_states"], mirrored["text_states"])
    row = flipped.rows[0]
    assert np.array_equal(mirrored["text_states"], np.asarray(flipped.cache.text[row.mirrored_text], np.float32))


def test_without_a_cache_training_gets_the_same_examples(encode, prepared):
    from biomedjourney_monai.training.data.encode_shards import load_text_encoder
    from biomedjourney_monai.training.data.examples import open_examples

    settings = ["--augment", "jitter", "--reproduce-paper-flip", "--seed", "5"]
    encode(*settings, "--variants", "2", "--precision", "float32")
    cached = {
        stage: open_examples(prepared / "latents", stage=stage, split="train", reproduce_paper_flip=True)
        for stage in ("pretrain", "finetune")
    }
    known = {stage: [dataset[index] for index in range(2 * len(dataset))] for stage, dataset in cached.items()}
    assert encode(*settings, "--no-cache") == 0
    assert not list((prepared / "latents").glob("*.npy"))
    encoders = make_encoders(prepared, load_text_encoder)
    for stage, expected in known.items():
        live = open_examples(
            prepared / "latents", stage=stage, split="train", reproduce_paper_flip=True, encoders=encoders
        )
        assert 2 * len(live) == len(expected)
        for one, other in zip(live.__getitems__(range(len(expected))), expected):
            assert one.keys() == other.keys()
            for name in one:
                assert np.allclose(one[name], other[name], atol=1e-5), name
        assert live.variants > 1000  # each pass over the data sees new changes


def make_encoders(prepared, load_text_encoder):
    from biomedjourney_monai.model_config import ModelConfig
    from biomedjourney_monai.training.data.encode_shards import load_autoencoder
    from biomedjourney_monai.training.data.examples import Encoders

    model = ModelConfig.find(BUNDLE)
    weights = prepared / "runs" / "autoencoder.pt"
    return Encoders(load_autoencoder(model, str(weights), weights_hash(weights)), load_text_encoder(model))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--variants", "3"], "--variants needs changes"),
        (["--augment", "crop", "--variants", "0"], "--variants must be >= 1"),
        (["--augment", "crop", "--variants", "3", "--no-cache"], "--no-cache draws a new change each time"),
        (["--processes", "0"], "--processes must be >= 1"),
    ],
)
def test_settings_that_contradict_each_other_are_one_line(encode, prepared, capsys, more, message):
    assert_refused(encode(*more), capsys, message)
    assert not (prepared / "latents").exists()


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
