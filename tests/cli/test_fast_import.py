"""A command's own process starts light; a process of others keeps the whole of MONAI."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from biomedjourney_monai.cli.fast_import import UNUSED, import_monai_quickly

PROBE = """
import argparse, gc, sys
from biomedjourney_monai.cli.fast_import import UNUSED, import_monai_quickly
import_monai_quickly(argparse.Namespace(own_process=True))
assert "monai" in sys.modules and gc.isenabled() and gc.get_freeze_count() > 100_000
assert not [name for name in UNUSED if name in sys.modules]
assert "monai.auto3dseg" not in sys.modules
from monai.utils import jupyter_utils
assert not jupyter_utils.has_matplotlib, "MONAI has its matplotlib: this module saves nothing any more"
import ignite, matplotlib.pyplot, pandas, scipy.stats, transformers
from monai.utils.module import load_submodules, walk_packages
assert walk_packages is not None and list(walk_packages(["."])) is not None
"""


def test_a_command_imports_monai_without_what_it_does_not_use():
    run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("arguments", [{}, {"own_process": False}])
def test_another_process_is_left_alone(arguments, monkeypatch):
    monkeypatch.delitem(sys.modules, "monai", raising=False)
    before = set(sys.modules)
    import_monai_quickly(argparse.Namespace(**arguments))
    assert set(sys.modules) == before


def test_once_monai_is_there_it_stays(monkeypatch):
    import monai

    import_monai_quickly(argparse.Namespace(own_process=True))
    assert sys.modules["monai"] is monai
    assert all(sys.modules.get(name, monai) is not None for name in UNUSED)
