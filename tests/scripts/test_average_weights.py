"""The mean of model files: each weight's mean, one autoencoder, and what came in stays named."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from biomedjourney_monai.networks.weights.model_file import load_tensors, save_tensors, weights_hash

script = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "average_weights.py")))


def write(path, weight, *, encoder=1.0, name="denoiser.a"):
    tensors = {
        name: torch.full((2, 3), weight),
        "autoencoder.e": torch.tensor([encoder]),
        "denoiser.steps": torch.tensor(7),
    }
    save_tensors(path, tensors, info={"seed": int(weight)}, half=True, flat=True)
    return path


def test_the_mean_of_two_files(tmp_path):
    files = [write(tmp_path / "a.pt", 1.0), write(tmp_path / "b.pt", 4.0)]
    assert script.main([*map(str, files), "--out", str(tmp_path / "mean.pt")]) == 0
    state, info = load_tensors(tmp_path / "mean.pt")
    assert torch.equal(state["denoiser.a"], torch.full((2, 3), 2.5, dtype=torch.float16))
    assert state["denoiser.steps"] == 7 and state["autoencoder.e"] == 1
    assert info["seed"] == 4 and info["mean_of"] == [weights_hash(file) for file in files]


@pytest.mark.parametrize("other", [{"encoder": 2.0}, {"name": "denoiser.b"}])
def test_files_of_another_model_are_refused(tmp_path, capsys, other):
    files = [write(tmp_path / "a.pt", 1.0), write(tmp_path / "b.pt", 4.0, **other)]
    assert script.main([*map(str, files), "--out", str(tmp_path / "mean.pt")]) == 2
    assert "all files must" in capsys.readouterr().err and not (tmp_path / "mean.pt").exists()
