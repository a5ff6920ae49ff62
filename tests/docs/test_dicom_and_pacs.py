"""The commands of how-to/dicom.md and how-to/pacs.md run as they are printed, with fewer steps."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from biomedjourney_monai.cli.main import main

pages = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("pages.py"))))
HOW_TO = pages.DOCS / "how-to"


@pytest.fixture
def run(bundle, random_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = ["--bundle", str(bundle), "--model", str(random_model), "--steps", "1"]
    return lambda words: main([*words, *more])


@pytest.mark.parametrize("words", pages.verbs(HOW_TO / "dicom.md"), ids=" ".join)
def test_commands_about_dicom_run(words, run, tmp_path, dicom_chest):
    (tmp_path / "chest.dcm").write_bytes(dicom_chest())
    (tmp_path / "requests.csv").write_text("prior,description,out\nchest.dcm,New edema.,out.dcm\n")
    before = set(tmp_path.rglob("*.dcm"))
    assert run(words) == 0
    assert set(tmp_path.rglob("*.dcm")) - before


@pytest.mark.parametrize("words", pages.verbs(HOW_TO / "pacs.md"), ids=" ".join)
def test_commands_about_archives_run(words, run, tmp_path, dicom_chest, fake_archive):
    (tmp_path / "password.txt").write_text("secret")
    (tmp_path / "token.txt").write_text("secret")
    listed = re.search(r"```\n(patient_id,.*?)```", (HOW_TO / "pacs.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "list.csv").write_text(listed[1])
    with fake_archive.serve() as archive:
        archive.add(dicom_chest(IssuerOfPatientID="SITE-A", AccessionNumber="A1007"))
        assert run([archive.url if word.startswith("http") else word for word in words]) == 0
        assert len(archive.stored()) == ("--dry-run" not in words)
