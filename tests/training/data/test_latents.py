import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.networks.autoencoder import PatchAutoencoderKL
from biomedjourney_monai.schema import DUMMY_GREY
from biomedjourney_monai.training.data.latents import (
    LatentCache,
    LatentDataset,
    LatentRow,
    ShardedArray,
    compute_scale_factor,
    encode_images,
    valid_at_latent_resolution,
)


def arrays():
    rng = np.random.default_rng(0)
    return {
        "mean": rng.normal(size=(3, 4, 2, 2)).astype(np.float16),
        "log_variance": rng.normal(size=(3, 4, 2, 2)).astype(np.float16),
        "valid": np.array([[[True, False], [True, True]]]),
        "text_states": rng.normal(size=(2, 5, 6)).astype(np.float16),
    }


ROWS = [
    LatentRow("pretrain", "train", new=0, prior=-1, valid=-1, text=0),
    LatentRow("finetune", "train", new=1, prior=0, valid=0, text=1),
    LatentRow("finetune", "validate", new=2, prior=1, valid=-1, text=1),
]


@pytest.fixture
def cache(tmp_path):
    LatentCache.write(tmp_path, **arrays(), rows=ROWS, encoding={"dummy_prior": [1.0, 2.0, 3.0, 4.0]})
    return tmp_path


def test_a_cache_goes_and_comes_back(cache):
    opened = LatentCache(cache)
    assert opened.rows == ROWS
    assert opened.encoding == {"dummy_prior": [1.0, 2.0, 3.0, 4.0]}
    for name, array in (("mean", opened.mean), ("log_variance", opened.log_variance), ("text_states", opened.text)):
        assert np.array_equal(array, arrays()[name])
    assert isinstance(opened.mean.shards[0], np.memmap)


def test_a_triple_joins_new_prior_mask_and_text(cache):
    dataset = LatentDataset(cache, stage="finetune", split="train")
    assert len(dataset) == 1
    item, expected = dataset[0], arrays()
    assert np.array_equal(item["new_mean"], expected["mean"][1].astype(np.float32))
    assert np.array_equal(item["new_log_variance"], expected["log_variance"][1].astype(np.float32))
    assert np.array_equal(item["prior_latent"], expected["mean"][0].astype(np.float32))
    assert item["valid"].tolist() == [[[1, 0], [1, 1]]]
    assert np.array_equal(item["text_states"], expected["text_states"][1].astype(np.float32))
    assert int(item.pop("row")) == ROWS.index(dataset.rows[0])
    assert {value.dtype for value in item.values()} == {torch.float32}


def test_a_single_image_gets_the_dummy_prior_and_is_valid_everywhere(cache):
    item = LatentDataset(cache, stage="pretrain", split="train")[0]
    assert item["prior_latent"].shape == (4, 2, 2)
    assert item["prior_latent"].amax(dim=(1, 2)).tolist() == item["prior_latent"].amin(dim=(1, 2)).tolist()
    assert item["prior_latent"][:, 0, 0].tolist() == [1, 2, 3, 4]
    assert item["valid"].tolist() == [[[1, 1], [1, 1]]]


def test_items_do_not_write_into_the_cache(cache):
    dataset = LatentDataset(cache, stage="finetune", split="train")
    dataset[0]["new_mean"].zero_()
    assert dataset[0]["new_mean"].any()


def test_a_split_without_examples_is_refused(cache):
    with pytest.raises(TableError, match="pretrain examples of split test"):
        LatentDataset(cache, stage="pretrain", split="test")


@pytest.mark.parametrize("name", ["mean.npy", "log_variance.npy", "valid.npy", "text_states.npy"])
@pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY", b"not an array"])
def test_a_broken_array_says_what_to_run(cache, name, content):
    (cache / name).unlink()
    if content is not None:
        (cache / name).write_bytes(content)
    with pytest.raises(TableError, match="biomedjourney encode"):
        LatentCache(cache)


@pytest.mark.parametrize("content", ["", '{"stage": "pretrain"}\n', "[1]\n"])
def test_broken_rows_say_what_to_run(cache, content):
    (cache / "rows.jsonl").write_text(content)
    with pytest.raises(TableError, match="biomedjourney encode"):
        LatentCache(cache)


def test_a_broken_write_is_not_mistaken_for_a_cache(cache):
    with pytest.raises(TypeError):
        LatentCache.write(cache, **{**arrays(), "mean": None}, rows=ROWS, encoding={"x": object()})
    with pytest.raises(TableError, match=r"rows\.jsonl must exist"):
        LatentCache(cache)


