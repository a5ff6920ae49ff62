"""MONAI Label in an environment of its own, and its server on this machine.

The environment holds MONAI Label and what only it needs; everything else comes from the project's own environment. It
is kept outside the clone, named by the hash of requirements.txt beside this file, and made where it is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from biomedjourney_monai.files import written_atomically

BUNDLE = Path(__file__).parents[2] / "bundle"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
NAME = "cxr_counterfactual"
STUBS = ("pydicom_seg", "numpymaxflow")
"""Imported by MONAI Label, used for segmentations and scribbles alone, and without a release for numpy 2."""

OFFLINE = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError", "name resolution")


@dataclass
class Server:
    """A running server."""

    url: str
    bundle: Path
    log: Path
    app: Path
    temporary: Path

    def infer(self, image: str = "", *, file: tuple[str, bytes] | None = None, output: str = "image", **params):
        """POST to /infer, as a viewer does."""
        session = requests.Session()
        session.trust_env = False
        return session.post(
            f"{self.url}/infer/{NAME}",
            params={"image": image, "output": output} if output else {"image": image},
            data={"params": json.dumps({"device": "cpu", "logging": "DEBUG", **params})},
            files={"file": file} if file else None,
            timeout=300,
        )

    def said(self) -> str:
        """Everything that it wrote down."""
        logs = [self.log, *(path for path in (self.app / "logs").rglob("*") if path.is_file())]
        return "".join(path.read_text(errors="replace") for path in logs)


@pytest.fixture(scope="session")
def chest(rendered_chest) -> np.ndarray:
    """Grey levels, shape (180, 140)."""
    return np.rint(rendered_chest[:, 20:160] * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def label_environment() -> Path:
    """The folder of the environment."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "biomedjourney_monai"
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = cache / f"monai-label-{digest}"
    if folder.is_dir():
        return folder
    for old in cache.glob("monai-label-*"):
        shutil.rmtree(old, ignore_errors=True)
    with written_atomically(folder, public=True) as temporary:
        venv.create(temporary, with_pip=False, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(temporary / "bin" / "python"), "install", "--quiet"]
        done = subprocess.run([*pip, "--no-deps", "-r", str(REQUIREMENTS)], capture_output=True, text=True, timeout=500)
        if done.returncode and any(word in done.stderr for word in OFFLINE):
            pytest.skip("MONAI Label is not installed, and no package index can be reached")
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def server(label_environment, chest, tmp_path_factory) -> Iterator[Server]:
    """The bundle, with fewer steps, in the sample app `monaibundle`, served at 127.0.0.1."""
    folder = tmp_path_factory.mktemp("server")
    app = folder / "apps" / "monaibundle"
    shutil.copytree(label_environment / "monailabel" / "sample-apps" / "monaibundle", app)
    bundle = app / "model" / NAME
    shutil.copytree(BUNDLE, bundle)
    common = bundle / "configs" / "common.yaml"
    assert "  steps: 5\n" in common.read_text()
    common.write_text(common.read_text().replace("  steps: 5\n", "  steps: 2\n"))
    for name in ("studies", "stubs", "temporary", "home"):
        (folder / name).mkdir()
    Image.fromarray(chest).save(folder / "studies" / "case1.png")
    for name in STUBS:
        (folder / "stubs" / f"{name}.py").touch()
    packages = sysconfig.get_paths()["purelib"]
    (folder / "stubs" / "sitecustomize.py").write_text(f"import site\nsite.addsitedir({packages!r})\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(label_environment / "bin" / "python"), "-m", "monailabel.main", "start_server"]
    command += ["--app", str(app), "--studies", str(folder / "studies"), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--conf", "models", NAME, "--conf", "skip_trainers", "true", "--conf", "sam2", "false"]
    command += ["--log_config", str(bundle / "configs" / "monai_label_logging.json")]
    environment = {**os.environ, "BUNDLE_DOWNLOAD_SRC": "local", "PYTHONPATH": f"{folder / 'stubs'}:{BUNDLE.parent}"}
    environment |= {"TMPDIR": str(folder / "temporary"), "HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    log = folder / "server.log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream, cwd=folder)
    running = Server(f"http://127.0.0.1:{port}", bundle, log, app, folder / "temporary")
    try:
        _wait(running, process)
        yield running
    finally:
        process.terminate()
        process.wait(60)


def _wait(server: Server, process: subprocess.Popen) -> None:
    """Until it answers."""
    session = requests.Session()
    session.trust_env = False
    for _ in range(480):
        try:
            session.get(f"{server.url}/info/", timeout=30).raise_for_status()
            return
        except requests.exceptions.RequestException:
            assert process.poll() is None, server.log.read_text()[-3000:]
            time.sleep(1)
    raise AssertionError(f"the server does not answer: {server.log.read_text()[-3000:]}")
