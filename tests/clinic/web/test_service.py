"""What the web page makes is what `sample` makes."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.clinic.web.request import PageRequest
from biomedjourney_monai.clinic.web.server import Cancelled
from biomedjourney_monai.clinic.web.service import WebService
from biomedjourney_monai.errors import BiomedJourneyError, ImageError
from biomedjourney_monai.generation.model import CounterfactualModel
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.radiographs import load_radiograph, mark_synthetic
from biomedjourney_monai.schema import FINDINGS

TEXT = "New large left pleural effusion."


@pytest.fixture(scope="session")
def service(bundle, random_model):
    return WebService(CounterfactualModel(ModelConfig.find(bundle, random_model)))


@pytest.fixture
def sample(bundle, random_model, tmp_path):
    """`biomedjourney sample` with the settings of `ask`."""

    def run(prior, out, *more):
        line = ["sample", "--prior", str(prior), "--description", TEXT, "--out", str(tmp_path / out), "--seed", "5"]
        line += ["--steps", "2", "--text-guidance-scale", "2.5", "--image-guidance-scale", "1.25"]
        assert main([*line, "--bundle", str(bundle), "--model", str(random_model), *more]) == 0
        return (tmp_path / out).read_bytes()

    return run


@pytest.fixture
def ask(service):
    """The page's answer, its files decoded."""

    def run(data, *, is_cancelled=lambda: False, told=None, **changes):
        settings = {"description": TEXT, "seed": 5, "steps": 2, "samples": 1, "text_guidance_scale": 2.5}
        request = PageRequest(**{**settings, "image_guidance_scale": 1.25, **changes})
        told = [] if told is None else told
        answer = service.make(request, data, tell=lambda **facts: told.append(facts), is_cancelled=is_cancelled)
        answer = json.loads(json.dumps(answer))  # as a browser gets it
        return {**answer, "files": {name: decode(content) for name, content in answer["files"].items()}}

    return run


def decode(content):
    import base64

    return base64.b64decode(content)


def decode_picture(uri):
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(decode(content))) as picture:
        return np.asarray(picture)


def unpack(files):
    with zipfile.ZipFile(io.BytesIO(files["all.zip"])) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_pages_png_and_dicom_are_those_of_sample_byte_for_byte(ask, sample, chest):
    files = ask(chest.read_bytes())["files"]
    assert files["counterfactual.png"] == sample(chest, "a.png")
    assert files["counterfactual.dcm"] == sample(chest, "a.dcm")


def test_a_dicom_prior_hands_its_patient_on_as_sample_does(ask, sample, tmp_path, dicom_chest):
    (tmp_path / "chest.dcm").write_bytes(dicom_chest(PatientName="Müller^<script>", PatientID="../../x"))
    files = ask((tmp_path / "chest.dcm").read_bytes())["files"]
    assert files["counterfactual.dcm"] == sample(tmp_path / "chest.dcm", "a.dcm")
    assert files["counterfactual.png"] == sample(tmp_path / "chest.dcm", "a.png")
    told = [content for name, content in unpack(files).items() if not name.endswith(".dcm")]
    assert not [name for name, content in unpack(files).items() if content in told and b"../../x" in content]
    assert not [name for name, content in unpack(files).items() if content in told and b"M\xc3\xbcller" in content]
    assert not any("Müller".encode("latin-1") in content for content in told)


def test_several_samples_are_those_of_sample(ask, sample, chest, tmp_path):
    answer = ask(chest.read_bytes(), samples=2)
    found = unpack(answer["files"])
    assert found["counterfactual.png"] == sample(chest, "a.png", "--samples", "2")
    assert found["counterfactual-02.png"] == (tmp_path / "a-02.png").read_bytes()
    assert found["mean.png"] == (tmp_path / "a-mean.png").read_bytes()
    assert sample(chest, "a.dcm", "--samples", "2") == found["counterfactual.dcm"]
    assert (tmp_path / "a-02.dcm").read_bytes() == found["counterfactual-02.dcm"]
    assert (answer["seeds"], len(answer["samples"])) == ([5, 6], 2)
    assert decode_picture(answer["spread"]).shape == (*decode_picture(answer["shown"]["prior"]).shape, 3)
    assert answer["findings"][0]["lowest"] <= answer["findings"][0]["after"] <= answer["findings"][0]["highest"]


