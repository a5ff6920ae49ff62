"""The commands of bundle/docs/dicom.md and pacs.md run as they stand, with fewer steps."""

import re
import shlex
from pathlib import Path

import pytest

from biomedjourney_monai.cli.main import main

DOCS = Path(__file__).parents[2] / "bundle" / "docs"


def commands(page):
    blocks = re.findall(r"```bash\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    return [shlex.split(line)[1:] for line in "".join(blocks).splitlines()]


@pytest.fixture
def run(bundle, random_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = ["--bundle", str(bundle), "--model", str(random_model), "--steps", "1"]
    return lambda words: main([*words, *more])


@pytest.mark.parametrize("words", commands("dicom.md"), ids=" ".join)
def test_commands_about_dicom_run(words, run, tmp_path, dicom_chest):
    (tmp_path / "chest.dcm").write_bytes(dicom_chest())
    (tmp_path / "requests.csv").write_text("prior,description,out\nchest.dcm,New edema.,out.dcm\n")
    before = set(tmp_path.rglob("*.dcm"))
    assert run(words) == 0
    assert set(tmp_path.rglob("*.dcm")) - before


@pytest.mark.parametrize("words", commands("pacs.md"), ids=" ".join)
def test_commands_about_archives_run(words, run, tmp_path, dicom_chest, fake_archive):
    (tmp_path / "password.txt").write_text("secret")
    (tmp_path / "token.txt").write_text("secret")
    listed = re.search(r"```\n(patient_id,.*?)```", (DOCS / "pacs.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "list.csv").write_text(listed[1])
    with fake_archive.serve() as archive:
        archive.add(dicom_chest())
        assert run([archive.url if word.startswith("http") else word for word in words]) == 0
        assert len(archive.stored()) == ("--dry-run" not in words)
