"""The commands of README.md and get-started/pipeline.md run as they are printed; only sizes are reduced."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import render_visit

pages = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("pages.py"))))
PIPELINE = pages.DOCS / "get-started" / "pipeline.md"
FEW = {
    "train_autoencoder.yaml": ["--max_epochs", "1", "--epoch_length", "1", "--batch_size", "4"],
    "train.yaml": "--pretrain_epochs 1 --finetune_epochs 1 --epoch_length 1 --batch_size 2".split(),
}


@pytest.fixture
def chest(tmp_path, monkeypatch):
    """A folder with the `chest.jpg` of the examples in it, as the current folder."""
    monkeypatch.chdir(tmp_path)
    patient = draw_patient(5, 0, stream="controls")
    image = render_visit(patient, patient.visits[0], size=300, view_position="PA").image[:, 20:280]
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save("chest.jpg")
    return tmp_path


@pytest.mark.parametrize("page", [pages.ROOT / "README.md", pages.DOCS / "README.md"], ids=pages.name)
def test_sample_runs_as_the_page_prints_it(chest, page):
    (line,) = [arguments for arguments in pages.verbs(page) if arguments[0] == "sample"]
    assert main(line) == 0
    with Image.open("counterfactual.png") as picture:
        assert picture.size == (260, 300)
        assert "SYNTHETIC" in picture.info["Comment"]


def test_the_pipeline_has_a_row_for_each_of_its_commands():
    verbs = {arguments[0] for arguments in pages.verbs(PIPELINE)}
    named = {row[0].split()[1] for row in pages.rows(PIPELINE) if row[0].startswith("biomedjourney")}
    assert verbs == named - {"train", "tune", "ablation"}


@pytest.mark.slow
def test_the_pipeline_and_the_bundle_run_as_the_page_prints_them(chest):
    for arguments in pages.verbs(PIPELINE):
        few = {"sample": ["--steps", "2"], "evaluate": ["--bootstrap", "20"]}.get(arguments[0], [])
        assert main([*arguments, *few]) == 0, arguments
    assert (chest / "work" / "report" / "index.html").is_file()
    (chest / "bundle").symlink_to(pages.ROOT / "bundle")
    runs = pages.bundle_runs(PIPELINE)
    assert len(runs) == 4
    for arguments in runs:
        config = Path(arguments[arguments.index("--config_file") + 1]).name
        if config == "train.yaml":
            assert main(["encode", "--work", "work"]) == 0  # there is a new autoencoder
        run = subprocess.run(
            [sys.executable, "-m", "monai.bundle", *arguments, *FEW.get(config, [])],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr[-2000:]
    assert (chest / "work" / "runs" / "finetune" / "model.pt").is_file()
    assert list((chest / "out").glob("*.png"))
