"""Which folder may import which, what a folder and a module may hold, and that asking for help loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import biomedjourney_monai

PACKAGE = Path(biomedjourney_monai.__file__).parent
LAYERS = (
    ("schema", "errors", "memory"),
    ("files", "output_check"),
    ("tracking_store",),
    ("configuration",),
    ("model_config",),
    ("phantom", "radiographs", "networks"),
    ("preparation", "diffusion"),
    ("generation",),
    ("evaluation",),
    ("training",),
    ("clinic",),
    ("cli",),
)
"""A module imports from its own folder and from the layers above its own in this list, which are lower in the house."""

RANK = {name: number for number, layer in enumerate(LAYERS) for name in layer}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
INSIDE = [module for module in MODULES if module.as_posix() not in ("__init__.py", "__main__.py")]
HEAVY = ("torch", "itk", "SimpleITK", "mlflow", "torchxrayvision", "open_clip", "transformers", "monai", "matplotlib")
HEAVY += ("numpy", "pandas", "dask", "cv2")

TOOLKITS = ("itk", "SimpleITK", "mlflow", "torchxrayvision", "open_clip", "transformers", "monai.bundle", "matplotlib")
ABOUT = {
    "preparation/registration/simpleitk.py": {"SimpleITK"},
    "preparation/registration/elastix.py": {"itk", "SimpleITK"},
    "preparation/registration/sitk_transform.py": {"SimpleITK"},
    "training/handlers/served_model.py": {"mlflow"},
    "training/handlers/tracking.py": {"mlflow"},
}
"""Modules that are about nothing but their toolkit."""

MAX_LINES, MAX_MEDIAN, MAX_FUNCTION, MAX_MODULES, MAX_RUN, MAX_PACKAGE = 400, 120, 60, 20, 40, 45_500
LARGE_FOLDERS = ("phantom", "cli")
"""The phantom is one model, and the command line has a module for each verb."""


def read(module: Path) -> str:
    return (PACKAGE / module).read_text(encoding="utf-8")


def dotted(module: Path) -> str:
    return ".".join(("biomedjourney_monai", *module.with_suffix("").parts)).removesuffix(".__init__")


NAMES = {dotted(module) for module in MODULES}


def imported_by(source: str) -> set[str]:
    """The package's modules that a module imports, also inside functions, but not for types alone."""
    names = set()
    tree = ast.parse(source)
    for_types = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    left_out = {id(inner) for node in for_types for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
        found = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in found:
            if name.startswith("biomedjourney_monai."):
                while name not in NAMES and name.count(".") > 1:
                    name = name.rpartition(".")[0]
                names.add(name)
    return names


def folder_of(name: str) -> str:
    return name.split(".")[1]


@pytest.mark.parametrize("module", INSIDE, ids=str)
def test_a_module_imports_only_from_its_folder_and_from_lower_layers(module):
    own = folder_of(dotted(module))
    assert own in RANK, f"say in LAYERS where {own} belongs"
    imported = {folder_of(name) for name in imported_by(read(module))} - {own, "__version__"}
    assert {name for name in imported if RANK[name] >= RANK[own]} == set()


def test_no_modules_import_each_other_in_a_circle():
    graph = {dotted(module): imported_by(read(module)) - {dotted(module)} for module in INSIDE}
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in finished:
            for other in sorted(graph.get(name, ())):
                visit(other, (*path, name))
            finished.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_the_rule_sees_imports_inside_functions():
    source = (
        "def f():\n    from biomedjourney_monai.cli import main\n    import biomedjourney_monai.phantom.render as r\n"
    )
    assert imported_by(source) == {"biomedjourney_monai.cli.main", "biomedjourney_monai.phantom.render"}
    assert imported_by("from biomedjourney_monai.files import write_json") == {"biomedjourney_monai.files"}


@pytest.mark.parametrize("module", [m for m in INSIDE if m.parts[0] != "cli"], ids=str)
def test_parsed_arguments_stay_in_the_command_line(module):
    assert "argparse" not in read(module)


def test_no_file_is_long_and_no_folder_is_crowded():
    lines = {module: len(read(module).splitlines()) for module in MODULES}
    assert {module: count for module, count in lines.items() if count > MAX_LINES} == {}
    assert sorted(lines.values())[len(lines) // 2] <= MAX_MEDIAN
    assert sum(lines.values()) <= MAX_PACKAGE
    folders = Counter(module.parent for module in MODULES if module.name != "__init__.py")
    crowded = {folder for folder, count in folders.items() if count > MAX_MODULES}
    assert {str(folder) for folder in crowded} <= set(LARGE_FOLDERS)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_function_is_long(module):
    functions = [node for node in ast.walk(ast.parse(read(module))) if isinstance(node, ast.FunctionDef)]
    longest = MAX_RUN if module.parts[0] == "cli" else MAX_FUNCTION
    for function in functions:
        most = longest if function.name == "run" else MAX_FUNCTION
        assert function.end_lineno - function.lineno + 1 <= most, function.name


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
    for node in ast.parse(read(module)).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        at_top |= {toolkit for toolkit in TOOLKITS for name in names if f"{name}.".startswith(f"{toolkit}.")}
    assert at_top <= ABOUT.get(module.as_posix(), set())


def test_help_works_as_a_command():
    command = [str(Path(sys.executable).parent / "biomedjourney"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "verbs:" in done.stdout
