import pytest
import torch

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.training.inferers import AutocastInferer


def test_autocast_computes_in_bfloat16_and_leaves_the_parameters():
    network = torch.nn.Linear(4, 4)
    x = torch.randn(2, 4)
    assert AutocastInferer()(x, network).dtype == torch.bfloat16
    assert AutocastInferer(precision="float32")(x, network).dtype == torch.float32
    assert network.weight.dtype == torch.float32


def test_all_arguments_reach_the_network():
    def network(x, *positional, **named):
        return positional, named

    assert AutocastInferer()(torch.zeros(1), network, 1, a=2) == ((1,), {"a": 2})


def test_an_unknown_precision_is_refused():
    with pytest.raises(ConfigError, match="float32, bfloat16, float16; found int8"):
        AutocastInferer(precision="int8")
