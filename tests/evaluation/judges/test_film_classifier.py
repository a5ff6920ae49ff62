import pytest
import torch
from timm import create_model

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.evaluation.judges.film_classifier import SEEN_SIZE, FilmClassifier, load_imagenet


@pytest.fixture
def imagenet(tmp_path):
    """A network of three colours with random weights, and its file, named as the published one names its tensors."""
    torch.manual_seed(0)
    network = create_model("tf_efficientnet_lite0", num_classes=0).eval()
    tensors = {f"_layer{place}": tensor for place, tensor in enumerate(network.state_dict().values())}
    torch.save(tensors | {"_fc.weight": torch.zeros(1000, 1280)}, tmp_path / "lite0.pth")
    return network, tmp_path / "lite0.pth"


def test_grey_images_are_seen_as_the_published_network_sees_them(imagenet):
    colours, file = imagenet
    network = FilmClassifier().eval()
    load_imagenet(network, file)
    images = torch.rand(2, 1, SEEN_SIZE, SEEN_SIZE) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(
            network.backbone(images), colours(images.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-4
        )


def test_images_of_any_size_are_enlarged(imagenet):
    network = FilmClassifier().eval()
    small = torch.rand(1, 1, 128, 128)
    enlarged = torch.nn.functional.interpolate(small, size=(SEEN_SIZE, SEEN_SIZE), mode="bilinear", antialias=True)
    with torch.inference_mode():
        torch.testing.assert_close(network.features(small), network.features(enlarged))
        assert network.features(small).shape == (1, 256)


@pytest.mark.parametrize("content", ["missing", "bytes", "another network"])
def test_a_file_of_something_else_is_refused(content, tmp_path):
    file = tmp_path / "weights.pth"
    if content == "bytes":
        file.write_bytes(b"not tensors")
    elif content == "another network":
        torch.save({"weight": torch.zeros(3, 3)}, file)
    with pytest.raises(WeightsError, match="EfficientNet-Lite0"):
        load_imagenet(FilmClassifier(), file)
