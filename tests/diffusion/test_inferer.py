import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from biomedjourney_monai.diffusion.inferer import CounterfactualInferer
from biomedjourney_monai.networks.generator import Sampled


class Network:
    """Returns what it was asked for, in the place of images."""

    def generate(self, image, description=None, **more):
        return (description, {key: value for key, value in more.items() if value is not None}), Sampled(PLAIN)


network = Network()


PLAIN = torch.zeros(1, 1, 4, 4)
CARRYING = MetaTensor(PLAIN, meta={"description": "from the image"})


@pytest.mark.parametrize(
    ("own", "image", "argument", "expected"),
    [
        (None, PLAIN, None, None),  # the generator's default
        ("own", PLAIN, None, "own"),
        ("own", CARRYING, None, "from the image"),
        ("own", CARRYING, "argument", "argument"),
        (None, CARRYING, ["argument"], ["argument"]),
        ("own", MetaTensor(PLAIN, meta={"description": ""}), None, "own"),
        ("own", MetaTensor(PLAIN), None, "own"),
        (None, MetaTensor(PLAIN, meta={"description": ["a", "b"]}), None, ["a", "b"]),
    ],
)
def test_the_description_nearest_to_the_call_wins(own, image, argument, expected):
    inferer = CounterfactualInferer(own)
    assert isinstance(inferer, Inferer)
    assert inferer(image, network, argument) == (expected, {})


def test_more_arguments_reach_the_network():
    assert CounterfactualInferer("own")(PLAIN, network, seeds=[1]) == ("own", {"seeds": [1]})


@pytest.mark.parametrize("carried", [7, torch.tensor([7])])
def test_an_image_may_carry_its_seed(carried):
    image = MetaTensor(PLAIN, meta={"seed": carried})
    assert CounterfactualInferer("own")(image, network) == ("own", {"seeds": [7]})
    assert CounterfactualInferer("own")(image, network, seeds=[1]) == ("own", {"seeds": [1]})


def test_a_network_is_made_fast_once_and_only_where_told():
    class Slow(Network):
        is_fast, calls = False, 0

        def speed_up(self, **settings):
            assert settings == {"precision": "float32"}
            self.is_fast, self.calls = True, self.calls + 1

    slow, inferer = Slow(), CounterfactualInferer(speed_up={"precision": "float32"})
    inferer(PLAIN, slow)
    inferer(PLAIN, slow)
    assert (slow.is_fast, slow.calls) == (True, 1)
    untouched = Slow()
    CounterfactualInferer()(PLAIN, untouched)
    assert not untouched.is_fast
