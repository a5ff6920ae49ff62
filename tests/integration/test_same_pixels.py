"""One film, one request: sample, the page, an archive, MONAI Label and the bundle make the same pixels."""

import base64
import copy
import io
import tempfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from monai.bundle import ConfigParser

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.clinic.web.request import PageRequest
from biomedjourney_monai.clinic.web.service import WebService
from biomedjourney_monai.generation.model import CounterfactualModel
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.weights.model_file import load_tensors

BUNDLE = Path(__file__).parents[2] / "bundle"
TEXT, SEED, STEPS = "New large left pleural effusion.", 3, 2


@pytest.fixture(scope="module")
def model(random_model):
    """The shipped weights, which leave most of a film as it is, or random ones where there are none."""
    shipped = BUNDLE / "models" / "model.pt"
    return shipped if shipped.is_file() else random_model


@pytest.fixture
def prior(tmp_path, dicom_chest):
    """A DICOM film of 12 bits, larger than the model's picture."""
    folder = tmp_path / "priors"
    folder.mkdir()
    (folder / "prior.dcm").write_bytes(dicom_chest())
    return folder / "prior.dcm"


def by_sample(prior, model, out):
    words = ["sample", "--prior", prior, "--description", TEXT, "--seed", SEED, "--steps", STEPS, "--out", out]
    assert main([*map(str, words), "--bundle", str(BUNDLE), "--model", str(model)]) == 0
    return pydicom.dcmread(out)


def by_page(prior, model):
    service = WebService(CounterfactualModel(ModelConfig.find(BUNDLE, model)))
    settings = service.page_facts()["defaults"] | {"seed": SEED, "steps": STEPS}
    request = PageRequest(TEXT, **settings)
    answer = service.make(request, prior.read_bytes(), tell=lambda **facts: None, is_cancelled=lambda: False)
    return pydicom.dcmread(io.BytesIO(base64.b64decode(answer["files"]["counterfactual.dcm"])))


def by_archive(prior, model, fake_archive):
    with fake_archive.serve() as archive:
        archive.add(prior.read_bytes())
        words = ["pacs", "--url", archive.url, "--patient-id", "MRN12345", "--description", TEXT]
        words += ["--seed", SEED, "--steps", STEPS, "--bundle", BUNDLE, "--model", model]
        assert main([*map(str, words)]) == 0
        (made,) = archive.stored()
    return made


def inference_config(model, **settings):
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "inference.yaml"))
    parser["bundle_root"], parser["checkpoint"], parser["sampler"] = str(BUNDLE), str(model), {"steps": STEPS}
    for key, value in settings.items():
        parser[key] = value
    return parser


def by_bundle(prior, model, out):
    (prior.parent / "descriptions.csv").write_text(f"prior,description,seed\n{prior.name},{TEXT},{SEED}\n")
    folders = {"dataset_dir": str(prior.parent), "output_dir": str(out), "output_format": "prior"}
    config = inference_config(model, **folders)
    network = config.get_parsed_content("network_def")
    network.load(model)
    network.speed_up("float32")
    config.get_parsed_content("folder_run").run(config.get_parsed_content("evaluator"))
    return pydicom.dcmread(out / "counterfactual-0000.dcm")


def by_monai_label(prior, model):
    """In the server's order: a copy of the network with the weights that the server loads itself."""
    config = inference_config(model)
    network = copy.deepcopy(config.get_parsed_content("network_def"))
    network.load_state_dict(load_tensors(model)[0], strict=False)
    data = {"image": str(prior), "progression_description": TEXT, "seed": SEED}
    for transform in config.get_parsed_content("pre_transforms"):
        data = transform(data)
    with torch.no_grad():
        data["pred"] = config.get_parsed_content("inferer")(data["image"][None], network.eval())[0]
    for transform in config.get_parsed_content("post_transforms"):
        data = transform(data)
    return pydicom.dcmread(data["pred"])


def test_every_way_writes_the_same_stored_values(prior, model, fake_archive, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = {
        "sample": by_sample(prior, model, tmp_path / "sample.dcm"),
        "page": by_page(prior, model),
        "archive": by_archive(prior, model, fake_archive),
        "bundle": by_bundle(prior, model, tmp_path / "out"),
        "MONAI Label": by_monai_label(prior, model),
    }
    before, expected = pydicom.dcmread(prior).pixel_array, made["sample"].pixel_array
    assert 0.3 < (expected == before).mean() < 0.99, "detail is transferred: most of the film's own values stay"
    for way, dataset in made.items():
        assert dataset.BitsStored == 12, way
        assert np.array_equal(dataset.pixel_array, expected), way
        assert dataset.SOPInstanceUID == made["sample"].SOPInstanceUID, way


def test_monai_label_compares_with_the_weights_that_it_serves(model):
    config = inference_config(model)
    config.get_parsed_content("post_transforms")
    drawing, served = config.get_parsed_content("model").generator.state_dict(), load_tensors(model)[0]
    assert served and all(torch.equal(drawing[name], tensor) for name, tensor in served.items())
