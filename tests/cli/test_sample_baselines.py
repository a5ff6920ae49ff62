"""Systems beside the model: sampled into baselines/, and scored in the same table."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.schema import DUMMY_GREY


def _module(name, path):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_importing = _module("importing_fixtures", "cli/test_import_weights.py")
_evaluation = _module("evaluation_fixtures_too", "evaluation/conftest.py")
overlay, import_weights = _importing.overlay, _importing.import_weights
make_unet, make_vae = _importing.make_unet, _importing.make_vae
models = _evaluation.models
SIZE = 96


@pytest.fixture
def work(tmp_path):
    """Two test journeys of a working folder, with descriptions."""
    work = tmp_path / "work"
    _evaluation.write_working_folder(work, journeys=4, size=SIZE)
    rows = [
        {
            "journey_id": f"j{n:06}",
            "split": "test",
            "prior_image": f"images/j{n:06}_prior.png",
            "progression_description": "New small left pleural effusion.",
            "new_impression": "Small left effusion." if n else "",
        }
        for n in range(2)
    ]
    (work / "triples.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return work


@pytest.fixture
def imported(import_weights, overlay, make_unet, make_vae, tmp_path, bundle):
    """A model file of a shrunken foreign network, and its overlay, by the UNet's input channels: 4 or 8."""
    content = yaml.safe_load(overlay.read_text()) | {"image_size": SIZE, "sampler": {"keep_unchanged": 0.1}}
    overlay.write_text(yaml.safe_dump(content))

    def build(in_channels):
        folder = tmp_path / f"foreign{in_channels}"
        make_unet(in_channels=in_channels).save_pretrained(folder / "unet")
        make_vae().save_pretrained(folder / "vae")
        status, model, printed = import_weights("diffusers", folder)
        assert status == 0, printed
        return ["--model", str(model.rename(folder / "model.pt")), "--overlay", str(overlay), "--bundle", str(bundle)]

    return build


def _rows(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def test_imported_rivals_and_a_text_only_baseline_join_the_table(imported, work, models, capsys):
    few = ["--steps", "2", "--work", str(work)]
    pix2pix, diffusion = imported(8), imported(4)
    assert main(["sample", *few, "--system", "instruct-pix2pix", *pix2pix]) == 0
    assert main(["sample", *few, "--system", "stable-diffusion", "--text-only", *diffusion]) == 0
    assert not (work / "samples").exists()
    assert main(["evaluate", "--work", str(work), "--models", str(models), "--bootstrap", "0"]) == 0
    content = json.loads((work / "metrics.json").read_text())
    systems = {system["name"]: system for system in content["systems"]}
    assert list(systems) == ["copy-prior", "real reference", "instruct-pix2pix", "stable-diffusion"]
    assert systems["instruct-pix2pix"]["made_by"]["model"] != systems["stable-diffusion"]["made_by"]["model"]
    assert systems["stable-diffusion"]["made_by"]["prior"] == "none"
    assert all(not system["failures"] for system in systems.values())
    assert systems["instruct-pix2pix"]["metrics"]["kl"]["overall"]["count"] == 2


def test_text_only_sees_the_impression_and_no_prior_image(imported, work, monkeypatch):
    from biomedjourney_monai.generation.model import CounterfactualModel

    seen, original = [], CounterfactualModel.draw

    def draw(model, priors, descriptions, seeds, **more):
        seen.append((priors, descriptions, model.sampler.keep_unchanged))
        return original(model, priors, descriptions, seeds, **more)

    monkeypatch.setattr(CounterfactualModel, "draw", draw)
    line = ["sample", "--work", str(work), "--steps", "2", *imported(8)]
    assert main([*line, "--system", "text-only", "--text-only"]) == 0
    assert main([*line, "--system", "with-prior"]) == 0
    prefixed = ["--text-only", "--prompt-prefix", "a photo of chest x-ray"]
    assert main([*line, "--system", "stable-diffusion", *prefixed]) == 0
    (priors, descriptions, kept), (_, _, kept_with_prior), (_, prompts, _) = seen
    assert prompts == [f"a photo of chest x-ray {text}" for text in descriptions]
    assert (kept, kept_with_prior) == (0.0, 0.1)
    assert np.allclose(priors, DUMMY_GREY)
    assert descriptions == ["New small left pleural effusion.", "Small left effusion."]  # the first has no impression
    rows = _rows(work / "baselines" / "text-only")
    assert [row["file"] for row in rows] == [f"baselines/text-only/j00000{n}.png" for n in range(2)]
    assert (work / rows[0]["file"]).is_file()


@pytest.mark.parametrize(
    "more, message",
    [
        (["--text-only"], "--system text-only"),
        (["--system", "t", "--text-only", "--keep-unchanged", "0.1"], "no prior whose pixels could be kept"),
        (["--system", "t", "--prompt-prefix", "a photo"], "--prompt-prefix goes with --text-only"),
        (["--system", "../samples"], "letters, digits"),
        (["--system", ""], "letters, digits"),
    ],
)
def test_mistakes_are_one_line(work, bundle, capsys, more, message):
    assert main(["sample", "--work", str(work), "--bundle", str(bundle), *more]) == 2
    assert message in capsys.readouterr().err


def test_a_system_of_one_image_is_refused(capsys):
    line = ["sample", "--prior", "x.png", "--description", "New edema.", "--out", "y.png", "--system", "rival"]
    assert main(line) == 2
    assert "go with --work" in capsys.readouterr().err


def test_a_baseline_named_as_one_of_our_own_is_refused(work, models, capsys):
    (work / "baselines" / "copy-prior").mkdir(parents=True)
    assert main(["evaluate", "--work", str(work), "--models", str(models)]) == 2
    assert "its own name" in capsys.readouterr().err


def test_a_folder_of_pictures_in_baselines_is_scored_too(work, models):
    from biomedjourney_monai.radiographs import save_png

    for n in range(2):
        save_png(work / "baselines" / "rival" / f"j{n:06}.png", np.random.default_rng(n).random((SIZE, SIZE)))
    assert main(["evaluate", "--work", str(work), "--models", str(models), "--bootstrap", "0"]) == 0
    systems = json.loads((work / "metrics.json").read_text())["systems"]
    assert systems[-1]["name"] == "rival"
    assert systems[-1]["metrics"]["kl"]["overall"]["count"] == 2
