"""Which folder may import which, and that asking for help loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import biomedjourney_monai

PACKAGE = Path(biomedjourney_monai.__file__).parent
SHARED = {"schema", "errors", "files", "memory", "__version__"}
ALLOWED = {
    "schema": set(),
    "errors": set(),
    "files": {"errors"},
    "memory": set(),
    "configuration": {"errors"},
    "phantom": SHARED,
    "radiographs": SHARED,
    "networks": SHARED,
    "preparation": SHARED | {"radiographs"},
    "evaluation": SHARED | {"radiographs"},
    "clinic": SHARED | {"radiographs"},
    "diffusion": SHARED | {"networks"},
    "training": SHARED | {"networks", "configuration"},
    "cli": None,  # puts the stages together
}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)
MODULES += [Path(f"{name}.py") for name in ("schema", "errors", "files", "memory", "configuration")]
HEAVY = ("torch", "itk", "SimpleITK", "mlflow", "torchxrayvision", "open_clip", "transformers", "monai", "matplotlib")
HEAVY += ("numpy", "pandas", "dask", "cv2")

TOOLKITS = ("itk", "SimpleITK", "mlflow", "torchxrayvision", "open_clip", "transformers", "monai.bundle", "matplotlib")
ABOUT = {
    "preparation/simpleitk.py": {"SimpleITK"},
    "preparation/elastix.py": {"itk", "SimpleITK"},
    "training/served_model.py": {"mlflow"},
    "training/tracking.py": {"mlflow"},
}
"""Modules that are about nothing but their toolkit."""


def rooms_imported_by(source: str) -> set[str]:
    """The first names below the package that a module imports, also inside functions."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("biomedjourney_monai.")}
    return rooms


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_imports_only_from_rooms_it_may(module):
    room = module.parts[0].removesuffix(".py")
    assert room in ALLOWED, f"say here what {room} may import"
    if ALLOWED[room] is not None:
        imported = rooms_imported_by((PACKAGE / module).read_text(encoding="utf-8"))
        assert imported <= ALLOWED[room] | {room}


def test_the_rule_sees_imports_inside_functions():
    source = (
        "def f():\n    from biomedjourney_monai.cli import main\n    import biomedjourney_monai.phantom.render as r\n"
    )
    assert rooms_imported_by(source) == {"cli", "phantom"}
    assert rooms_imported_by("from biomedjourney_monai import __version__, schema") == {"__version__", "schema"}


def loaded_after(statement: str) -> set[str]:
    script = f"import sys\n{statement}\nprint(*sorted(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("\n")[-2].split())


def test_the_command_line_imports_nothing_heavy():
    verbs = "; ".join(
        f"from biomedjourney_monai.cli import {path.stem}"
        for path in sorted((PACKAGE / "cli").glob("*.py"))
        if path.stem != "__init__"
    )
    assert loaded_after(verbs) == set()


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_imports_no_toolkit_before_it_is_used(module):
    at_top = set()
    for node in ast.parse((PACKAGE / module).read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        at_top |= {toolkit for toolkit in TOOLKITS for name in names if f"{name}.".startswith(f"{toolkit}.")}
    assert at_top <= ABOUT.get(module.as_posix(), set())


def test_help_works_as_a_command():
    command = [str(Path(sys.executable).parent / "biomedjourney"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "verbs:" in done.stdout
