import pickle

import numpy as np
import pytest
import torch

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.radiographs.views.frontal_network import ViewModel


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights in the right places; the last layer's bias alone says "lateral"."""
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.resnet50()
    torch.nn.init.zeros_(network.fc.weight)
    torch.nn.init.zeros_(network.fc.bias)
    network.fc.bias.data[1] = 1.0
    network.fc.bias.data[5] = 9.0  # one of the outputs that mean nothing
    path = tmp_path_factory.mktemp("weights") / "view.pt"
    torch.save(network.half().state_dict(), path)
    return path


def test_local_weights_decide_and_nothing_is_downloaded(weights, monkeypatch):
    import torchxrayvision

    monkeypatch.setattr(torchxrayvision.utils, "download", lambda *_: pytest.fail("downloaded"))
    model = ViewModel(weights)
    assert model.is_lateral(np.random.default_rng(0).random((128, 128), np.float32))
    model._network.model.fc.bias.data[0] = 2.0
    assert not model.is_lateral(np.random.default_rng(0).random((128, 128), np.float32))


def test_missing_weights_say_which(tmp_path):
    with pytest.raises(WeightsError, match="xinario"):
        ViewModel(tmp_path / "absent.pt")


def test_weights_that_run_code_are_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("ran",))

    (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsError, match="tensors only"):
        ViewModel(tmp_path / "bomb.pt")


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="ResNet-50"):
        ViewModel(tmp_path / "other.pt")
