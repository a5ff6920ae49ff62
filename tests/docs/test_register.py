"""The commands, the Python and the YAML of how-to/register.md and describe.md run, with fewer patients."""

import ast
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from monai.bundle import ConfigWorkflow

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.radiographs import read_png

pages = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("pages.py"))))
ROOT = pages.ROOT
PAGE = pages.DOCS / "how-to" / "register.md"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Where the page's commands were run."""
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in pages.verbs(PAGE):
            fewer = [] if words[0] == "journeys" else ["--processes", "1"]
            assert main([*({"30": "16"}.get(word, word) for word in words), *fewer]) == 0, words
    return folder / "work"


def test_the_commands_run(work):
    for name in ("pairs.parquet", "cohort_report.html", "register_report.html"):
        assert (work / name).is_file()


def test_the_bundle_runs_with_and_without_a_sites_step(work, monkeypatch):
    (words,) = pages.bundle_runs(PAGE)
    assert words[:2] == ["run", "prepare"]
    given = dict(zip((word.lstrip("-") for word in words[2::2]), words[3::2]))
    config = ROOT / given.pop("config_file")
    (site,) = pages.blocks(PAGE, "yaml")
    (work.parent / "site.yaml").write_text(site)
    assert "MedianSmoothd" in str(yaml.safe_load(site))
    monkeypatch.chdir(work.parent)
    given = {"dataset_dir": given["dataset_dir"], "image_size": int(given["image_size"]), "processes": 1}
    picture = next((work / "images").glob("*-on-*.tfm")).stem.split("-on-")[1] + ".png"
    pictures = [read_png(work / "images" / picture)]
    for files in ([str(config)], [str(config), "site.yaml"]):
        run = ConfigWorkflow(
            config_file=files, workflow_type="train", run_id="prepare", logging_file=False,
            bundle_root=str(ROOT / "bundle"), **given,
        )  # fmt: skip
        run.initialize()
        run.run()
        pictures.append(read_png(work / "images" / picture))
    assert np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[1], pictures[2])


def test_the_commands_of_the_rule_based_descriptions_run(work, monkeypatch, capsys):
    monkeypatch.chdir(work.parent)
    (work.parent / "A.txt").write_text("IMPRESSION: No pleural effusion.")
    (work.parent / "B.txt").write_text("IMPRESSION: Small left pleural effusion.")
    commands = [words for words in pages.verbs(pages.DOCS / "how-to" / "describe.md") if "--writer" not in words]
    assert len(commands) == 4
    for words in commands:
        assert main(words) == 0, words
    assert (work / "triples.jsonl").is_file() and "left pleural effusion" in capsys.readouterr().out.lower()


def test_the_python_is_sound(work):
    cluster, transforms = pages.blocks(PAGE, "python")
    tree = ast.parse(cluster)  # dask-jobqueue is not installed here
    assert [node.module for node in tree.body if isinstance(node, ast.ImportFrom)] == ["dask_jobqueue"]
    names: dict = {}
    exec(transforms, names)  # the page's own
    first, second = sorted((work.parent / "cohort").rglob("p1*/s*/*.jpg"))[:2]
    row = names["register"]({"prior_image": str(first), "new_image": str(second)})
    assert row["valid_mask"].shape == (1, 128, 128) and "registration" in row["new_image"].meta


def test_every_option_on_the_page_exists(capsys):
    options = set(re.findall(r"`(--[a-z_-]+)", PAGE.read_text(encoding="utf-8"))) - {"--config_file"}
    known = ""
    for verb in ("cohort", "journeys", "register"):
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        known += capsys.readouterr().out
    assert len(options) > 8 and not [option for option in options if option not in known]
