"""MONAI's `ConfigWorkflow` from Python, in a folder of the user's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from biomedjourney_monai.networks.weights.model_file import load_tensors

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "bundle" / "configs"

RUN = """
import sys
from monai.bundle import ConfigWorkflow
work, *files = sys.argv[1:]
few = {"denoiser#channels": [32, 32, 32], "denoiser#num_head_channels": [0, 32, 32], "max_epochs": 1, "epoch_length": 1}
quiet = {"batch_size": 2, "preview_iterations": 0, "score_epochs": 0, "register_as": None, "seed": 3}
workflow = ConfigWorkflow(config_file=files, workflow_type="train", dataset_dir=work, **few, **quiet)
workflow.run()
"""

INFERENCE = """
import sys
from monai.bundle import ConfigWorkflow
file, prior, first = sys.argv[1:]
steps = {"sampler#steps": 1, "description": "New large left pleural effusion."}
workflow = ConfigWorkflow(file, workflow_type="inference", prior=prior, output_dir=first, **steps)
if first == "initialized":
    workflow.initialize()
workflow.run()
"""


def run(tmp_path, *arguments, script=RUN):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_both_stages_run_from_python_in_any_folder(tmp_path, latent_work):
    done = run(tmp_path, latent_work, CONFIGS / "train.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    infos = [load_tensors(latent_work / "runs" / stage / "model.pt")[1] for stage in ("pretrain", "finetune")]
    assert [info["seed"] for info in infos] == [3, 3]
    assert [info["max_epochs"] for info in infos] == [1, 1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("files", [["train.yaml"], ["train.yaml", "finetune.yaml"]])
def test_the_short_error_comes_last(tmp_path, files):
    done = run(tmp_path, tmp_path / "nowhere", *(CONFIGS / name for name in files))
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and "biomedjourney encode" in last


@pytest.mark.slow
def test_inference_loads_the_weights_with_and_without_initialize(tmp_path, picture):
    file = CONFIGS / "inference.yaml"
    for first in ("initialized", "at once"):
        done = run(tmp_path, file, picture, first, script=INFERENCE)
        assert done.returncode == 0, done.stderr[-3000:]
    one, other = (tmp_path / first / "counterfactual-0000.png" for first in ("initialized", "at once"))
    assert one.read_bytes() == other.read_bytes()
    done = run(tmp_path, file, tmp_path / "nowhere.png", "at once", script=INFERENCE)
    assert done.returncode == 1 and done.stderr.strip().splitlines()[-1].startswith("error: an image file must exist")
