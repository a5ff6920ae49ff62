import pickle

import pytest
import torch
from torch.nn.functional import interpolate

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.evaluation.judges.feature_bank import INCEPTION_FILE, InceptionFeatures


@pytest.mark.slow
def test_features_are_what_torchvisions_network_pools(tmp_path):
    from torchvision.models import inception_v3
    from torchvision.transforms.functional import normalize

    torch.manual_seed(0)
    network = inception_v3(weights=None, aux_logits=True, init_weights=False).eval()
    torch.save(network.state_dict(), tmp_path / INCEPTION_FILE)
    images = torch.rand((2, 1, 64, 64))
    pooled = []
    network.avgpool.register_forward_hook(lambda *call: pooled.append(call[-1].flatten(1)))
    colour = interpolate(images, size=(299, 299), mode="bilinear", antialias=True).repeat(1, 3, 1, 1)
    with torch.inference_mode():
        network(normalize(colour, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    found = InceptionFeatures(tmp_path / INCEPTION_FILE)(images)
    assert found.shape == (2, 2048)
    torch.testing.assert_close(found, pooled[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("content", [None, b"junk", pickle.dumps(print), "empty"])
def test_an_unusable_file_is_named(tmp_path, content):
    path = tmp_path / INCEPTION_FILE
    if content == "empty":
        torch.save({}, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match="nothing is downloaded"):
        InceptionFeatures(path)
