"""A latent cache of random numbers, a small model of random weights, and bundle runs in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from biomedjourney_monai.configuration import compose
from biomedjourney_monai.networks.weights.model_file import save_tensors, weights_hash
from biomedjourney_monai.training.data.latents import LatentCache, LatentRow

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "bundle" / "configs"
SMALL = {"channels": [32, 32, 32], "num_head_channels": [0, 32, 32]}
"""A denoiser that trains and samples in no time, as overrides of common.yaml's section."""


def _small_generator(**sampler: object):
    changes = {"bundle_root": str(ROOT / "bundle"), "denoiser": SMALL, "sampler": sampler}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return compose(CONFIGS / "common.yaml", changes).get_parsed_content("generator").eval()


@pytest.fixture(scope="session")
def run_bundle(warm_process):
    """Call `python -m monai.bundle run RUN_ID --config_file CONFIG ...` as a user types it, also through torchrun."""

    def run(
        run_id: str, config: str | list[str], *more: object, cwd: Path = ROOT, processes: int = 1
    ) -> subprocess.CompletedProcess:
        files = [str(CONFIGS / name) for name in ([config] if isinstance(config, str) else config)]
        listed = files[0] if len(files) == 1 else "[" + ",".join(f"'{name}'" for name in files) + "]"
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        arguments = ["run", run_id, "--config_file", listed, *map(str, more)]
        if processes == 1:
            return warm_process.run("monai.bundle", *arguments, cwd=cwd, env=environment)
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        command = [sys.executable, *torchrun, "-m", "monai.bundle", *arguments]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture(scope="session")
def small_generator():
    """Build the generator of common.yaml with a small denoiser; keyword arguments override the sampler's section."""
    return _small_generator


@pytest.fixture(scope="session")
def small_denoiser() -> list[str]:
    """The small denoiser as overrides on the command line."""
    return [part for key, value in SMALL.items() for part in (f"--denoiser#{key}", str(value).replace(" ", ""))]


@pytest.fixture(scope="session")
def shrunken_denoiser() -> dict[str, object]:
    """sd15.yaml's denoiser, small, with the shipped text tower, as overrides of the bundle's configs."""
    return {
        "denoiser#channels": [32, 32],
        "denoiser#attention_levels": [True, False],
        "denoiser#num_head_channels": [8, 8],
        "denoiser#cross_attention_dim": 16,
        "denoiser#num_res_blocks": 1,
        "denoiser#norm_num_groups": 8,
        "text_encoder_dir": str(ROOT / "bundle" / "models" / "text_tower"),
    }


@pytest.fixture(scope="session")
def small_model(tmp_path_factory) -> Path:
    """Weights of a small generator, the layers that start at zero included, so that the description has an effect."""
    path = tmp_path_factory.mktemp("models") / "model.pt"
    generator, numbers = _small_generator(), torch.Generator().manual_seed(1)
    for parameter in generator.denoiser.parameters():
        if not parameter.any():
            parameter.data.normal_(0, 0.1, generator=numbers)
    generator.save(path, info={})
    return path


@pytest.fixture(scope="session")
def picture(tmp_path_factory) -> Path:
    """A PNG of a rendered chest, of an odd size; the heart points to image right."""
    from biomedjourney_monai.phantom.findings import FindingState
    from biomedjourney_monai.phantom.patients import draw_patient
    from biomedjourney_monai.phantom.truth import render_counterfactual

    patient = draw_patient(5, 0, stream="controls")
    findings = FindingState()
    chest = render_counterfactual(patient, patient.visits[0], findings, size=190, view_position="PA").image[:, 15:175]
    path = tmp_path_factory.mktemp("pictures") / "chest.png"
    Image.fromarray(np.rint(chest * 235).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def latent_work(tmp_path_factory) -> Path:
    """A working folder with an autoencoder and the latent cache that `encode` would have made with it."""
    work = tmp_path_factory.mktemp("work")
    generator = _small_generator()
    weights = work / "runs" / "autoencoder.pt"
    save_tensors(weights, generator.autoencoder.state_dict(), info={})
    numbers = np.random.default_rng(0)
    LatentCache.write(
        work / "latents",
        mean=numbers.normal(size=(4, 24, 16, 16)).astype(np.float16),
        log_variance=np.full((4, 24, 16, 16), -8, np.float16),
        valid=np.ones((1, 16, 16), bool),
        text_states=numbers.normal(size=(3, 128, generator.text_encoder.width)).astype(np.float16),
        rows=[
            LatentRow(stage, split, new=n, prior=prior, valid=valid, text=n % 3, changed=n % 2 == 0)
            for stage, prior, valid in (("pretrain", -1, -1), ("finetune", 0, 0))
            for split, count in (("train", 4), ("validate", 2))
            for n in range(count)
        ],
        encoding={
            "autoencoder": weights_hash(weights),
            "text_encoder": generator.text_encoder.weights_hash,
            "scale_factor": 0.9,
            "dummy_prior": [0.0] * 24,
            "channel_weight": [1.0] * 24,
            "truncated_texts": 0,
            "unchanged_texts": [1, 2],
        },
    )
    return work
