import pytest

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.model_config import ModelConfig


def test_weights_are_the_bundles_model_unless_a_file_is_named(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ModelConfig.find(bundle).weights == bundle / "models" / "model.pt"
    assert ModelConfig.find(bundle, "runs/model.pt").weights.as_posix() == "runs/model.pt"
    assert ModelConfig.find(bundle, "absent.pt").weights.as_posix() == "absent.pt"


def test_student_is_the_file_here_or_else_the_bundles(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ModelConfig.find(bundle, "student.pt").weights == bundle / "models" / "student.pt"
    assert ModelConfig.find(bundle, "models/student.pt").weights.as_posix() == "models/student.pt"
    (tmp_path / "student.pt").touch()
    assert ModelConfig.find(bundle, "student.pt").weights.as_posix() == "student.pt"


def test_a_folder_without_configs_is_no_bundle(tmp_path):
    with pytest.raises(ConfigError, match="must be a bundle folder"):
        ModelConfig.find(tmp_path)
