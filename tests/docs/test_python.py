"""The code of get-started/python.md runs as it is written, on a rendered patient."""

import re
from pathlib import Path

import pytest

import biomedjourney_monai as bj

PAGE = Path(__file__).parents[2] / "bundle" / "docs" / "get-started" / "python.md"
NOTEBOOK = PAGE.with_name("counterfactual.ipynb")


@pytest.fixture
def priors(tmp_path, monkeypatch):
    """chest.png, and lateral.png, in the working directory."""
    from biomedjourney_monai.phantom import render_visit
    from biomedjourney_monai.radiographs import save_png

    patient = bj.draw_patient(7, 0)
    for name, view in (("chest", "PA"), ("lateral", "LATERAL")):
        image = render_visit(patient, patient.visits[0], size=256, view_position=view).image
        save_png(tmp_path / f"{name}.png", image)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_block_runs(priors, capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "python.md", "exec"), names)
    assert names["scores"].pathology.shape == (4, 5)
    assert names["confined"].images.shape == (1, 256, 256)
    assert names["truth"].image.shape == names["prior"].image.shape == names["result"].images.shape[1:]
    assert {path.name for path in priors.glob("*.png")} >= {"counterfactual.png", "out.png", "out-04.png"}
    assert capsys.readouterr().out.startswith("lateral ")


def test_every_function_of_the_table_is_there():
    table = re.findall(r"^\| `bj\.(\w+)\(", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(table) == 11
    assert all(callable(getattr(bj, name)) for name in table)


def test_the_notebook_runs(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("text/html" in output.get("data", {}) for output in shown)
    assert (tmp_path / "counterfactual.dcm").is_file()