@given(data=st.data(), factor=st.integers(1, 4))
def test_a_latent_position_is_valid_if_all_its_pixels_are(data, factor):
    rows, columns = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    bits = data.draw(st.lists(st.booleans(), min_size=rows * columns * factor**2, max_size=rows * columns * factor**2))
    mask = np.array(bits).reshape(rows * factor, columns * factor)
    found = valid_at_latent_resolution(mask, factor=factor)
    assert found.shape == (rows, columns)
    for row in range(rows):
        for column in range(columns):
            patch = mask[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
            assert found[row, column] == patch.all()


@pytest.mark.parametrize("deviation", [0.1, 1.0, 3.0])
def test_scaled_samples_have_unit_variance(deviation):
    rng = np.random.default_rng(0)
    mean = rng.normal(0.5, deviation, (700, 4, 4, 4))
    log_variance = np.full_like(mean, np.log(0.25))
    sample = mean + 0.5 * rng.normal(size=mean.shape)
    assert compute_scale_factor(mean, log_variance) * sample.std() == pytest.approx(1, rel=0.03)


def test_images_are_encoded_to_mean_and_log_variance_whatever_the_batch_size():
    torch.manual_seed(0)
    autoencoder = PatchAutoencoderKL(latent_channels=4, patch=4, width=8, blocks=1, posterior_std=0.1).eval()
    images = np.random.default_rng(0).random((5, 16, 16), np.float32)
    mean, log_variance = encode_images(autoencoder, iter(images), batch_size=2)
    assert mean.shape == log_variance.shape == (5, 4, 4, 4)
    assert mean.dtype == np.float16
    assert np.allclose(log_variance, np.log(0.01), atol=0.01)
    expected = autoencoder.encode(torch.from_numpy(images)[:, None] * 2 - 1)[0]
    assert np.allclose(mean, expected.detach(), atol=2e-3)
    again, _ = encode_images(autoencoder, images, batch_size=64)
    assert np.allclose(mean, again, atol=2e-3)


def test_the_dummy_prior_is_grey_128():
    assert DUMMY_GREY * 255 == 128


def test_processes_share_the_examples(cache):
    shares = [LatentDataset(cache, stage="finetune", split="train", process=0, processes=2)]
    assert [len(share) for share in shares] == [1]
    with pytest.raises(TableError, match="finetune examples of split train"):
        LatentDataset(cache, stage="finetune", split="train", process=1, processes=2)


WHOLE = np.arange(30, dtype=np.float16).reshape(5, 2, 3)


@pytest.fixture
def shards(tmp_path):
    names = ["a.npy", "b.npy", "c.npy"]
    for name, part in zip(names, (WHOLE[:2], WHOLE[2:4], WHOLE[4:])):
        np.save(tmp_path / name, part)
    return tmp_path, names


def test_files_read_as_one_array(shards):
    array = ShardedArray(*shards)
    assert (len(array), array.shape, array.dtype) == (5, (5, 2, 3), np.float16)
    assert all(np.array_equal(array[place], WHOLE[place]) for place in range(5))
    assert np.array_equal(array, WHOLE)


def test_what_is_not_asked_for_stays_on_the_disk(shards):
    assert all(isinstance(shard, np.memmap) for shard in ShardedArray(*shards).shards)
    assert isinstance(ShardedArray(*shards)[3], np.memmap)


@pytest.mark.parametrize("place", [-1, 5])
def test_places_outside_are_refused(shards, place):
    with pytest.raises(IndexError, match=r"in \[0, 5\)"):
        ShardedArray(*shards)[place]


@pytest.mark.parametrize("odd", [np.zeros((1, 2, 4), np.float16), np.zeros((1, 2, 3), np.float32)])
def test_files_that_do_not_belong_together_are_refused(shards, odd):
    folder, names = shards
    np.save(folder / "c.npy", odd)
    with pytest.raises(TableError, match="one shape and type"):
        ShardedArray(folder, names)


def test_a_missing_file_says_what_to_run(shards):
    folder, names = shards
    (folder / "b.npy").unlink()
    with pytest.raises(TableError, match=r"b\.npy must be a readable array.*biomedjourney encode"):
        ShardedArray(folder, names)


def test_no_file_at_all_is_refused(tmp_path):
    with pytest.raises(TableError, match="biomedjourney encode"):
        ShardedArray(tmp_path, [])
