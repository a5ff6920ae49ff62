"""The configs hold together: every key is used, every reference and target exists, each network is defined once."""

import re
from collections.abc import Iterator
from pathlib import Path
from pydoc import locate

import pytest
from monai.bundle import ComponentLocator, ConfigParser

from biomedjourney_monai.configuration import refuse_unknown_overrides
from biomedjourney_monai.errors import ConfigError

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "bundle" / "configs"
RUNS = {
    "train.yaml": ("training", "run", "run_stage"),
    "train_autoencoder.yaml": ("training", "run"),
    "inference.yaml": ("inference", "run"),
    "evaluate.yaml": ("evaluation", "run"),
    "prepare.yaml": ("prepare", "run"),
}
STACKS = [
    *([name] for name in ("common.yaml", *RUNS)),
    ["train.yaml", "pretrain.yaml"],
    ["train.yaml", "finetune.yaml"],
    ["train.yaml", "distill.yaml"],
    ["train.yaml", "distill.yaml", "sd15.yaml", "gpu.yaml"],
    ["train.yaml", "sd15.yaml", "gpu.yaml"],
    ["train.yaml", "sd15.yaml", "gpu12.yaml"],
    ["train.yaml", "multi_gpu.yaml"],
]
LABEL_SERVER = {"pre_transforms", "post_transforms"}  # read by MONAI Label, in place of the bundle's own
READ_BY_PYTHON = {
    "common.yaml": {"bundle_root", "generator", "denoiser_precision", "autoencoder_precision", "compiled", "verbatim"},
    "train.yaml": {"initialize", "training", "run", "run_stage", "imports"},
    "train_autoencoder.yaml": {"initialize", "training", "run", "imports"},
    "inference.yaml": {"initialize", "inference", "run", "imports", *LABEL_SERVER},
    "evaluate.yaml": {"initialize", "evaluation", "run", "imports"},
    "prepare.yaml": {"initialize", "prepare", "run", "imports"},
}
REFERENCE = re.compile(r"[@%]([A-Za-z_]\w*(?:#\w+)*)")


def _load(*names: str) -> dict:
    return ConfigParser.load_config_files([str(CONFIGS / name) for name in names])


def _strings(content: object) -> Iterator[str]:
    if isinstance(content, dict):
        for value in content.values():
            yield from _strings(value)
    elif isinstance(content, list):
        for value in content:
            yield from _strings(value)
    elif isinstance(content, str):
        yield content


def _targets(content: object) -> Iterator[str]:
    if isinstance(content, dict):
        if "_target_" in content:
            yield content["_target_"]
        for value in content.values():
            yield from _targets(value)
    elif isinstance(content, list):
        for value in content:
            yield from _targets(value)


def _references(content: object) -> set[str]:
    return {name for text in _strings(content) for name in REFERENCE.findall(text)}


@pytest.mark.parametrize("names", STACKS, ids=lambda names: "+".join(names))
def test_every_reference_has_its_key(names):
    parser = ConfigParser(_load(*names))
    parser.parse()
    missing = [reference for reference in _references(parser.config) if reference not in parser]
    assert missing == []


@pytest.mark.parametrize("names", STACKS, ids=lambda names: "+".join(names))
def test_every_target_exists(names):
    locator = ComponentLocator()
    missing = [
        target
        for target in _targets(_load(*names))
        if locator.get_component_module_name(target) is None and locate(target) is None
    ]
    assert missing == []


@pytest.mark.parametrize("name", READ_BY_PYTHON)
def test_every_key_at_the_top_is_read(name):
    content = _load(name)
    more = [["pretrain.yaml"], ["finetune.yaml"], ["sd15.yaml", "gpu.yaml"]] if name == "train.yaml" else []
    read = {reference.split("#")[0] for files in [[], *more] for reference in _references(_load(name, *files))}
    assert set(content) - read - READ_BY_PYTHON[name] == set()


