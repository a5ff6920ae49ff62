"""torchxrayvision's networks with random weights in the right places; the real files are not needed."""

import os
import socket

import numpy as np
import pytest
import torch
import torchxrayvision as xrv
from torch import nn
from torchxrayvision.baseline_models import chestx_det, emory_hiti, riken

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.errors import ConfigError, WeightsError
from biomedjourney_monai.evaluation.judges.clinical import (
    AGE_FILE,
    ANATOMY_FILE,
    PATHOLOGY_FILES,
    RACE_FILE,
    load_clinical_judges,
    to_xrv_range,
)
from biomedjourney_monai.evaluation.judges.loading import load_judges


class TinyAge(nn.Module):
    def forward(self, image):
        return 50 + 10 * image.mean(dim=(1, 2, 3))[:, None]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The four files, each as torchxrayvision's release holds it: one classifier as a module, another as tensors."""
    folder = tmp_path_factory.mktemp("xrv")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = xrv.models.DenseNet(num_classes=18)
        torch.save(classifier.state_dict(), folder / PATHOLOGY_FILES["chex"])
        torch.save(classifier, folder / PATHOLOGY_FILES["nih"])
        import torchvision

        race = torchvision.models.resnet34(weights=None)
        race.fc = nn.Sequential(nn.Linear(512, 3), nn.LogSoftmax(dim=1))
        torch.save({f"module.{name}": t for name, t in race.state_dict().items()}, folder / RACE_FILE)
        anatomy = chestx_det.pspnet(14)
        torch.save(
            {f"module.{name}": t.half() if t.is_floating_point() else t for name, t in anatomy.state_dict().items()},
            folder / ANATOMY_FILE,
        )
    torch.jit.script(TinyAge()).save(str(folder / AGE_FILE))
    return folder


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("an evaluation must not open a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(xrv.utils, "download", refuse)


@pytest.fixture
def images():
    return torch.rand((2, 1, 64, 64), generator=torch.Generator().manual_seed(4))


def test_pixels_are_torchxrayvisions():
    grey = np.random.default_rng(0).integers(0, 256, (224, 224)).astype(np.uint8)
    expected = xrv.utils.normalize(grey, 255)
    mine = to_xrv_range(torch.from_numpy(grey / 255).float()[None, None], 224)
    assert torch.allclose(mine[0, 0], torch.from_numpy(expected), atol=1e-3)


@pytest.mark.parametrize(
    "bad", [torch.full((1, 1, 8, 8), torch.nan), torch.full((1, 1, 8, 8), 255.0), torch.zeros(8, 8)]
)
def test_pixels_of_another_range_are_refused(bad):
    with pytest.raises(ValueError, match="images must be"):
        to_xrv_range(bad, 224)


@pytest.mark.slow
def test_the_four_networks_say_what_torchxrayvision_says(weights, no_network, images, monkeypatch):
    judges = load_clinical_judges(weights)
    scores = judges.score(images)

    network = xrv.models.DenseNet(num_classes=18).eval()
    network.load_state_dict(torch.load(weights / PATHOLOGY_FILES["chex"], weights_only=True))
    network.op_threshs = torch.tensor(xrv.models.model_urls["chex"]["op_threshs"])
    with torch.no_grad():
        seen = network(to_xrv_range(images, 224))
    labels = xrv.models.model_urls["chex"]["labels"]
    columns = [labels.index(name) for name in ("Atelectasis", "Cardiomegaly", "Edema", "Effusion", "Pneumothorax")]
    assert torch.allclose(scores.pathology, seen[:, columns], atol=1e-5)

    home = weights.parent / "home" / ".torchxrayvision" / "models_data"
    home.mkdir(parents=True, exist_ok=True)
    for name in (RACE_FILE, AGE_FILE, ANATOMY_FILE):
        (home / name).unlink(missing_ok=True)
        os.link(weights / name, home / name)
    monkeypatch.setenv("HOME", str(weights.parent / "home"))
    with torch.no_grad():
        race = emory_hiti.RaceModel()(to_xrv_range(images, 320)).exp()  # Asian, Black, White
        age = riken.AgeModel()(to_xrv_range(images, 320))[:, 0]
        outlines = chestx_det.PSPNet(cache_dir=str(home))(to_xrv_range(images, 512))
    assert torch.allclose(scores.race, race[:, [2, 1, 0]], atol=1e-5)
    assert torch.allclose(scores.age, age, atol=1e-3)
    names = [name.lower() for name in chestx_det.PSPNet.targets]
    heart = nn.functional.interpolate(outlines[:, [names.index("heart")]], size=(64, 64), mode="bilinear") > 0
    assert (scores.structures[:, 2:3] == heart).float().mean() > 0.999
    assert scores.structures.shape == (2, 6, 64, 64)
    assert judges.features(images).shape == (2, 1024)
    assert set(judges.provenance()["files"]) == {PATHOLOGY_FILES["chex"], RACE_FILE, AGE_FILE, ANATOMY_FILE}


@pytest.mark.parametrize("trained_on", ["chex", "nih", "pc", "all"])
def test_a_missing_file_is_named_with_its_place(tmp_path, no_network, trained_on):
    with pytest.raises(WeightsError) as raised:
        load_clinical_judges(tmp_path / "weights", trained_on=trained_on)
    message = str(raised.value)
    assert str(tmp_path / "weights") in message
    for name in (PATHOLOGY_FILES[trained_on], RACE_FILE, AGE_FILE, ANATOMY_FILE):
        assert name in message
    assert PATHOLOGY_FILES[trained_on] == xrv.models.model_urls[trained_on]["weights_url"].split("/")[-1]


def copied(weights, folder):
    folder.mkdir()
    for path in weights.iterdir():
        os.link(path, folder / path.name)
    return folder


@pytest.mark.parametrize(
    "name, content",
    [(PATHOLOGY_FILES["chex"], "module"), (ANATOMY_FILE, "other tensors"), (RACE_FILE, "bytes"), (AGE_FILE, "bytes")],
)
def test_a_file_that_does_not_fit_is_refused(weights, tmp_path, no_network, name, content):
    folder = copied(weights, tmp_path / "copy")
    (folder / name).unlink()
    if content == "bytes":
        (folder / name).write_bytes(b"cut short")
    else:
        torch.save(nn.Linear(2, 2) if content == "module" else nn.Linear(2, 2).state_dict(), folder / name)
    with pytest.raises(WeightsError, match=name):
        load_clinical_judges(folder)


def test_a_classifier_published_as_a_module_is_read_without_running_it(weights, no_network):
    from biomedjourney_monai.evaluation.judges.clinical import _build_pathology, _fill

    networks = [_build_pathology("nih")[0] for _ in range(2)]
    _fill(networks[0], weights / PATHOLOGY_FILES["nih"])
    _fill(networks[1], weights / PATHOLOGY_FILES["chex"])
    first, second = (network.classifier.weight for network in networks)
    assert torch.equal(first, second)


class Bomb:
    def __reduce__(self):
        return os.system, ("true",)


def test_a_file_that_would_run_a_command_is_refused(weights, tmp_path, no_network):
    folder = copied(weights, tmp_path / "copy")
    (folder / RACE_FILE).unlink()
    torch.save({"module.fc.0.bias": Bomb()}, folder / RACE_FILE)
    with pytest.raises(WeightsError, match="UnpicklingError"):
        load_clinical_judges(folder)


def test_an_unknown_name_is_refused(weights):
    with pytest.raises(ConfigError, match="chex, nih, pc, all"):
        load_clinical_judges(weights, trained_on="imagenet")
    with pytest.raises(ConfigError, match="phantom, xrv"):
        load_judges(weights, kind="nobody")


def test_evaluate_names_missing_weights_and_never_downloads(tmp_path, no_network, capsys):
    assert main(["evaluate", "--work", str(tmp_path), "--judges", "xrv"]) == 2
    assert "--judge-weights DIR" in capsys.readouterr().err
    assert main(["evaluate", "--work", str(tmp_path), "--judges", "xrv", "--judge-weights", str(tmp_path)]) == 2
    assert RACE_FILE in capsys.readouterr().err


@pytest.mark.slow
def test_evaluate_scores_with_them(weights, baseline_work, no_network, capsys):
    arguments = ["--judges", "xrv", "--judge-weights", str(weights), "--xrv-classifier", "nih", "--bootstrap", "3"]
    assert main(["evaluate", "--work", str(baseline_work), "--limit", "2", *arguments]) == 0
    assert "real reference" in capsys.readouterr().out
