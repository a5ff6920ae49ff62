import numpy as np
import pytest

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.training.data.shards import ShardedArray

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
