"""The small tower read by PyTorch alone: equal to open_clip's reading, without importing it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from biomedjourney_monai.configuration import locate_root
from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.text import folder as folders
from biomedjourney_monai.networks.text.folder import SMALL_WEIGHTS, load_text_tower

TEXTS = (
    "New large left pleural effusion.",
    "",
    "The [SEP] small &lt;b&gt; caf\u00e9 effusion",
    "x" * 150,
    "effusion " * 200,
    "\ud55c\uae00 PNEUMOTHORAX, 3/4 \u2013 \ufb01ne",
)


@pytest.fixture(scope="module")
def shipped() -> Path:
    return Path(locate_root()) / "models" / "text_tower"


def test_ids_and_states_equal_open_clips(shipped):
    own = load_text_tower(shipped)
    theirs = folders._load_clip(shipped, folders._read_text_config(shipped))
    named = ("pad_token_id", "width", "context_length", "files_hash")
    assert [getattr(own, name) for name in named] == [getattr(theirs, name) for name in named]
    for text in TEXTS:
        for length in (own.context_length, own.context_length + 1):
            assert torch.equal(own.tokenizer([text], length), theirs.tokenizer([text], length))
        ids = own.tokenizer([text], own.context_length)
        with torch.no_grad():
            states, expected = (tower.transformer.eval()(ids, (ids != 0).long()) for tower in (own, theirs))
        kept = ids != 0
        assert torch.allclose(states[kept], expected[kept], atol=1e-5)


def test_neither_open_clip_nor_transformers_is_imported(shipped):
    script = f"""
import sys
from biomedjourney_monai.networks.text.encoder import TextEncoder
TextEncoder.from_folder({str(shipped)!r}).encode(["New small left effusion."])
assert not {{"open_clip", "transformers", "torchvision"}} & set(sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_a_missing_tensor_is_refused(shipped, tmp_path):
    for file in shipped.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(shipped / SMALL_WEIGHTS)
    del weights["text.transformer.encoder.layer.0.output.dense.bias"]
    save_file(weights, tmp_path / SMALL_WEIGHTS)
    with pytest.raises(WeightsError, match=r"output\.dense\.bias"):
        load_text_tower(tmp_path)
