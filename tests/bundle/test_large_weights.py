"""The page on large weights: its table is what its command prints, its example is what MONAI reads."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "bundle" / "docs" / "large_weights.md").read_text(encoding="utf-8")


def test_the_example_has_what_monai_reads_of_each_file():
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.S)
    for file in yaml.safe_load(example)["large_files"]:
        assert set(file) == {"path", "url", "hash_val", "hash_type"}
        assert not Path(file["path"]).is_absolute()


def test_no_file_of_the_bundle_is_large_so_that_it_needs_no_list():
    assert not list((ROOT / "bundle").glob("large_files*"))


@pytest.mark.slow
def test_the_memory_table_is_what_the_command_computes():
    command = [sys.executable, str(ROOT / "benchmarks" / "optimiser_step.py"), "--table"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    for line in done.stdout.splitlines():
        if line.startswith("| float32") or line.startswith("| bfloat16"):
            assert line in PAGE
    figures = json.loads(done.stdout.splitlines()[-1])["figures"]
    assert figures["float32, batch 32, GB"] > figures["float32, batch 1, GB"] > 17.2
