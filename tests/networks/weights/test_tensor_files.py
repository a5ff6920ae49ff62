import json
import struct
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.weights.tensor_files import read_tensor_file

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2, dtype=torch.float16)}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s, "epoch": 4}])
def test_what_torch_saved_is_read_from_the_top_and_from_below(tmp_path, wrap):
    torch.save(wrap(STATE), tmp_path / "w.ckpt")
    assert equal(read_tensor_file(tmp_path / "w.ckpt"), STATE)


def test_safetensors_are_known_by_name_or_by_content(tmp_path):
    for name in ("w.safetensors", "w.bin"):
        save_file(STATE, tmp_path / name)
        assert equal(read_tensor_file(tmp_path / name), STATE)


def test_the_prefix_of_several_devices_is_dropped(tmp_path):
    torch.save({f"module.{name}": value for name, value in STATE.items()}, tmp_path / "w.pt")
    assert equal(read_tensor_file(tmp_path / "w.pt"), STATE)


@pytest.mark.parametrize("module", [b"numpy._core", b"numpy.core"])
def test_numbers_of_numpy_beside_the_tensors_do_not_stop_a_checkpoint(tmp_path, module):
    """As PyTorch Lightning keeps its best score; NumPy before 2 has another name for what builds them."""
    training = {"callbacks": {"best": np.float32(3.5), "last": np.float64(1)}, "global_step": np.int64(3)}
    torch.save({"state_dict": STATE, **training}, tmp_path / "new.ckpt")
    with zipfile.ZipFile(tmp_path / "new.ckpt") as new, zipfile.ZipFile(tmp_path / "w.ckpt", "w") as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"numpy._core", module))
        pickled = next(new.read(name) for name in new.namelist() if name.endswith("data.pkl"))
    assert b"numpy._core.multiarray\nscalar" in pickled
    assert equal(read_tensor_file(tmp_path / "w.ckpt"), STATE)


def test_a_number_of_numpy_in_the_place_of_a_tensor_is_refused(tmp_path):
    torch.save({**STATE, "b": np.float64(2)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="1 entries of another kind, first b"):
        read_tensor_file(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [[1], {}, {"a": 1}, {"state_dict": {"a": "b"}}, torch.zeros(2)])
def test_contents_of_another_kind_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="tensors by name"):
        read_tensor_file(tmp_path / "w.pt")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".pt", ".safetensors"]))
def test_arbitrary_bytes_give_one_clear_error(tmp_path, content, suffix):
    (tmp_path / f"w{suffix}").write_bytes(content)
    with pytest.raises(WeightsError):
        read_tensor_file(tmp_path / f"w{suffix}")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(-4, 2**40), stop=st.integers(-4, 2**40), side=st.integers(-2, 2**40), length=st.integers(0, 2**40)
)
def test_headers_that_lie_give_one_clear_error(tmp_path, start, stop, side, length):
    header = json.dumps({"a": {"dtype": "F32", "shape": [side], "data_offsets": [start, stop]}}).encode()
    length = len(header) if length % 2 else length
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", length) + header + b"\0" * 8)
    with pytest.raises(WeightsError):
        read_tensor_file(tmp_path / "w.safetensors")
