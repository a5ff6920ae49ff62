"""What Model Zoo's `ci/verify_bundle.py` asks of a bundle, offline."""

import copy
import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out
from PIL import Image

from biomedjourney_monai import __version__
from biomedjourney_monai.configuration import compose
from biomedjourney_monai.networks.weights.model_file import load_tensors
from biomedjourney_monai.phantom.labelled import draw_labelled

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundle"
CONFIGS = BUNDLE / "configs"
SCHEMA = Path(__file__).with_name("meta_schema.json")


@pytest.fixture(scope="module")
def metadata():
    return ConfigParser.load_config_file(str(CONFIGS / "metadata.json"))


@pytest.fixture
def chest(tmp_path):
    """A rendered radiograph, alone in its folder."""
    path = tmp_path / "priors" / "chest.png"
    path.parent.mkdir()
    Image.fromarray(draw_labelled(1, seed=0, size=128, processes=1).images[0]).save(path)
    return path


@pytest.fixture(autouse=True)
def own_excepthook(monkeypatch):
    """`initialize` sets a hook that shows errors as one line."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


@pytest.fixture
def verify(tmp_path, monkeypatch):
    """MONAI's own `verify_metadata`, with the schema already where it would be downloaded to, and no network."""

    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    shutil.copy(SCHEMA, tmp_path / "schema.json")

    def check(content):
        (tmp_path / "metadata.json").write_text(json.dumps(content))
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(tmp_path / "schema.json"))

    return check


def test_monais_own_check_takes_the_metadata(metadata, verify):
    assert metadata["schema"].endswith("/meta_schema_20240725.json")
    verify(metadata)


@pytest.mark.parametrize("key", ["task", "network_data_format", "required_packages_version"])
def test_monais_own_check_notices_what_is_missing(metadata, verify, key):
    with pytest.raises(ValueError, match="Failed validating"):
        verify({name: value for name, value in metadata.items() if name != key})


def test_monais_own_check_notices_a_tensor_without_its_shape(metadata, verify):
    broken = copy.deepcopy(metadata)
    del broken["network_data_format"]["inputs"]["image"]["spatial_shape"]
    with pytest.raises(ValueError, match="Failed validating"):
        verify(broken)


def test_monai_label_is_among_the_supported_apps(metadata):
    assert "monailabel" in metadata["supported_apps"]


def test_the_version_is_the_packages_and_in_the_changelog(metadata):
    assert metadata["version"] == __version__
    assert metadata["version"] in metadata["changelog"]