def test_a_box_is_a_mask_of_sample(ask, sample, chest, tmp_path):
    box = (0.5, 0.4, 1.0, 0.9)
    mask = np.zeros((180, 150), np.uint8)
    mask[72:162, 75:150] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    request = PageRequest("New edema.", 0, 1, 1, 1.0, 1.0, region="box", box=box)
    assert np.array_equal(request.region_in((180, 150)) * 255, mask)
    files = ask(chest.read_bytes(), region="box", box=box)["files"]
    assert files["counterfactual.png"] == sample(chest, "a.png", "--region", str(tmp_path / "mask.png"))
    assert "region.png" in unpack(files)


def test_the_region_that_is_found_is_that_of_sample(ask, sample, chest):
    files = ask(chest.read_bytes(), region="auto")["files"]
    assert files["counterfactual.png"] == sample(chest, "a.png", "--region", "auto")


def test_one_request_leaves_no_setting_to_the_next(ask, chest):
    first = ask(chest.read_bytes())["files"]["counterfactual.png"]
    ask(chest.read_bytes(), steps=1, text_guidance_scale=0.0, region="auto", samples=2, seed=9)
    assert ask(chest.read_bytes())["files"]["counterfactual.png"] == first


def test_every_picture_but_the_prior_is_marked_synthetic(ask, chest):
    answer = ask(chest.read_bytes(), samples=2)
    shown = answer["shown"]
    every = [
        shown["counterfactual"],
        shown["difference"],
        *answer["heat"].values(),
        answer["spread"],
        *answer["samples"],
    ]
    for uri in every:
        picture = decode_picture(uri).astype(np.float32)
        for channel in np.atleast_3d(picture).transpose(2, 0, 1):
            on_black, on_white = (mark_synthetic(np.full(channel.shape, g, np.float32)) * 255 for g in (0, 1))
            label = on_black == on_white
            assert np.abs(channel[label] - on_black[label]).max() <= 1
    prior = decode_picture(shown["prior"])
    assert prior.shape == decode_picture(shown["counterfactual"]).shape


def test_findings_before_and_after_are_the_judges(ask, service, chest):
    import torch

    prior = load_radiograph(chest, size=128)
    answer = ask(chest.read_bytes())
    scores = service.review.judges_for(prior).score(torch.from_numpy(prior)[None, None]).pathology[0]
    assert [row["finding"] for row in answer["findings"]] == list(FINDINGS)
    assert [row["before"] for row in answer["findings"]] == pytest.approx(scores.tolist(), abs=1e-4)
    assert [row["finding"] for row in answer["findings"] if row["asked"]] == ["Pleural Effusion"]
    assert list(answer["heat"]) == ["Pleural Effusion"]


def test_progress_is_told_step_by_step(ask, chest):
    told = []
    ask(chest.read_bytes(), steps=3, told=told)
    steps = [line["done"] for line in told if line["state"] == "sampling"]
    assert list(dict.fromkeys(steps)) == [1, 2, 3] and steps == sorted(steps)  # a second drawing may be compared with
    assert told[-1] == {"state": "judging"}


def test_a_request_stops_at_the_next_step_once_it_is_cancelled(ask, chest):
    told = []
    with pytest.raises(Cancelled):
        ask(chest.read_bytes(), steps=50, told=told, is_cancelled=lambda: len(told) >= 2)
    assert [line["done"] for line in told] == [1, 2]


def test_more_pixels_than_fit_in_memory_are_refused_before_anything_is_made():
    PageRequest("New edema.", 0, 1, 8, 1.0, 1.0).check_amount((2500, 3000))
    with pytest.raises(BiomedJourneyError, match=r"found 16 of 3,000 × 2,500\. Ask for 8 at most"):
        PageRequest("New edema.", 0, 1, 16, 1.0, 1.0).check_amount((2500, 3000))


def test_a_refused_prior_is_told_when_it_is_looked_at_and_may_be_overruled(ask, service, chest):
    with Image.open(chest) as picture:
        turned = io.BytesIO()
        picture.rotate(180).save(turned, format="PNG")
    seen = service.inspect(turned.getvalue())
    assert seen["refusal"]["code"] == "rotated"
    assert "upright" in seen["refusal"]["message"]
    with pytest.raises(ImageError, match="upright"):
        ask(turned.getvalue())
    answer = ask(turned.getvalue(), force=True)
    assert answer["overruled"] == answer["facts"]["overruled"] == "rotated"


