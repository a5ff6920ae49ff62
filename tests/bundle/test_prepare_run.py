"""The preparation config gives the bytes of `biomedjourney register`."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from monai.bundle import ConfigWorkflow
from PIL import Image, ImageOps

from biomedjourney_monai.cli.main import main

BUNDLE = Path(__file__).parents[2] / "bundle"
CONFIG = BUNDLE / "configs" / "prepare.yaml"
RECORDS = ("register_studies.jsonl", "register_pairs.jsonl")
"""Their keys name who did the work."""


@pytest.fixture
def work(small_mimic, tmp_path):
    main(["cohort", "--source", str(small_mimic), "--work", str(tmp_path / "one"), "--processes", "1"])
    main(["journeys", "--work", str(tmp_path / "one")])
    return tmp_path / "one"


def prepare(work: Path, **overrides) -> None:
    overrides = {"bundle_root": str(BUNDLE), "dataset_dir": str(work), "image_size": 64, "processes": 1} | overrides
    workflow = ConfigWorkflow(
        config_file=str(CONFIG), workflow_type="train", run_id="prepare", logging_file=False, **overrides
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def contents_of(work: Path) -> dict[str, bytes]:
    files = {str(path.relative_to(work)): path.read_bytes() for path in sorted(work.rglob("*")) if path.is_file()}
    return {name: content for name, content in files.items() if name not in RECORDS}


@pytest.mark.parametrize(
    ("overrides", "options"),
    [
        ({"report": True}, ["--report"]),
        ({"transform": "affine", "check_mirrored": True}, ["--transform", "affine", "--check-mirrored"]),
        (
            {"transform": "deformable", "accept_erased_disease": True, "min_score": 0.1},
            ["--transform", "deformable", "--accept-erased-disease", "--min-score", "0.1"],
        ),
    ],
    ids=["default", "affine", "deformable"],
)
def test_the_same_bytes_as_the_command_line(work, tmp_path, overrides, options):
    other = Path(shutil.copytree(work, tmp_path / "two"))
    prepare(work, **overrides)
    assert main(["register", "--work", str(other), "--size", "64", "--processes", "1", *options]) == 0
    assert contents_of(work) == contents_of(other) and len(contents_of(work)) > 15


def test_the_view_check_can_be_switched_on(work):
    path = pd.read_parquet(work / "studies.parquet")["image_path"][0]
    with Image.open(path) as picture:
        inverted = ImageOps.invert(picture)
    inverted.save(path)
    prepare(work)
    assert not pd.read_parquet(work / "pairs.parquet")["drop_reason"].str.startswith("view check: ").any()
    prepare(work, check_views=True)
    assert pd.read_parquet(work / "pairs.parquet")["drop_reason"].str.startswith("view check: ").any()


@pytest.mark.slow
def test_it_runs_as_a_bundle_and_another_process_finds_everything_done(work, run_bundle):
    done = run_bundle("prepare", "prepare.yaml", "--dataset_dir", work, "--image_size", 64, "--processes", 1)
    assert done.returncode == 0, done.stderr[-2000:]
    first = {path: path.stat().st_mtime_ns for path in (work / "images").iterdir()}
    prepare(work)
    assert {path: path.stat().st_mtime_ns for path in (work / "images").iterdir()} == first
