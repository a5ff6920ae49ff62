"""DICOM in, DICOM out: `sample`, its lists and `ladder`."""

import logging
import time

import numpy as np
import pydicom
import pytest

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.radiographs.film import read_film
from biomedjourney_monai.radiographs.read.pixels import read_pixels

TEXT = "New large left pleural effusion."
SECRETS = ("DOE", "JANE", "MRN12345", "19500102", "20200102", "ACC77", "WARD", "1.2.826.0.1.3680043.8.498.1")


@pytest.fixture
def chest(tmp_path, dicom_chest):
    path = tmp_path / "chest.dcm"
    path.write_bytes(dicom_chest())
    return path


@pytest.fixture
def run(bundle, random_model):
    def run(*words):
        return main([*map(str, words), "--bundle", str(bundle), "--model", str(random_model), "--steps", "2"])

    return run


@pytest.fixture
def sample(run, chest, tmp_path):
    def sample(*more, prior=chest, out="made.dcm", description=TEXT):
        return run("sample", "--prior", prior, "--description", description, "--out", tmp_path / out, *more)

    return sample


def test_dicom_in_dicom_out(sample, chest, tmp_path):
    assert sample("--seed", "5") == 0
    made, prior = pydicom.dcmread(tmp_path / "made.dcm"), pydicom.dcmread(chest)
    assert (made.PatientID, made.StudyInstanceUID) == (prior.PatientID, prior.StudyInstanceUID)
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == prior.SOPInstanceUID
    assert made.SyntheticData == "YES"
    for words in ("seed 5", "steps 2", TEXT, "text_guidance_scale", "image_guidance_scale"):
        assert words in made.DerivationDescription


def test_the_picture_is_the_same_as_png_and_as_dicom_of_the_priors_depth(sample, chest, tmp_path):
    assert sample(out="made.png") == 0
    assert sample(out="made.dcm") == 0
    assert pydicom.dcmread(tmp_path / "made.dcm").BitsStored == 12
    low, high = read_film(chest, size=128).limits
    shown = np.clip((read_pixels(tmp_path / "made.dcm") - low) / (high - low), 0, 1)
    assert np.abs(shown * 255 - read_pixels(tmp_path / "made.png")).max() < 0.6


def test_detail_can_be_turned_off(sample, chest, tmp_path):
    assert sample("--detail", "none", out="made.dcm") == 0
    made = pydicom.dcmread(tmp_path / "made.dcm")
    assert made.BitsStored == 8 and "detail none" in made.DerivationDescription


def test_the_same_command_writes_the_same_bytes(sample, tmp_path):
    assert sample(out="a.dcm") == sample(out="b.dcm") == 0
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()


def test_a_prior_that_is_no_dicom_gives_an_anonymous_patient(sample, chest, tmp_path):
    from PIL import Image

    Image.fromarray((read_pixels(chest) / 16).astype(np.uint8)).save(tmp_path / "DOE_JANE.png")
    assert sample(prior=tmp_path / "DOE_JANE.png") == 0
    content = (tmp_path / "made.dcm").read_bytes()
    assert pydicom.dcmread(tmp_path / "made.dcm").PatientName == "ANONYMOUS^SYNTHETIC"
    assert b"DOE" not in content


def test_several_samples_are_one_series(sample, tmp_path):
    assert sample("--samples", "2") == 0
    first, second = (pydicom.dcmread(tmp_path / name) for name in ("made.dcm", "made-02.dcm"))
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert (first.InstanceNumber, second.InstanceNumber) == (1, 2)
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert (tmp_path / "made-mean.png").is_file()


def test_export_holds_nothing_of_the_patient_and_is_consistent(sample, tmp_path, capsys):
    key = ("--export", "--export-key", tmp_path / "key")
    assert sample(*key, out="a.dcm") == sample(*key, "--seed", "2", out="b.dcm") == 0
    assert "made a new export key" in capsys.readouterr().out
    made = [pydicom.dcmread(tmp_path / name) for name in ("a.dcm", "b.dcm")]
    for keyword in ("PatientID", "StudyInstanceUID"):
        assert made[0][keyword].value == made[1][keyword].value
    content = (tmp_path / "a.dcm").read_bytes()
    assert not [secret for secret in SECRETS if secret.encode() in content]


