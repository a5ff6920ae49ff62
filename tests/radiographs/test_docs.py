"""The commands of bundle/docs/images.md, run as they stand with fewer patients, and its Python."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from biomedjourney_monai.cli.main import main

PAGE = Path(__file__).resolve().parents[2] / "bundle" / "docs" / "images.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)


def test_the_commands_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [shlex.split(line)[1:] for block in blocks("bash") for line in block.splitlines()]
    assert [line[0] for line in lines] == ["phantom", "cohort", "cohort", "journeys"]
    assert main([word if word != "20" else "4" for word in lines[0]]) == 0
    rows = [{"accession_number": f"A{path.stem[1:]}", "text": path.read_text()} for path in Path().rglob("s*.txt")]
    pd.DataFrame(rows).to_csv("reports.csv", index=False)
    for line in lines[1:]:
        assert main(line) == 0, line
    assert Path("work-dicom/journeys.parquet").is_file() and Path("work/view_checks.jsonl").is_file()


def test_the_python_runs(tmp_path):
    from PIL import Image

    from biomedjourney_monai.phantom.patients import draw_patient
    from biomedjourney_monai.phantom.truth import render_visit
    from biomedjourney_monai.radiographs import save_png

    patient = draw_patient(0, 0, stream="docs")
    save_png(tmp_path / "x.png", render_visit(patient, patient.visits[0], size=96, view_position="PA").image)
    names: dict = {}
    (code,) = blocks("python")
    exec(code, names)  # the page's own
    loaded = names["load"]({"image": tmp_path / "x.png"})
    assert loaded["image"].shape == (1, 256, 256) and loaded["image_view"] == ""
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (96, 96)


@pytest.mark.parametrize("name", ["reading.py", "view_check.py"])
def test_the_benchmarks_that_the_page_names_exist(name):
    assert f"benchmarks/{name}" in PAGE.read_text(encoding="utf-8")
    assert (PAGE.parents[2] / "benchmarks" / name).is_file()
