import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from biomedjourney_monai.diffusion.inferer import CounterfactualInferer


def network(image, description=None, **more):
    return description, more


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