@pytest.mark.parametrize("out, description, rule", [("a.png", TEXT, "DICOM"), ("a.dcm", "Seen 03/04/2019.", "date")])
def test_what_is_not_to_be_exported_is_refused(sample, tmp_path, capsys, out, description, rule):
    assert sample("--export", "--export-key", tmp_path / "key", out=out, description=description) == 2
    assert rule in capsys.readouterr().err
    assert not (tmp_path / out).exists()


def test_a_list_writes_dicom_and_keeps_what_is_there(run, chest, tmp_path, capsys):
    (tmp_path / "list.csv").write_text(f"prior,description,out\nchest.dcm,{TEXT},a.dcm\nchest.dcm,{TEXT},b.png\n")
    assert run("sample", "--csv", tmp_path / "list.csv") == 0
    assert "2 made, 0 kept" in capsys.readouterr().out
    assert run("sample", "--csv", tmp_path / "list.csv") == 0
    assert "0 made, 2 kept" in capsys.readouterr().out
    assert run("sample", "--csv", tmp_path / "list.csv", "--seed", "1") == 0
    assert "2 made, 0 kept" in capsys.readouterr().out
    made, sampled = read_pixels(tmp_path / "a.dcm"), read_pixels(tmp_path / "b.png")  # the prior's depth, 8 bits
    assert np.corrcoef(made.ravel(), sampled.ravel())[0, 1] > 0.99


def test_a_ladder_is_one_dicom_series(run, chest, tmp_path):
    def climb(*more):
        words = ("ladder", "--prior", chest, "--out", tmp_path / "out", "--dicom")
        return run(*words, *more)

    assert climb("--finding", "left pleural effusion") == 0
    rungs = [pydicom.dcmread(path) for path in sorted((tmp_path / "out" / "dicom").iterdir())]
    assert [rung.InstanceNumber for rung in rungs] == [1, 2, 3]
    assert len({rung.SeriesInstanceUID for rung in rungs}) == 1
    assert [rung.DerivationDescription.split("New ")[1].split()[0] for rung in rungs] == ["small", "moderate", "large"]
    assert climb("--descriptions", "New mild edema.") == 0
    assert [path.name for path in (tmp_path / "out" / "dicom").iterdir()] == ["01.dcm"]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "../../x", "../../../etc/x^y"])
def test_a_patient_name_becomes_no_path_no_markup_and_no_log_line(sample, dicom_chest, tmp_path, capfd, caplog, name):
    prior = tmp_path / "in" / "prior.dcm"
    prior.parent.mkdir()
    prior.write_bytes(dicom_chest(PatientName=name, PatientID=name, StudyDescription=name))
    caplog.set_level(logging.DEBUG)
    before = set(tmp_path.parent.iterdir())
    assert sample(prior=prior, out="out/made.dcm") == 0
    assert str(pydicom.dcmread(tmp_path / "out" / "made.dcm").PatientName) == name
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["made.dcm"]
    assert set(tmp_path.parent.iterdir()) == before
    said = capfd.readouterr()
    for secret in (name, *SECRETS):
        assert secret not in caplog.text + said.out + said.err


def test_ten_thousand_frames_are_refused_at_once_and_not_decoded(sample, tmp_path, dicom_chest, capsys, monkeypatch):
    prior = tmp_path / "frames.dcm"
    prior.write_bytes(dicom_chest(NumberOfFrames=10_000, PixelData=b"\0" * 10_000 * 2048))
    monkeypatch.setattr("pydicom.pixels.pixel_array", lambda *_, **__: pytest.fail("decoded"))
    begun = time.process_time()
    assert sample(prior=prior) == 2
    assert time.process_time() - begun < 10
    assert "10000 frames" in capsys.readouterr().err
    assert not (tmp_path / "made.dcm").exists()
