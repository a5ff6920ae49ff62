import pytest
import torch
import torchvision
from torch import nn

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.training.perceptual import FeatureDistance, ResNet50Distance, perceptual_distance


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3))


def images(seed, count=2):
    return torch.rand(count, 1, 12, 12, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_distance_by_hand():
    network = small_network()
    distance = FeatureDistance(network, layers=["1", "2"])(images(0), images(1))
    network.eval()
    expected = 0.0
    one, other = images(0), images(1)
    for layer in network:
        one, other = layer(one), layer(other)
        if layer is not network[0]:
            difference = one / one.norm(dim=1, keepdim=True) - other / other.norm(dim=1, keepdim=True)
            expected += difference.square().sum(1).mean().item()
    assert distance.item() == pytest.approx(expected, rel=1e-5)


def test_equal_images_have_no_distance_and_the_gradient_reaches_the_image_alone():
    network = small_network()
    distance = FeatureDistance(network, layers=["2"])
    assert distance(images(0), images(0)).item() == 0
    image = images(0).requires_grad_()
    distance(image, images(1)).backward()
    assert image.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_network_stays_frozen_whatever_the_loss_around_it_does():
    network = small_network()
    distance = FeatureDistance(network, layers=["1"])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    nn.Sequential(distance).train()
    distance(images(0), images(1))
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("layers", [[], ["1", "nowhere"]])
def test_unknown_layers_are_refused(layers):
    with pytest.raises(ValueError, match="layers must name submodules of Sequential"):
        FeatureDistance(small_network(), layers=layers)


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("resnet") / "resnet50.pt"
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), path)
    return path


def test_a_resnet_comes_from_a_local_file(resnet_file):
    distance = ResNet50Distance(resnet_file)
    bright, dark = torch.ones(1, 1, 64, 64) * 0.8, torch.rand(1, 1, 64, 64) - 1
    assert distance(bright, bright).item() == 0
    assert distance(bright, dark).item() > 0


def test_a_missing_or_foreign_file_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="must exist"):
        ResNet50Distance(tmp_path / "absent.pt")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="torchvision's ResNet-50"):
        ResNet50Distance(tmp_path / "other.pt")


def test_the_config_chooses(resnet_file):
    choose = {"network": small_network(), "layers": ["0"]}
    assert perceptual_distance(weight=0, weights_file=resnet_file, **choose) is None
    assert isinstance(perceptual_distance(weight=1, weights_file=None, **choose), FeatureDistance)
    assert isinstance(perceptual_distance(weight=1, weights_file=resnet_file, **choose), ResNet50Distance)
