"""What Model Zoo's `ci/verify_bundle.py` asks of a bundle, offline."""

import re
import shutil
import sys
from pathlib import Path

import jsonschema
import pytest
from monai.bundle import ConfigParser, ConfigWorkflow, verify_net_in_out

from biomedjourney_monai import __version__

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundle"
CONFIGS = BUNDLE / "configs"

TENSOR = {
    "type": "object",
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
    "properties": {
        "type": {"type": "string"},
        "format": {"type": "string"},
        "dtype": {"type": "string"},
        "num_channels": {"type": "integer"},
        "spatial_shape": {"type": "array", "items": {"type": ["string", "integer"]}},
        "value_range": {"type": "array", "items": {"type": "number"}},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object"},
    },
}
ARGUMENTS = {"type": "object", "additionalProperties": {"anyOf": [{"type": ["number", "string", "boolean"]}, TENSOR]}}
TEXTS = ("schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors")
SCHEMA = {
    "type": "object",
    "required": [*TEXTS, "copyright", "required_packages_version", "network_data_format"],
    "properties": {
        **{name: {"type": "string"} for name in (*TEXTS, "copyright", "data_source", "data_type", "intended_use")},
        **{name: {"type": "object"} for name in ("changelog", "required_packages_version", "supported_apps")},
        "references": {"type": "array", "items": {"type": "string"}},
    },
    "patternProperties": {
        "^[_a-zA-Z0-9]+_data_format$": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {"inputs": ARGUMENTS, "outputs": ARGUMENTS},
        }
    },
}
"""The rules of meta_schema_20240725.json, which `verify_metadata` downloads from the URL in metadata.json."""


@pytest.fixture(scope="module")
def metadata():
    return ConfigParser.load_config_file(str(CONFIGS / "metadata.json"))


@pytest.fixture(autouse=True)
def own_excepthook(monkeypatch):
    """`initialize` sets a hook that shows errors as one line."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


def test_metadata_follows_the_schema(metadata):
    assert metadata["schema"].endswith("/meta_schema_20240725.json")
    jsonschema.validate(metadata, SCHEMA)


@pytest.mark.parametrize("key", ["task", "network_data_format", "required_packages_version"])
def test_the_schema_notices_what_is_missing(metadata, key):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({name: value for name, value in metadata.items() if name != key}, SCHEMA)


def test_the_version_is_the_packages_and_in_the_changelog(metadata):
    assert metadata["version"] == __version__
    assert metadata["version"] in metadata["changelog"]
    assert metadata["required_packages_version"]["biomedjourney_monai"] == __version__


def test_the_locked_packages_are_those_of_the_metadata(metadata):
    lock = dict(re.findall(r"(?m)^([\w.-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text()))
    named = {**metadata["required_packages_version"], "monai": metadata["monai_version"]}
    named |= {"torch": metadata["pytorch_version"], "numpy": metadata["numpy_version"]}
    named.pop("biomedjourney_monai")
    lock = {name.lower().replace("_", "-"): version for name, version in lock.items()}

    def numbers(version):
        return [int(part) for part in re.findall(r"\d+", version)]

    older = [
        name for name, version in named.items() if numbers(lock[name.lower().replace("_", "-")]) < numbers(version)
    ]
    assert older == []


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


def test_inference_has_monais_properties(picture, small_model):
    overrides = {"denoiser#channels": [32, 32, 32], "denoiser#num_head_channels": [0, 32, 32]}
    folder = str(picture.parent)
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
