"""concepts/phantom.md: its commands run, at toy size, and its rates are those of the code."""

import re
import runpy
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.phantom.faults import FAULT_RATES

pages = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("pages.py"))))
PAGE = pages.DOCS / "concepts" / "phantom.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = pages.verbs(PAGE)
TOY = {"--patients": "4", "--images": "60", "--size": "64"}


def at_toy_size(arguments: list[str]) -> list[str]:
    """Shrink what the command asks for, and let it run in one process."""
    shrunk = [TOY.get(before, word) for before, word in zip(["", *arguments], arguments)]
    return [*shrunk, *(() if "--size" in shrunk else ("--size", "64")), "--processes", "1"]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_commands_run(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(at_toy_size(arguments)) == 0
    named = [word for before, word in pairwise(arguments) if before in ("--out", "--sheet")]
    assert named and all((tmp_path / name).exists() for name in named)


def test_there_are_commands_for_every_form():
    said = " ".join(word for arguments in COMMANDS for word in arguments)
    assert all(option in said for option in ("--truth", "--format dicom", "--sheet", "--tables-only"))


def test_python_runs():
    names = {}
    for block in pages.blocks(PAGE, "python"):
        exec(block.replace("256", "64").replace("128", "64"), names)
    assert names["truth"].image.shape == (64, 64) and names["radiograph"].masks.shape == (6, 64, 64)


def test_the_table_of_faults_holds_the_rates_in_force():
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) % \|", TEXT, re.MULTILINE)
    assert {name: float(percent) for name, percent in rows} == pytest.approx(
        {name: 100 * rate for name, rate in FAULT_RATES.items()}
    )


def test_the_picture_is_there_and_small():
    name = re.search(r"!\[.*?\]\((.*?)\)", TEXT).group(1)
    assert (PAGE.parent / name).stat().st_size < 400_000
    assert cv2.imread(str(PAGE.parent / name)) is not None