def test_a_counterfactual_as_a_prior_is_refused_and_warned_of_where_it_is_overruled(ask, service, chest):
    files = ask(chest.read_bytes())["files"]
    for name in ("counterfactual.png", "counterfactual.dcm"):
        assert service.inspect(files[name])["refusal"]["code"] == "counterfactual"
        with pytest.raises(ImageError, match="that this package made"):
            ask(files[name])
        answer = ask(files[name], force=True)
        assert "counterfactual" in answer["overruled"]
        assert any("twice removed from a patient" in text for text in answer["warnings"])


def test_an_upload_is_described(service, chest, dicom_chest):
    seen = service.inspect(chest.read_bytes())
    assert (seen["kind"], seen["width"], seen["height"]) == ("PNG", 150, 180)
    assert seen["refusal"] is None and seen["warnings"] == []
    seen = service.inspect(dicom_chest(BurnedInAnnotation="YES"))
    assert seen["kind"] == "DICOM"
    assert "burned-in text" in seen["warnings"][0]


def test_warnings_about_a_description_come_with_the_picture(ask, chest):
    assert any(
        "no_known_finding" in text for text in ask(chest.read_bytes(), description="Something else.")["warnings"]
    )
    with pytest.raises(BiomedJourneyError, match="must not be empty"):
        ask(chest.read_bytes(), description=" ")


def test_a_description_never_becomes_markup_in_the_report(ask, chest):
    report = ask(chest.read_bytes(), description="New edema <script>alert(1)</script>")["files"]["report.html"].decode()
    assert "<script" not in report
    assert "New edema &lt;script&gt;alert(1)&lt;/script&gt;" in report
    assert "default-src 'none'" in report
    assert "SYNTHETIC - NOT FOR DIAGNOSIS" in report


def test_where_no_judge_knows_the_prior_there_is_no_percentage(ask, service, chest, monkeypatch):
    monkeypatch.setattr(service.review, "judges_for", lambda prior: None)
    answer = ask(chest.read_bytes())
    assert (answer["judge"], answer["findings"], answer["heat"]) == (None, [], {})
    assert not any("judge" in text for text in answer["warnings"])
    report = answer["files"]["report.html"].decode()
    assert (
        "No judge knows pictures like this prior" in report
        and "%" not in report.split("</style>")[1].split("How it")[0]
    )
    assert json.loads(unpack(answer["files"])["request.json"])["judges"] is None


def test_a_finding_that_the_judge_is_not_trusted_with_has_no_percentage(ask, service, chest, monkeypatch):
    judges = service.review.judges_for(load_radiograph(chest, size=128))
    monkeypatch.setattr(judges, "trusted", frozenset({"Edema", "Pneumothorax"}))
    answer = ask(chest.read_bytes(), description="New large left pleural effusion.")
    assert [row["finding"] for row in answer["findings"]] == ["Edema", "Pneumothorax"]
    assert answer["unjudged"] == ["Atelectasis", "Cardiomegaly", "Pleural Effusion"]
    assert "No percentage for Atelectasis, Cardiomegaly, Pleural Effusion" in answer["files"]["report.html"].decode()
    assert "Pleural Effusion" not in answer["heat"]


def test_what_is_asked_for_and_not_seen_is_said(ask, service, chest):
    assert service.review.judges_for(load_radiograph(chest, size=128)) is not None
    answer = ask(chest.read_bytes(), description="New large left pneumothorax.")
    row = next(row for row in answer["findings"] if row["finding"] == "Pneumothorax")
    assert row["asked"] and row["after"] < 0.5, "a random model draws nothing"
    assert any("does not see the requested pneumothorax" in text for text in answer["warnings"])


def test_what_cannot_be_drawn_leaves_the_prior(ask, chest):
    answer = ask(chest.read_bytes(), description="New rib fracture.")
    assert answer["facts"]["drawn"] == "nothing" and "prompt" not in answer["facts"]
    difference = decode_picture(answer["shown"]["difference"])
    assert (difference[..., 0] == difference[..., 2]).all(), "nothing is coloured"
    assert any("stays the prior's" in text for text in answer["warnings"])


def test_examples_are_rendered_once_and_taken(service):
    first = service.example(0)
    assert first == service.example(0)
    assert service.inspect(first)["refusal"] is None
    assert service.example(99) is None
