"""Puts the bundle folder into the wheel as `biomedjourney_monai/_bundle`; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BUNDLE = Path(__file__).resolve().parent / "bundle"
PARTS = ("LICENSE", "configs", "docs", "models")
"""What belongs to the bundle; runs may write other folders beside these."""


class BuildWithBundle(build_py):
    """Build the package, and copy the bundle into it."""

    def run(self) -> None:
        """Build into an empty folder, so that a module of an earlier build is never packed."""
        if self.editable_mode:  # the checkout's own bundle folder is used
            super().run()
            return
        package = Path(self.build_lib) / "biomedjourney_monai"
        shutil.rmtree(package, ignore_errors=True)
        super().run()
        for name in PARTS:
            source, target = BUNDLE / name, package / "_bundle" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            else:
                shutil.copy2(source, target)


setup(cmdclass={"build_py": BuildWithBundle})
