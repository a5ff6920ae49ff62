import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.weights.model_file import (
    load_info,
    load_into,
    load_tensors,
    save_tensors,
    weights_hash,
)


class _Bomb:
    """Writes a file when it is unpickled: the hostile checkpoint."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.write_text, (self.target, "boom"))


def test_tensors_and_facts_come_back_as_saved(tmp_path):
    state = {"a": torch.arange(6.0).view(2, 3), "count": torch.tensor(7)}
    save_tensors(tmp_path / "w.pt", state, info={"width": 3, "names": ["x"]})
    loaded, info = load_tensors(tmp_path / "w.pt")
    assert torch.equal(loaded["a"], state["a"]) and torch.equal(loaded["count"], state["count"])
    assert info == {"width": 3, "names": ["x"]}


@pytest.mark.parametrize("info", [{"width": 3}, {}])
def test_a_flat_file_is_read_by_us_and_by_monai(tmp_path, info):
    from monai.networks.utils import copy_model_state

    network = nn.Linear(2, 3)
    save_tensors(tmp_path / "w.pt", network.state_dict(), info=info, flat=True)
    state, facts = load_tensors(tmp_path / "w.pt")
    assert facts == load_info(tmp_path / "w.pt") == info
    assert state.keys() == network.state_dict().keys()
    other = nn.Linear(2, 3)
    _, updated, kept = copy_model_state(other, torch.load(tmp_path / "w.pt", weights_only=True))
    assert (len(updated), kept) == (2, [])
    assert torch.equal(other.weight, network.weight)


def test_half_halves_floats_only_and_load_into_widens(tmp_path):
    network = nn.BatchNorm1d(4)  # has a float and an integer buffer
    nn.init.uniform_(network.weight)
    save_tensors(tmp_path / "w.pt", network.state_dict(), info={}, half=True)
    state, _ = load_tensors(tmp_path / "w.pt")
    assert state["weight"].dtype == torch.float16
    assert state["num_batches_tracked"].dtype == torch.int64
    other = load_into(nn.BatchNorm1d(4), state)
    assert other.weight.dtype == torch.float32
    assert torch.allclose(other.weight, network.weight, atol=1e-3)


def test_half_refuses_numbers_beyond_float16(tmp_path):
    with pytest.raises(WeightsError, match="float16"):
        save_tensors(tmp_path / "w.pt", {"a": torch.tensor([1e6])}, info={}, half=True)
    assert not list(tmp_path.iterdir())


def test_a_view_is_stored_without_the_rest_of_its_storage(tmp_path):
    save_tensors(tmp_path / "w.pt", {"a": torch.zeros(1_000_000)[:2]}, info={})
    assert (tmp_path / "w.pt").stat().st_size < 10_000


def test_facts_that_are_not_json_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="JSON"):
        save_tensors(tmp_path / "w.pt", {"a": torch.zeros(1)}, info={"shape": torch.Size})


def test_a_bare_state_dict_is_read(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "w.pt")
    state, info = load_tensors(tmp_path / "w.pt")
    assert set(state) == {"weight", "bias"} and info == {}


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path):
    bomb = _Bomb(tmp_path / "boom")
    torch.save({"model": bomb}, tmp_path / "new.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(bomb))
    for name in ("new.pt", "old.pt"):
        with pytest.raises(WeightsError, match=r"tensors only|whole weights file"):
            load_tensors(tmp_path / name)
    assert not (tmp_path / "boom").exists()


def test_absent_empty_and_cut_files_are_refused(tmp_path):
    save_tensors(tmp_path / "w.pt", {"a": torch.zeros(1000)}, info={})
    whole = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("cut.pt", "empty.pt", "absent.pt"):
        with pytest.raises(WeightsError):
            load_tensors(tmp_path / name)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_arbitrary_bytes_give_one_clear_error(tmp_path, content):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(WeightsError):
        load_tensors(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [[1, 2], {}, {"model": {}}, {"a": 1}, {"model": {"a": "b"}}, torch.zeros(2)])
def test_contents_of_another_kind_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="tensors by name"):
        load_tensors(tmp_path / "w.pt")


def test_load_into_names_missing_surplus_and_misshapen_and_changes_nothing():
    network = nn.Linear(3, 2)
    before = network.bias.clone()
    with pytest.raises(WeightsError) as error:
        load_into(network, {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)})
    message = str(error.value)
    assert "1 missing (bias)" in message
    assert "1 surplus (extra)" in message
    assert "weight 2×4 instead of 2×3" in message
    assert torch.equal(network.bias, before)


def test_hash_follows_the_bytes(tmp_path):
    for name, value in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        save_tensors(tmp_path / name, {"x": torch.tensor(value)}, info={})
    first, same, other = (weights_hash(tmp_path / name) for name in "abc")
    assert len(first) == 64 and first == same != other
    with pytest.raises(WeightsError):
        weights_hash(tmp_path / "absent")
