"""The commands of how-to/sample.md run, with fewer steps."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from biomedjourney_monai.cli.main import main

pages = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("pages.py"))))
COMMANDS = [words for words in pages.verbs(pages.DOCS / "how-to" / "sample.md") if words[0] != "tune"]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_commands_run(arguments, tmp_path, monkeypatch, rendered_chest, bundle, random_model):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.rint(rendered_chest * 255).astype(np.uint8)).save("chest.jpg")
    Path("requests.csv").write_text("prior,description,out\nchest.jpg,New edema.,out.png\n")
    more = ["--bundle", str(bundle), "--model", str(random_model), "--steps", "2"]
    assert main([*("2" if word == "6" else word for word in arguments), *more]) == 0
    assert list(tmp_path.rglob("*.png"))
