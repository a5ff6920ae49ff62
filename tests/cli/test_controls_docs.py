"""The commands of bundle/docs/controls.md run, with fewer steps."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biomedjourney_monai.cli.main import main

PAGE = Path(__file__).parents[2] / "bundle" / "docs" / "controls.md"
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
COMMANDS = [shlex.split(line)[1:] for line in "".join(BLOCKS).splitlines() if " tune " not in line]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_commands_run(arguments, tmp_path, monkeypatch, rendered_chest, bundle, random_model):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.rint(rendered_chest * 255).astype(np.uint8)).save("chest.jpg")
    Path("requests.csv").write_text("prior,description,out\nchest.jpg,New edema.,out.png\n")
    more = ["--bundle", str(bundle), "--model", str(random_model), "--steps", "2"]
    assert main([*("2" if word == "6" else word for word in arguments), *more]) == 0
    assert list(tmp_path.rglob("*.png"))
