"""The case collection, where it lies beside the project: each command named in its notes does what they expect.

A moved store of MLflow is in evaluation/page/test_tracking.py, the reports in tests/preparation.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest

from biomedjourney_monai.cli.main import main

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
DICOM = sorted(CASES.glob("dicom-*/*.dcm"))
TEXT = "New large left pleural effusion."

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="no collection of cases beside the project")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working folder with the radiograph that the lists name."""
    for name in ("p1.png", "p two ünï 😀.jpg"):
        shutil.copyfile(CASES / "out-is-the-prior" / "ref_keep.png", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def sample(here, bundle, random_model):
    def run(*words) -> int:
        more = ["--bundle", bundle, "--model", random_model, "--steps", 1]
        return main(["sample", *map(str, [*words, *more])])

    return run


@pytest.mark.parametrize("name", ["semi", "caps", "cp1252"])
def test_a_list_as_excel_saves_it_is_made(sample, here, name):
    (source,) = CASES.glob(f"csv-*/{name}.csv")
    shutil.copyfile(source, here / source.name)
    assert sample("--csv", source.name) == 0
    outcomes = [line.split(",")[1] for line in (here / f"{name}.results.csv").read_text().splitlines()[1:]]
    assert set(outcomes) == {"made"}


@pytest.mark.parametrize("path", [*DICOM, *CASES.glob("nifti-*/*.gz")], ids=lambda path: path.name)
def test_a_sound_chest_gets_its_counterfactual_without_a_uid_in_what_is_said(sample, here, capfd, path):
    out = f"out{path.suffix if path.suffix == '.dcm' else '.png'}"
    assert sample("--prior", path, "--description", TEXT, "--out", out) == 0
    said = "".join(capfd.readouterr())
    assert ("placeholder" in said) == (path.suffix == ".gz")
    if path.suffix == ".dcm":
        made, prior = (pydicom.dcmread(file, stop_before_pixels=True) for file in (out, path))
        for keyword in ("StudyInstanceUID", "SOPInstanceUID", "PatientID"):
            assert str(prior[keyword].value) not in said
        assert made.StudyInstanceUID == prior.StudyInstanceUID
        assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == prior.SOPInstanceUID


def test_a_cohort_keeps_each_of_the_files_or_says_why_not(here):
    (here / "files").mkdir()
    for number, path in enumerate(DICOM):
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID, dataset.SOPInstanceUID = f"1.2.3.{number}", f"1.2.4.{number}"
        dataset.save_as(here / "files" / path.name)
    words = ["--eligibility", "any", "--check-views", "--processes", "1"]
    assert main(["cohort", "--dicom", "files", "--work", "work", *words]) == 0
    from biomedjourney_monai.preparation.journeys import read_studies

    kept = {Path(path).name for path in read_studies(here / "work")["image_path"]}
    assert kept == {path.name for path in DICOM}


def test_a_photograph_with_a_border_is_refused(sample, here, capsys):
    (photograph,) = CASES.glob("photo-*/photo_film.jpg")
    assert sample("--prior", photograph, "--description", TEXT, "--out", "a.png") == 2
    assert "(bordered)" in capsys.readouterr().err
    assert not (here / "a.png").exists()


def test_the_prior_is_not_overwritten(sample, here):
    before = (here / "p1.png").read_bytes()
    shutil.copyfile(CASES / "out-is-the-prior" / "over.csv", here / "over.csv")
    assert sample("--csv", "over.csv") == 2
    assert sample("--prior", "p1.png", "--description", TEXT, "--out", "p1.png") == 2
    os.link("p1.png", "link.png")
    assert sample("--prior", "p1.png", "--description", TEXT, "--out", "link.png") == 2
    assert (here / "p1.png").read_bytes() == before


def describe(new: str, *more: str) -> list[str]:
    folder = CASES / "stdout-pipe-and-encoding"
    reports = ["--prior-report", str(folder / "_clear.txt"), "--new-report", str(folder / new)]
    return [sys.executable, "-m", "biomedjourney_monai", "describe", *more, *reports]


def test_a_reader_that_closes_the_pipe_ends_the_command_quietly():
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(describe("r_gt_l.txt"), stdout=writer, stderr=subprocess.PIPE, env=environment)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_stdout_that_lacks_a_letter_shows_no_traceback():
    plain = {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ} | plain
    command = describe("spanish.txt", "--text", "impression")
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode in (0, 2)
    assert "Traceback" not in done.stderr and done.stderr.count("\n") <= 1


def test_the_photographs_counterfactual_is_known_as_one(sample, capsys):
    (made,) = CASES.glob("photo-*/im_photo_film.png")
    assert sample("--prior", made, "--description", TEXT, "--out", "a.png") == 2
    assert "(counterfactual)" in capsys.readouterr().err
