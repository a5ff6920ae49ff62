"""The wheel, built from the source distribution, works from any folder in an environment without the checkout."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biomedjourney_monai import __version__
from biomedjourney_monai.errors import EXTRAS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = "LICENSE MANIFEST.in README.md biomedjourney_monai bundle pyproject.toml setup.py".split()
NO_BYTECODE = shutil.ignore_patterns("__pycache__")


def run(*command: object, cwd: Path, status: int = 0) -> str:
    """Run a program without PYTHONPATH; return what it printed, or its errors if it is expected to fail."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel that the source distribution of a clean copy builds."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=NO_BYTECODE)
        else:
            shutil.copy2(ROOT / name, source / name)
    (source / "bundle" / "eval").mkdir()
    (source / "bundle" / "eval" / "patient.png").touch()  # what a run may have written there
    run(
        sys.executable, "-c", f"from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})", cwd=source
    )
    shutil.rmtree(source)
    [sdist] = folder.glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel"]
    run(*pip, "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, sdist, cwd=folder)
    [built] = folder.glob("*.whl")
    return built


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and an empty folder to work in."""

    bin: Path
    packages: Path
    work: Path

    def run(self, program: str, *arguments: object, status: int = 0) -> str:
        return run(self.bin / program, *arguments, cwd=self.work, status=status)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Installed:
    """The wheel installed with what the core installation has, but without the checkout.

    A .pth file adds the packages of the running environment; the .pth files among them, by which an editable install is
    found, are not read. Another one makes the packages of the extras fail to import, as if they were not installed.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", folder / "bin" / "python"]
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (packages / "core.pth").write_text(f"import sys; sys.modules.update(dict.fromkeys({list(EXTRAS)}))\n")
    work = folder / "work"
    work.mkdir()
    return Installed(folder / "bin", packages, work)


def test_every_file_of_the_package_and_of_the_bundle_is_in_the_wheel(wheel):
    def files(folder):
        paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return {path.as_posix() for path in paths if "__pycache__" not in path.parts and path.parts[0] != "eval"}

    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"biomedjourney_monai/{name}" for name in files(ROOT / "biomedjourney_monai")}
    wanted |= {f"biomedjourney_monai/_bundle/{name}" for name in files(ROOT / "bundle")}
    assert {name for name in packed if ".dist-info/" not in name} == wanted


def test_the_wheel_names_its_version_and_keeps_the_extras_out_of_the_core(wheel):
    with zipfile.ZipFile(wheel) as opened:
        name = next(name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(opened.read(name))
    assert metadata["Version"] == __version__
    assert set(metadata.get_all("Provides-Extra")) == {*EXTRAS.values(), "all", "dev"}
    distributions = importlib.metadata.packages_distributions()
    optional = {name.lower() for package in EXTRAS for name in distributions[package]}
    lines = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    core = {re.split(r"[\s\[<>=!~;]", line)[0].lower() for line in lines}
    assert {"torch", "monai"} <= core
    assert core & (optional | {"itk-elastix"}) == set()


def test_the_checkout_cannot_be_imported_there(installed):
    script = "import sys, biomedjourney_monai; print(biomedjourney_monai.__file__, sys.path, sys.meta_path)"
    file, paths = installed.run("python", "-c", script).split(" ", 1)
    assert Path(file) == installed.packages / "biomedjourney_monai" / "__init__.py"
    assert str(ROOT) not in paths
    assert "editable" not in paths.lower()


def test_a_counterfactual_is_made_from_another_folder(installed, rendered_chest):
    Image.fromarray(np.rint(rendered_chest * 255).astype(np.uint8)).save(installed.work / "chest.png")
    words = ["--description", "New large left pleural effusion.", "--out", "counterfactual.png"]
    assert "wrote counterfactual.png" in installed.run("biomedjourney", "sample", "--prior", "chest.png", *words)
    with Image.open(installed.work / "counterfactual.png") as made:
        assert made.size == (180, 180)
        assert np.std(np.asarray(made.convert("L"), np.float32) / 255 - rendered_chest) > 0.02


def test_the_core_makes_a_ladder_with_judges_and_dicom(installed, rendered_chest):
    Image.fromarray(np.rint(rendered_chest * 255).astype(np.uint8)).save(installed.work / "chest.png")
    words = ["--finding", "left pleural effusion", "--steps", "1", "--out", "ladder", "--dicom"]
    assert "wrote" in installed.run("biomedjourney", "ladder", "--prior", "chest.png", *words)
    assert len(list((installed.work / "ladder" / "dicom").iterdir())) == 3


def test_the_demo_names_the_extra_that_it_needs(installed):
    shown = installed.run("biomedjourney", "demo", status=2)
    assert 'pip install "biomedjourney_monai[train]"' in shown
    assert not (installed.work / "demo").exists()


def test_monai_runs_the_installed_bundle_from_another_folder(installed, rendered_chest):
    bundle = installed.run("biomedjourney", "bundle-path").strip()
    assert Path(bundle) == installed.packages / "biomedjourney_monai" / "_bundle"
    Image.fromarray(np.rint(rendered_chest * 255).astype(np.uint8)).save(installed.work / "chest.png")
    config = ["--config_file", f"{bundle}/configs/inference.yaml", "--bundle_root", bundle]
    request = ["--prior", "chest.png", "--description", "New mild cardiomegaly.", "--output_dir", "out"]
    installed.run("python", "-m", "monai.bundle", "run", "inference", *config, *request)
    assert [path.suffix for path in (installed.work / "out").iterdir() if path.suffix == ".png"] == [".png"]
