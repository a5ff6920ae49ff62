"""A real MONAI Label server makes what `biomedjourney sample` makes, and tells nothing of the patient."""

import gzip
import io
import json
import re
import time
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import requests
from PIL import Image

from biomedjourney_monai import load_model
from biomedjourney_monai.cli.main import main
from biomedjourney_monai.radiographs.read.pixels import read_pixels

DOCS = Path(__file__).parents[2] / "bundle" / "docs"
TEXT = "New large left pleural effusion; Jane Doe is clear."
SECRETS = ("DOE", "Doe", "JANE", "MRN12345", "19500102", "ACC77", "effusion", "1.2.826.0.1.3680043.8.498")
AFFINE = np.array([[0.5, 0, 0, -10], [0, 0, 1, 3], [0, 0.5, 0, 7], [0, 0, 0, 1.0]])  # right and upwards


@pytest.fixture
def priors(chest, dicom_chest, tmp_path):
    """The same radiograph in three formats, by suffix."""
    Image.fromarray(chest).save(tmp_path / "DOE_JANE.png")
    nibabel.Nifti1Image(np.flip(chest).T[:, :, None].copy(), AFFINE).to_filename(tmp_path / "DOE_JANE.nii.gz")
    (tmp_path / "DOE_JANE.dcm").write_bytes(dicom_chest(chest / 255, PatientName="../../DOE^<script>"))
    return {path.name.partition(".")[2]: path for path in tmp_path.iterdir()}


@pytest.fixture
def sampled(server, tmp_path):
    """What the command line, or Python for NIfTI, makes of a prior with the bundle that is served."""

    def sample(prior, out="sampled.png"):
        if out.endswith(".nii.gz"):
            load_model(bundle=server.bundle).generate(prior, TEXT, seed=3).save(tmp_path / out)
            return tmp_path / out
        words = ["sample", "--prior", prior, "--description", TEXT, "--seed", 3, "--out", tmp_path / out]
        assert main([*map(str, words), "--bundle", str(server.bundle)]) == 0
        return tmp_path / out

    return sample


def upload(server, prior, **params):
    params = {"progression_description": TEXT, "seed": 3, **params}
    return server.infer(file=(prior.name, prior.read_bytes()), **params)


def same(path, other):
    return np.array_equal(read_pixels(path), read_pixels(other))


def test_the_server_lists_the_bundle(server):
    session = requests.Session()
    session.trust_env = False
    info = session.get(f"{server.url}/info/", timeout=60).json()
    assert "not for diagnosis" in info["models"]["cxr_counterfactual"]["description"]


def test_png_nifti_and_dicom_come_back_as_sample_makes_them(server, priors, sampled, tmp_path):
    typed = {}
    for suffix, prior in priors.items():
        answer = upload(server, prior)
        assert answer.status_code == 200, answer.text
        made = tmp_path / f"made.{suffix}"
        made.write_bytes(answer.content)
        assert read_pixels(made).shape == (180, 140)
        assert read_pixels(made).std() > 10
        typed[suffix] = sampled(prior, f"sampled.{suffix}")
        assert same(made, typed[suffix]), suffix
        disposition = answer.headers["content-disposition"]
        assert not [secret for secret in SECRETS if secret in disposition]
    with Image.open(tmp_path / "made.png") as picture, Image.open(typed["png"]) as other:
        assert picture.text == other.text
    volume = nibabel.Nifti1Image.from_bytes(gzip.decompress((tmp_path / "made.nii.gz").read_bytes()))
    assert (volume.shape, volume.affine.tolist()) == ((140, 180, 1), AFFINE.tolist())
    made, other = pydicom.dcmread(tmp_path / "made.dcm"), pydicom.dcmread(typed["dcm"])
    assert (made.SyntheticData, made.PatientID, made.StudyInstanceUID) == ("YES", "MRN12345", other.StudyInstanceUID)
    assert made.SOPInstanceUID == other.SOPInstanceUID


def test_a_stored_image_is_named_and_the_answer_has_the_viewers_form(server, priors, sampled, tmp_path):
    answer = server.infer("case1", output="", progression_description=TEXT, seed=3)
    assert answer.status_code == 200, answer.text
    head, _, rest = answer.content.partition(b"\x89PNG")
    assert b"label_names" in head
    (tmp_path / "made.png").write_bytes(b"\x89PNG" + rest.rpartition(b"\r\n--")[0])
    assert same(tmp_path / "made.png", sampled(priors["png"]))


@pytest.mark.parametrize(
    "suffix, content, params, word",
    [
        ("png", None, {"progression_description": None}, "progression_description"),
        ("png", None, {"progression_description": " "}, "empty"),
        ("png", None, {"seed": -1}, "seed"),
        ("dcm", b"no picture", {}, "JPEG, PNG, NIfTI or DICOM"),
        ("png", None, {"result_extension": ".jpg"}, "result_extension"),
    ],
)
def test_a_refusal_is_answered_in_words_and_leaves_no_upload(server, priors, suffix, content, params, word):
    if content is not None:
        priors[suffix].write_bytes(content)
    answer = upload(server, priors[suffix], **params)
    assert answer.status_code == 422
    assert word in answer.json()["detail"]
    assert not files_left(server.temporary)


def files_left(folder, *, seconds=10):
    """What still lies there; the server removes a file after it has answered."""
    end = time.monotonic() + seconds
    while (found := [path for path in folder.iterdir() if path.is_file()]) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def test_the_server_keeps_and_tells_nothing_of_the_patient(server, priors):
    """At the request's own log level DEBUG, after requests that are served and refused."""
    assert upload(server, priors["dcm"]).status_code == 200
    assert upload(server, priors["nii.gz"], result_extension=".dcm").status_code == 200
    assert upload(server, priors["png"], seed="x").status_code == 422
    said = server.said()
    assert "timeloop" in said.lower()  # the log is where it is looked for
    told = [line for line in said.splitlines() if any(secret in line for secret in SECRETS)]
    assert not told, told[0][-300:]
    assert not files_left(server.temporary)
    image = pydicom.dcmread(io.BytesIO(upload(server, priors["dcm"]).content))
    assert "<script>" in str(image.PatientName)  # a name is data, and no path or markup


def test_the_documented_request_is_served(server, priors):
    page = (DOCS / "how-to" / "monai-label.md").read_text(encoding="utf-8")
    (words,) = re.findall(r"@chest\.png.*?\n.*?params=(\{.*?\})'", page)
    answer = server.infer(file=("chest.png", priors["png"].read_bytes()), **json.loads(words))
    assert answer.status_code == 200, answer.text
    assert Image.open(io.BytesIO(answer.content)).text["progression_description"] == "New large left pleural effusion."
