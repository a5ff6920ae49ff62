"""The page on large weights: its table is what its command prints, its example is what MONAI reads."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from monai.apps.utils import HashCheckError
from monai.bundle import download_large_files

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "bundle" / "docs" / "how-to" / "large-models.md").read_text(encoding="utf-8")


def test_the_example_has_what_monai_reads_of_each_file():
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.S)
    for file in yaml.safe_load(example)["large_files"]:
        assert set(file) == {"path", "url", "hash_val", "hash_type"}
        assert not Path(file["path"]).is_absolute()


def test_monais_own_download_takes_the_example_and_its_hashes(tmp_path):
    """From files instead of the web."""
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.S)
    content = yaml.safe_load(example)
    source = tmp_path / "weights"
    source.write_bytes(b"weights")
    for file in content["large_files"]:
        file["url"] = source.as_uri()
    content["large_files"][-1]["hash_val"] = hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "large_files.yml").write_text(yaml.safe_dump(content))
    download_large_files(bundle_path=str(tmp_path / "bundle"))
    for file in content["large_files"]:
        assert (tmp_path / "bundle" / file["path"]).read_bytes() == b"weights"
    content["large_files"][-1]["hash_val"] = "0" * 64
    (tmp_path / "bundle" / "large_files.yml").write_text(yaml.safe_dump(content))
    (tmp_path / "bundle" / content["large_files"][-1]["path"]).unlink()
    with pytest.raises(HashCheckError, match="sha256"):
        download_large_files(bundle_path=str(tmp_path / "bundle"))


def test_no_file_of_the_bundle_is_large_so_that_it_needs_no_list():
    assert not list((ROOT / "bundle").glob("large_files*"))


@pytest.mark.slow
def test_the_memory_table_is_what_the_command_computes():
    command = [sys.executable, str(ROOT / "scripts" / "benchmarks" / "optimiser_step.py"), "--table"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    for line in done.stdout.splitlines():
        if line.startswith("| float32") or line.startswith("| bfloat16"):
            assert line in PAGE
    figures = json.loads(done.stdout.splitlines()[-1])["figures"]
    assert figures["float32, batch 32, GB"] > figures["float32, batch 1, GB"] > 17.2
