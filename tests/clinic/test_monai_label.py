"""The transforms that a MONAI Label server runs; tests/monai_label has the server itself."""

import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from fastapi import HTTPException
from monai.transforms import Compose
from PIL import Image

from biomedjourney_monai.clinic.monai_label import ReadRequestd, WriteResultd, WrittenFile
from biomedjourney_monai.generation.description_check import refuse_empty
from biomedjourney_monai.generation.prior import read_prior
from biomedjourney_monai.generation.prior_check import DescribePriord
from biomedjourney_monai.generation.provenance import document
from biomedjourney_monai.generation.request import Checked
from biomedjourney_monai.radiographs.transforms import LoadRadiographd

TEXT = "New edema."


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def prior(tmp_path):
    path = tmp_path / "prior.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (150, 120)).astype(np.uint8)).save(path)
    return path


class Model:
    """Checks a request as the model does, but takes any picture for a chest and has no network."""

    detail = "transfer"

    def check(self, request):
        refuse_empty(request.description)
        return Checked(read_prior(request.prior, size=128), request.description, (request.seed,))

    def documents(self, checked):
        facts = {"description": checked.description, "seed": checked.seeds[0], "prior": checked.prior.image}
        return (document({"Software": "x"}, **facts, detail=self.detail),)

    def warn_after(self, checked, squares):
        assert squares.shape == (1, 128, 128)
        return ("it was looked at (code)",)


READ = ReadRequestd(
    "image",
    model=Model(),
    preprocessing=Compose([LoadRadiographd("image"), DescribePriord("image")]),
    seed=5,
)
WRITE = WriteResultd("pred", model=Model())


def ask(prior, **request):
    """A request as MONAI Label passes it on: with the bundle's description in the place of the request's."""
    return {"image": str(prior), "description": "the bundle's own", "progression_description": TEXT, **request}


def answer(read):
    return WRITE({**read, "pred": torch.from_numpy(np.asarray(read["image"]))})


def test_a_request_carries_its_description_and_its_seed(prior):
    meta = READ(ask(prior, seed="7"))["image"].meta
    assert (meta["description"], meta["seed"]) == (TEXT, 7)
    assert READ(ask(prior))["image"].meta["seed"] == 5


@pytest.mark.parametrize(
    "change, word",
    [
        ({"progression_description": None}, "progression_description"),
        ({"progression_description": 3}, "progression_description"),
        ({"progression_description": ""}, "empty"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"result_extension": ".exe"}, "result_extension"),
        ({"result_extension": "/../x.png"}, "result_extension"),
        ({"image": "/nowhere/DOE_JANE.png"}, "must exist"),
    ],
)
def test_what_cannot_be_served_is_answered_in_words(prior, change, word):
    with pytest.raises(HTTPException) as raised:
        READ({**ask(prior), **change})
    assert raised.value.status_code == 422
    assert word in raised.value.detail
    assert "DOE" not in raised.value.detail
    assert raised.value.__cause__ is None


def test_an_upload_is_gone_when_it_is_refused_and_other_files_are_not(prior, scratch):
    upload, other = scratch / "tmpab12cd_9.dcm", scratch / "report.txt"
    for path in (upload, other):
        path.write_bytes(b"no picture")
        with pytest.raises(HTTPException):
            READ(ask(path))
    assert list(scratch.iterdir()) == [other]
    with pytest.raises(HTTPException):
        READ(ask(prior, seed="x"))
    assert prior.exists()


def test_the_result_is_a_file_in_the_priors_format(prior, dicom_chest, tmp_path):
    dicom = tmp_path / "prior.dcm"
    dicom.write_bytes(dicom_chest())
    volume = tmp_path / "prior.nii.gz"
    affine = np.array([[-0.5, 0, 0, 1], [0, 0, 1, 2], [0, -0.5, 0, 3], [0, 0, 0, 1.0]])
    nibabel.Nifti1Image(np.asarray(Image.open(prior)).T[:, :, None].astype(np.float32), affine).to_filename(volume)
    made = {path: answer(READ(ask(path)))["pred"] for path in (prior, dicom, volume)}
    assert [Path(name).suffixes for name in made.values()] == [[".png"], [".dcm"], [".nii", ".gz"]]
    with Image.open(made[prior]) as picture:
        assert picture.size == (120, 150)
        assert (picture.text["progression_description"], picture.text["seed"]) == (TEXT, "5")
    dataset = pydicom.dcmread(made[dicom])
    assert (dataset.PatientID, dataset.SyntheticData) == ("MRN12345", "YES")
    assert nibabel.load(made[volume]).shape == (120, 150, 1)
    assert np.array_equal(nibabel.load(made[volume]).affine, affine)


def test_the_format_can_be_asked_for(prior):
    suffixes = [
        Path(answer(READ(ask(prior, result_extension=suffix)))["pred"]).suffix for suffix in (".png", ".dcm", ".nii")
    ]
    assert suffixes == [".png", ".dcm", ".nii"]


def test_a_series_of_one_image_may_be_named_by_its_folder(prior, tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "a.png").write_bytes(prior.read_bytes())
    assert np.array_equal(READ(ask(folder))["image"], READ(ask(prior))["image"])
    (folder / "b.png").write_bytes(prior.read_bytes())
    with pytest.raises(HTTPException) as raised:
        READ(ask(folder))
    assert "2 images" in raised.value.detail


def test_the_server_is_told_to_write_nothing_itself(prior):
    answered = answer(READ(ask(prior)))
    assert answered["result_write_to_file"] is False
    assert isinstance(answered["pred"], WrittenFile)
    assert answered["pred"].shape == ()  # what the server's own transforms ask for


def test_nothing_stays_where_writing_fails(prior, scratch, monkeypatch):
    read = READ(ask(prior))
    monkeypatch.setattr("biomedjourney_monai.generation.writer.PictureWriter.write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        answer(read)
    assert list(scratch.iterdir()) == []