@pytest.mark.parametrize("overlay", ["pretrain.yaml", "finetune.yaml"])
def test_an_overlay_changes_only_what_train_yaml_has(overlay):
    assert set(_load(overlay)) <= set(_load("train.yaml"))


def test_networks_are_defined_in_common_yaml_only():
    def networks(name):
        kinds = ("biomedjourney_monai.networks.", "biomedjourney_monai.diffusion.sampler.")
        return [
            target
            for target in _targets(_load(name))
            if target.startswith((*kinds, "monai.networks.")) or target in ("AutoencoderKL", "DiffusionModelUNet")
        ]

    # autoencoder, schedule, denoiser and what it expects of a prior, text encoder, sampler, generator
    assert len(networks("common.yaml")) == 6 + 1
    assert [name for name in [*RUNS, "pretrain.yaml", "finetune.yaml"] if networks(name)] == []


@pytest.mark.parametrize("name, ids", RUNS.items())
def test_the_run_ids_exist(name, ids):
    assert set(ids) <= set(_load(name))


@pytest.mark.parametrize("name", [*RUNS, "multi_gpu.yaml"])
def test_every_run_starts_with_one_line_errors_and_refuses_unknown_overrides(name):
    assert any(step.startswith("$configuration.start_run(@bundle_root") for step in _load(name)["initialize"])


@pytest.mark.parametrize(
    ("name", "sections"),
    [
        ("train.yaml", {"autoencoder", "denoiser", "noise_scheduler", "text_encoder"}),
        ("train_autoencoder.yaml", {"autoencoder"}),
        ("inference.yaml", {"autoencoder", "denoiser", "noise_scheduler", "text_encoder", "sampler"}),
        ("evaluate.yaml", set()),
        ("prepare.yaml", set()),
    ],
)
def test_every_shared_section_can_be_overridden_key_by_key(name, sections):
    common, content = _load("common.yaml"), _load(name)
    assert {key for key in content if isinstance(common.get(key), dict)} == sections
    for section in sections:
        assert content[section] == {}
        for key in common[section]:
            arguments = ["monai.bundle", "run", "--config_file", str(CONFIGS / name), f"--{section}#{key}", "1"]
            refuse_unknown_overrides(ROOT / "bundle", arguments=arguments)


@pytest.mark.parametrize(
    "name, key, nearest",
    [
        ("train.yaml", "max_epoch", "max_epochs"),
        ("train.yaml", "denoiser#chanels", "denoiser#channels"),
        ("train.yaml", "train#trainer#epochs", "train#trainer#max_epochs"),
        ("train_autoencoder.yaml", "learning_rat", "learning_rate"),
        ("inference.yaml", "descripton", "description"),
        ("inference.yaml", "sampler#step", "sampler#steps"),
        ("evaluate.yaml", "systems", "system"),
        ("prepare.yaml", "min_scor", "min_score"),
    ],
)
def test_a_misspelt_override_names_the_nearest_key(name, key, nearest):
    arguments = ["monai.bundle", "run", "--config_file", str(CONFIGS / name), f"--{key}", "3"]
    with pytest.raises(ConfigError, match=f"Did you mean --{re.escape(nearest)}\\?"):
        refuse_unknown_overrides(ROOT / "bundle", arguments=arguments)


def test_no_config_holds_an_algorithm():
    loops = [
        text
        for name in RUNS
        for text in _strings(_load(name))
        if text.startswith("$") and re.search(r" for |while |exec\(|eval\(|open\(", text)
    ]
    assert loops == []


def test_the_image_size_is_one_number():
    metadata = ConfigParser.load_config_file(str(CONFIGS / "metadata.json"))
    size = _load("common.yaml")["image_size"]
    assert _load("inference.yaml")["image_size"] == size
    for side in ("inputs", "outputs"):
        for tensor in metadata["network_data_format"][side].values():
            assert tensor["spatial_shape"] == [size, size]
