"""The commands of how-to/cohort.md run, with fewer patients, and the Python of concepts/pixels.md."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
from PIL import Image

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import render_visit
from biomedjourney_monai.radiographs import save_png

pages = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("pages.py"))))


def test_the_commands_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = pages.verbs(pages.DOCS / "how-to" / "cohort.md")
    assert [line[0] for line in lines] == ["phantom", "cohort", "cohort", "journeys", "cohort", "journeys"]
    assert main([word if word != "20" else "4" for word in lines[0]]) == 0
    rows = [{"accession_number": f"A{path.stem[1:]}", "text": path.read_text()} for path in Path().rglob("s*.txt")]
    pd.DataFrame(rows).to_csv("reports.csv", index=False)
    made_up = runpy.run_path(str(pages.ROOT / "tests" / "preparation" / "cohort" / "test_chestxray14.py"))
    made_up["write_source"](Path("nih"))
    for line in lines[1:]:
        assert main(line) == 0, line
    assert Path("work-dicom/journeys.parquet").is_file() and Path("work/view_checks.jsonl").is_file()


def test_the_python_runs(tmp_path):
    patient = draw_patient(0, 0, stream="docs")
    save_png(tmp_path / "x.png", render_visit(patient, patient.visits[0], size=96, view_position="PA").image)
    names: dict = {}
    (code,) = pages.blocks(pages.DOCS / "concepts" / "pixels.md", "python")
    exec(code, names)  # the page's own
    loaded = names["load"]({"image": tmp_path / "x.png"})
    assert loaded["image"].shape == (1, 256, 256) and loaded["image_view"] == ""
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (96, 96)
