"""What every page must do: its commands exist, its links and file names resolve, and all pages together stay short."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from biomedjourney_monai.cli.main import VERBS

pages = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("pages.py"))))
ROOT, DOCS, PAGES = pages.ROOT, pages.DOCS, pages.PAGES
MAX_WORDS = 20_000
FOR_MONAI = {"config_file", "bundle_root", "filepath", "meta_file", "args_file"}
each_page = pytest.mark.parametrize("page", PAGES, ids=pages.name)


def test_the_pages_together_stay_short():
    counts = {pages.name(page): len(re.findall(r"\S*\w\S*", page.read_text(encoding="utf-8"))) for page in PAGES}
    assert sum(counts.values()) <= MAX_WORDS, sorted(counts.items(), key=lambda item: -item[1])[:5]


def test_readme_fits_a_screen_and_the_models_page_sixty_lines():
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(readme) <= 40 and readme[2].startswith("![")
    assert len((DOCS / "README.md").read_text(encoding="utf-8").splitlines()) <= 60


def test_the_models_page_links_to_every_page():
    linked = {(DOCS / target).resolve() for target in pages.links(DOCS / "README.md")}
    assert not [pages.name(page) for page in DOCS.rglob("*.md") if page != DOCS / "README.md" and page not in linked]


@each_page
def test_every_verb_on_the_page_exists_and_takes_the_arguments_shown(page):
    for arguments in pages.verbs(page):
        assert arguments[0] in VERBS
        module = importlib.import_module(f"biomedjourney_monai.cli.{arguments[0].replace('-', '_')}")
        parser = argparse.ArgumentParser(exit_on_error=False)
        module.configure(parser)
        parser.parse_args(arguments[1:])


@each_page
def test_every_bundle_run_on_the_page_names_files_runs_and_keys_that_exist(page):
    for action, *words in pages.bundle_runs(page):
        options = dict(zip((word[2:] for word in words if word.startswith("--")), words[words[0][:2] != "--" :][1::2]))
        given = options["config_file"]
        files = ast.literal_eval(given) if given.startswith("[") else [given]
        content: dict = {}
        for file in files:
            content |= yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
        if any("common.yaml" in str(value) for value in content.values()):
            content |= yaml.safe_load((ROOT / "bundle" / "configs" / "common.yaml").read_text(encoding="utf-8"))
        if action == "run":
            assert words[0] in content, words[0]
        unknown = {key.split("#")[0] for key in options} - FOR_MONAI - set(content)
        assert not unknown, unknown


@each_page
def test_every_link_of_the_page_resolves(page):
    for target in pages.links(page):
        file, _, anchor = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        assert found.exists(), target
        assert not anchor or anchor in pages.anchors(found), target


@each_page
def test_every_file_of_the_project_that_the_page_names_exists(page):
    if page.name == "CHANGELOG.md":
        return  # it names what is gone, too
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"\b(?:bundle/configs|scripts|tests)/[\w/]+\.(?:py|sh|yaml|json|conf|csv|txt)", text):
        assert (ROOT / path).is_file(), path
    folders = "networks|diffusion|training|preparation|radiographs|evaluation|cli|clinic|generation"
    for path in re.findall(rf"`((?:{folders})/[\w/]+\.\w+|memory\.py)`", text):
        assert (ROOT / "biomedjourney_monai" / path).is_file(), path


def test_every_make_target_on_the_pages_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {command[1] for page in PAGES for command in pages.commands(page) if command[0] == "make"}
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
