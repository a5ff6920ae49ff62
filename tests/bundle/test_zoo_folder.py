"""`make zoo`: a folder that works in an environment without this package."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from biomedjourney_monai.errors import ConfigError

ROOT = Path(__file__).parents[2]

LOAD = """
import importlib.metadata, sys, torch, yaml
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder)]
from monai.bundle import load
import biomedjourney_monai
folder = sys.argv[1]
assert biomedjourney_monai.__file__.startswith(folder), biomedjourney_monai.__file__
from biomedjourney_monai.configuration import compose, locate_root
assert locate_root() == folder
def fresh():
    return compose(folder + "/configs/common.yaml", {"bundle_root": folder}).get_parsed_content("generator")
parent, name = folder.rsplit("/", 1)
trained, expected = load(name, model=fresh(), bundle_dir=parent, device="cpu"), fresh()
expected.load(folder + "/models/model.pt")
same = [torch.equal(value, expected.state_dict()[key]) for key, value in trained.state_dict().items()]
random = fresh().state_dict()
changed = sum(not torch.equal(value, random[key]) for key, value in trained.state_dict().items())
assert all(same) and changed > 200, (sum(same), len(same), changed)
whole = load(name, bundle_dir=parent, workflow_type="inference", device="cpu")
image = torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
assert (whole(image) - trained.eval()(image)).abs().mean() < 1e-3
print("loaded", changed)
"""


@pytest.fixture(scope="module")
def make_zoo():
    spec = importlib.util.spec_from_file_location("make_zoo", ROOT / "scripts" / "make_zoo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(make_zoo, tmp_path_factory):
    path = tmp_path_factory.mktemp("zoo") / "biomedjourney"
    make_zoo.make_zoo(path, url="https://example.org/files")
    return path


def run(folder, *command):
    """Run Python where nothing but the folder is on the path."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder.parent, env=environment, capture_output=True, text=True
    )


def test_the_folder_is_self_contained(folder):
    for name in ("LICENSE", "docs/README.md", "models/model.pt", "biomedjourney_monai/py.typed"):
        assert (folder / name).is_file()
    assert json.loads((folder / "configs" / "inference.json").read_text()) == yaml.safe_load(
        (folder / "configs" / "inference.yaml").read_text()
    )
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    assert "biomedjourney_monai" not in metadata["required_packages_version"]
    assert not list(folder.rglob("__pycache__"))


def test_files_over_the_zoos_limit_are_listed_and_need_an_address(make_zoo, folder, tmp_path, monkeypatch):
    large = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 25e6]
    assert (folder / "large_files.yml").exists() == bool(large)
    monkeypatch.setattr(make_zoo, "LARGEST", 5_000_000)
    with pytest.raises(ConfigError, match=r"--url; found .*models/model\.pt"):
        make_zoo.make_zoo(tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()
    names = make_zoo.make_zoo(tmp_path / "zoo", url="https://example.org/files")
    entries = yaml.safe_load((tmp_path / "zoo" / "large_files.yml").read_text())["large_files"]
    assert [entry["path"] for entry in entries] == names
    assert entries[names.index("models/model.pt")]["url"] == "https://example.org/files/models/model.pt"
    with pytest.raises(ConfigError, match="must be new"):
        make_zoo.make_zoo(tmp_path / "zoo")


@pytest.mark.slow
def test_monais_load_gives_the_trained_weights_without_this_package(folder):
    done = run(folder, "-c", LOAD, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].startswith("loaded ")  # after lines of MONAI


@pytest.mark.slow
def test_monais_own_check_of_the_network_takes_the_folder_without_this_package(folder):
    files = [
        "--meta_file",
        folder / "configs" / "metadata.json",
        "--config_file",
        folder / "configs" / "inference.json",
    ]
    done = run(folder, "-m", "monai.bundle", "verify_net_in_out", "network_def", *files, "--device", "cpu")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "verified" in done.stdout + done.stderr
