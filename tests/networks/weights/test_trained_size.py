import json

import pytest
import torch

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.weights.model_file import load_info, save_tensors
from biomedjourney_monai.networks.weights.trained_size import trained_size


@pytest.fixture
def bundle(tmp_path):
    """A bundle's folder whose metadata say 256, with weights of its own that say nothing."""
    for name in ("configs", "models"):
        (tmp_path / name).mkdir()
    shape = {"network_data_format": {"inputs": {"image": {"spatial_shape": [256, 256]}}}}
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(shape))
    write(tmp_path / "models" / "model.pt")
    return tmp_path


def write(path, **info):
    save_tensors(path, {"weight": torch.zeros(3)}, info=info)
    return path


def test_weights_say_their_size_themselves_also_the_bundles_own(bundle, tmp_path):
    assert trained_size(bundle, write(tmp_path / "other.pt", image_size=512)) == 512
    assert trained_size(bundle, write(bundle / "models" / "model.pt", image_size=128)) == 128


def test_the_metadata_speak_of_the_bundles_own_weights_alone(bundle, tmp_path):
    assert trained_size(bundle, bundle / "models" / "model.pt") == 256
    assert trained_size(bundle, write(tmp_path / "older.pt")) is None
    assert trained_size(bundle, tmp_path / "missing.pt") is None


@pytest.mark.parametrize("size", ["128", 0, -1, None, [128]])
def test_a_size_that_is_none_is_not_believed(bundle, tmp_path, size):
    assert trained_size(bundle, write(tmp_path / "other.pt", image_size=size)) is None


def test_the_facts_of_any_weights_file_are_read(tmp_path):
    assert load_info(write(tmp_path / "ours.pt", stage="finetune")) == {"stage": "finetune"}
    torch.save({"weight": torch.zeros(3)}, tmp_path / "bare.pt")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert load_info(tmp_path / "bare.pt") == load_info(tmp_path / "old.pt") == {}
    (tmp_path / "cut.pt").write_bytes((tmp_path / "ours.pt").read_bytes()[:200])
    with pytest.raises(WeightsError, match="complete weights file"):
        load_info(tmp_path / "cut.pt")