def test_the_locked_packages_are_those_of_the_metadata(metadata):
    lock = dict(re.findall(r"(?m)^([\w.-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text()))
    named = {**metadata["required_packages_version"], "monai": metadata["monai_version"]}
    named |= {"torch": metadata["pytorch_version"], "numpy": metadata["numpy_version"]}

    def plain(name):
        return name.lower().replace("_", "-")

    lock = {plain(name): version for name, version in lock.items()}
    assert {plain(name): version for name, version in named.items()}.items() <= lock.items()
    project = (ROOT / "pyproject.toml").read_text()
    core = re.search(r"(?s)\ndependencies = \[(.*?)\n\]", project)[1]
    assert {plain(name) for name in named} == {plain(name) for name in re.findall(r'"([\w-]+)', core)}


@pytest.mark.parametrize(
    "file", ["LICENSE", "configs/metadata.json", "configs/inference.yaml", "docs/data_license.txt"]
)
def test_the_files_that_the_zoo_wants_are_there(file):
    assert (BUNDLE / file).is_file()


def test_the_licence_is_apache_2_and_the_same_for_code_and_bundle():
    text = (BUNDLE / "LICENSE").read_text()
    assert text == (ROOT / "LICENSE").read_text()
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert all(f"\n   {n}. " in text for n in range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in text


def test_no_file_is_over_25_megabytes():
    large = [path.name for path in BUNDLE.rglob("*") if path.is_file() and path.stat().st_size > 25e6]
    assert large == []


def test_the_shortest_weights_file_is_the_model():
    """MONAI Label loads the `*.pt` of the shortest name into network_def."""
    names = sorted((path.name for path in (BUNDLE / "models").glob("*.pt")), key=len)
    assert all(len(name) > len("model.pt") for name in names if name != "model.pt")


def test_network_def_takes_and_gives_what_the_metadata_says():
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(CONFIGS / "metadata.json"),
        config_file=str(CONFIGS / "inference.yaml"),
        device="cpu",
        bundle_root=str(BUNDLE),
        **{"sampler#steps": 1},
    )


def test_the_model_file_loads_strictly_with_torch_alone():
    """As MONAI's `load` and `CheckpointLoader` do, though the file leaves the text encoder in its folder."""
    generator = compose(CONFIGS / "common.yaml", {"bundle_root": str(BUNDLE)}).get_parsed_content("generator")
    state = load_tensors(BUNDLE / "models" / "model.pt")[0]
    before = generator.text_encoder.state_dict()
    for content in (state, torch.load(BUNDLE / "models" / "model.pt", weights_only=True)):
        generator.denoiser.text_projection.bias.data.zero_()
        generator.load_state_dict(content, strict=True)
    assert torch.equal(generator.denoiser.text_projection.bias, state["denoiser.text_projection.bias"].float())
    assert all(torch.equal(value, before[name]) for name, value in generator.text_encoder.state_dict().items())
    with pytest.raises(RuntimeError, match="text_projection"):
        generator.load_state_dict({name: value for name, value in state.items() if "text_projection" not in name})


@pytest.mark.slow
def test_the_export_to_torchscript_by_the_zoos_own_call_makes_the_same_counterfactual(tmp_path):
    """No key of the weights, no tracing, no shape is named: for one image at a time, with the default description."""
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(BUNDLE / "models" / "model.pt"),
        meta_file=str(CONFIGS / "metadata.json"),
        config_file=str(CONFIGS / "inference.yaml"),
        bundle_root=str(BUNDLE),
        **{"sampler#steps": 1},
    )
    parser = compose(CONFIGS / "common.yaml", {"bundle_root": str(BUNDLE), "sampler": {"steps": 1}})
    generator = parser.get_parsed_content("generator").eval()
    generator.load(BUNDLE / "models" / "model.pt")
    image = torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(torch.jit.load(tmp_path / "model.ts")(image), generator(image), atol=1e-5)


@pytest.mark.slow
def test_a_copy_outside_the_repository_makes_a_counterfactual(tmp_path, chest):
    bundle = shutil.copytree(BUNDLE, tmp_path / "zoo" / "biomedjourney")
    command = [
        sys.executable,
        "-m",
        "monai.bundle",
        "run",
        "inference",
        "--prior",
        str(chest),
        "--sampler#steps",
        "1",
    ]
    command += ["--config_file", str(bundle / "configs" / "inference.yaml"), "--output_dir", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list((tmp_path / "out").rglob("*.png"))) == 1


def _missing_properties(config, kind, **overrides):
    workflow = ConfigWorkflow(
        config_file=str(CONFIGS / config),
        workflow_type=kind,
        logging_file=False,
        bundle_root=str(BUNDLE),
        **overrides,
    )
    workflow.initialize()
    return workflow.check_properties()


def test_inference_has_monais_properties(chest, small_model):
    overrides = {"denoiser#channels": [32, 32, 32], "denoiser#num_head_channels": [0, 32, 32]}
    folder = str(chest.parent)
    assert (
        _missing_properties("inference.yaml", "inference", dataset_dir=folder, checkpoint=str(small_model), **overrides)
        == []
    )


def test_training_has_monais_properties(latent_work):
    assert _missing_properties("train.yaml", "train", dataset_dir=str(latent_work)) == []


def test_training_of_the_autoencoder_has_monais_properties(tmp_path, picture):
    from PIL import Image

    rows = []
    for n, split in enumerate(["train"] * 40 + ["validate"]):
        Image.open(picture).resize((128, 128)).rotate(n).save(tmp_path / f"{n}.png")
        rows.append(f'{{"image": "{n}.png", "split": "{split}"}}')
    (tmp_path / "singles.jsonl").write_text("\n".join(rows))
    assert _missing_properties("train_autoencoder.yaml", "train", dataset_dir=str(tmp_path), fit_images=40) == []


def test_a_copy_of_the_bundle_anywhere_is_a_bundle(tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(BUNDLE / "configs", copy / "configs")
    parser = ConfigParser(ConfigParser.load_config_file(str(copy / "configs" / "inference.yaml")))
    parser["bundle_root"] = str(copy)
    parser.parse()
    assert parser.get_parsed_content("checkpoint") == f"{copy}/models/model.pt"
