import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney_monai import configuration
from biomedjourney_monai.configuration import (
    as_config_text,
    compose,
    config_files,
    locate_root,
    overrides,
    refuse_unknown_overrides,
)
from biomedjourney_monai.errors import ConfigError

MONAI = "/venv/lib/monai/bundle/__main__.py"
NAMES = st.text(st.sampled_from("abcXYZ019_-./ "), min_size=1, max_size=12).map(str.strip).filter(bool)


@pytest.fixture
def root(tmp_path):
    """A bundle folder with a tiny config."""
    configs = tmp_path / "bundle" / "configs"
    configs.mkdir(parents=True)
    (configs / "metadata.json").write_text("{}")
    (configs / "common.yaml").write_text(
        "size: 8\nscale: 1.0\nsampler:\n  steps: 10\n  inner: {low: 1, high: 2}\n  list: [1, 2]\nhidden:\n  secret: 1\n"
    )
    (configs / "train.yaml").write_text(
        "learning_rate: 0.1\nsampler: {seed: 0}\ntrain:\n  handlers:\n    - name: first\n    - name: second\n"
        "training: []\n"
    )
    (configs / "pretrain.yaml").write_text("stage: pretrain\n")
    return tmp_path / "bundle"


def refuse(root, *options, files=("train.yaml",)):
    listed = "[" + ",".join(f"'{root / 'configs' / name}'" for name in files) + "]"
    arguments = [MONAI, "run", "training", "--config_file", listed, *options]
    refuse_unknown_overrides(root, arguments=arguments)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--learning_rate", "0.2"],
        ["--learning_rate=-0.5"],
        ["--learning_rate", "-0.5"],
        ["--sampler#steps", "3"],
        ["--sampler::inner::low", "3"],
        ["--sampler#seed", "3"],
        ["--+sampler", "{}"],
        ["--train#handlers#1#name", "x"],
        ["--run_id", "training", "--logging_file", "x"],
        ["--tracking", "mlflow", "--experiment_name", "x"],
        ["--learning_rate", "$None"],
    ],
)
def test_known_overrides_pass(root, options):
    refuse(root, *options)


@pytest.mark.parametrize(
    ("options", "nearest"),
    [
        (["--learning_rte", "0.2"], "--learning_rate"),
        (["--learning-rate=0.2"], "--learning_rate"),
        (["-learning_rte", "0.2"], "--learning_rate"),  # Fire takes one dash too
        (["--sampler#step", "3"], "--sampler#steps"),
        (["--sampler#inner#hihg", "3"], "--sampler#inner#high"),
        (["--train#handlers#2#name", "x"], "--train#handlers#"),
        (["--config_fil", "x"], "--config_file"),
    ],
)
def test_a_misspelt_override_is_refused_with_the_nearest_name(root, options, nearest):
    with pytest.raises(ConfigError) as error:
        refuse(root, *options)
    assert f"Did you mean {nearest}" in str(error.value)


@pytest.mark.parametrize("option", ["--hidden#secret", "--stage", "--experiment_name", "--qqqqqqqqqqqqqqqq"])
def test_what_the_running_config_does_not_read_is_refused(root, option):
    with pytest.raises(ConfigError, match="must name a key"):
        refuse(root, option, "1")


def test_an_overlay_brings_its_keys(root):
    refuse(root, "--stage", "finetune", files=("train.yaml", "pretrain.yaml"))


@pytest.mark.parametrize("named", [["run", "trainig"], ["run", "--run_id", "trainig"], ["run", "--run_id=trainig"]])
def test_a_run_that_no_config_has_is_refused_with_the_nearest(root, named):
    files = ["--config_file", str(root / "configs" / "train.yaml")]
    with pytest.raises(ConfigError, match=r"found trainig\. Did you mean training"):
        refuse_unknown_overrides(root, arguments=[MONAI, *named, *files])


@pytest.mark.parametrize(("value", "fate"), [("None", "ignores"), ("null", "takes for a word")])
def test_an_override_of_nothing_that_monai_does_not_take_is_refused(root, value, fate):
    with pytest.raises(ConfigError, match=rf"--learning_rate {value}, which MONAI {fate}.*'\$None'"):
        refuse(root, "--learning_rate", value)


def test_another_command_line_is_left_alone(root):
    refuse_unknown_overrides(root, arguments=["pytest", "--config_file", "x", "--anything", "1"])
    refuse_unknown_overrides(root, arguments=[MONAI, "run", "--anything", "1"])  # MONAI itself says what it misses


@given(key=st.text(st.sampled_from("abcdefghij_#"), min_size=3, max_size=15).filter(lambda key: key.strip("#_")))
def test_no_unknown_key_passes(tmp_path_factory, key):
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "configs").mkdir()
    (folder / "configs" / "common.yaml").write_text("size: 8\n")
    (folder / "configs" / "train.yaml").write_text("learning_rate: 1\ntraining: []\n")
    with pytest.raises(ConfigError):
        refuse(folder, f"--{key}", "1")


@pytest.mark.parametrize(
    ("given_", "files"),
    [
        (["--config_file", "a.yaml"], ["a.yaml"]),
        (["--config_file=a.yaml"], ["a.yaml"]),
        (["--config_file", "['a b.yaml', \"c.yaml\"]"], ["a b.yaml", "c.yaml"]),
        (["--config_file", "(a.yaml,b.yaml)"], ["a.yaml", "b.yaml"]),
        (["--config_file"], []),
        (["--config_files", "a.yaml"], []),
    ],
)
def test_config_files_are_read_as_monai_reads_them(given_, files):
    assert config_files(["run", *given_]) == files


@given(names=st.lists(NAMES, min_size=1, max_size=4))
def test_a_list_of_config_files_comes_back(names):
    assert config_files(["run", "--config_file", str(names)]) == names


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        ("run --a 1 --b=2 -c 3", [("a", "1"), ("b", "2"), ("c", "3")]),
        ("run --a -0.5 --b -x 1", [("a", "-0.5"), ("b", "True"), ("x", "1")]),
        ("run training --resume", [("resume", "True")]),
        ("run --a=b=c --x#y z", [("a", "b=c"), ("x#y", "z")]),
        ("--program --a", [("a", "True")]),
    ],
)
def test_overrides_are_read_as_fire_reads_them(line, pairs):
    assert overrides(line.split()) == pairs


@pytest.mark.parametrize("name", ["work", "a b", "a #b", "%4 #2?", "@x#y", "it's #1", "$x", "ü#ñ 😀", "back\\slash#"])
def test_a_path_passes_fire_and_monai_as_it_is(tmp_path, monkeypatch, name):
    from fire.parser import DefaultParseValue
    from monai.bundle import ConfigParser

    monkeypatch.chdir(tmp_path)
    given_ = DefaultParseValue(as_config_text(name))
    parser = ConfigParser(
        {"one": given_, "latents": "$@one + '/latents'", "several": [given_], "first": "$@several[0]"}
    )
    assert parser.get_parsed_content("latents") == f"{tmp_path}/{name}/latents"
    assert parser.get_parsed_content("first") == f"{tmp_path}/{name}"


def test_sections_are_laid_over_common(root):
    common = root / "configs" / "common.yaml"
    parser = compose(common, {"sampler": {"inner": {"high": 5}, "list": [7]}, "size": 16})
    assert parser.get("sampler") == {"steps": 10, "inner": {"low": 1, "high": 5}, "list": [7]}
    assert (parser.get("size"), parser.get("scale")) == (16, 1.0)
    assert compose(common, {"sampler": {}}).get("sampler") == compose(common).get("sampler")


def test_sections_do_not_share_what_they_were_given(root):
    changes = {"sampler": {"list": [7]}}
    compose(root / "configs" / "common.yaml", changes).get("sampler")["list"].append(8)
    assert changes == {"sampler": {"list": [7]}}


def test_an_overlays_addresses_are_sections_too(tmp_path):
    common, overlay = tmp_path / "common.yaml", tmp_path / "overlay.yaml"
    common.write_text("denoiser: {channels: [8], norm: {groups: 2, eps: 1}}\nsampler: {steps: 5}\n")
    overlay.write_text(
        "denoiser#channels: [16]\ndenoiser: {norm: {groups: 4}}\ndenoiser::norm::eps: 2\nsampler#steps: 3\nseed#x: 1\n"
    )
    changes = configuration.read_overlay(overlay, common)
    assert changes == {"denoiser": {"channels": [16], "norm": {"groups": 4, "eps": 2}}, "sampler": {"steps": 3}}


@pytest.mark.parametrize(
    ("changes", "nearest"),
    [
        ({"samplr": {}}, "--sampler"),
        ({"sampler": {"step": 1}}, "--sampler#steps"),
        ({"sampler": {"inner": {"lo": 1}}}, "--sampler#inner#low"),
    ],
)
def test_an_unknown_section_or_key_is_refused(root, changes, nearest):
    with pytest.raises(ConfigError, match=f"Did you mean {nearest}"):
        compose(root / "configs" / "common.yaml", changes)


@pytest.mark.parametrize("content", [None, "a: [", "- 1\n"])
def test_a_broken_config_file_is_one_error(tmp_path, content):
    if content is not None:
        (tmp_path / "common.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"common\.yaml must"):
        compose(tmp_path / "common.yaml")


def test_the_root_is_the_config_files_bundle(root, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [MONAI, "run", "--config_file", str(root / "configs" / "train.yaml")])
    monkeypatch.chdir(tmp_path)
    assert locate_root() == str(root)


@pytest.mark.parametrize("inside", [True, False])
def test_a_bundle_of_the_current_folder_is_not_taken_because_it_is_code(root, bundle, monkeypatch, inside):
    monkeypatch.setattr(sys, "argv", ["biomedjourney"])
    monkeypatch.chdir(root if inside else root.parent)
    assert locate_root() == str(bundle)


def test_the_root_of_a_package_inside_a_bundle_is_that_bundle(root, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["biomedjourney"])
    monkeypatch.setattr(configuration, "__file__", str(root / "package" / "configuration.py"))
    monkeypatch.chdir(tmp_path)
    assert locate_root() == str(root)


def test_the_root_of_an_installed_package_is_the_bundle_inside_it(root, tmp_path, monkeypatch):
    package, elsewhere = tmp_path / "site" / "package", tmp_path / "elsewhere"
    package.mkdir(parents=True)
    shutil.move(root, package / "_bundle")
    elsewhere.mkdir()
    monkeypatch.setattr(sys, "argv", ["biomedjourney"])
    monkeypatch.setattr(configuration, "__file__", str(package / "configuration.py"))
    monkeypatch.chdir(elsewhere)
    assert locate_root() == str(package / "_bundle")


def test_without_any_bundle_the_root_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["biomedjourney"])
    monkeypatch.setattr(configuration, "__file__", str(tmp_path / "package" / "configuration.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="--bundle_root"):
        locate_root()


def test_an_error_deep_inside_monai_is_shown_as_one_line():
    script = (
        "from biomedjourney_monai.configuration import errors_as_one_line\n"
        "from biomedjourney_monai.errors import ConfigError\n"
        "errors_as_one_line()\n"
        "try:\n    raise ConfigError('rule', found='x')\n"
        "except ConfigError as error:\n    raise RuntimeError('around it') from error\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "error: rule; found x.\n"
    missing = script.replace("raise ConfigError('rule', found='x')", "import mlflow.nothing")
    missing = missing.replace("except ConfigError", "except ImportError")
    done = subprocess.run([sys.executable, "-c", missing], capture_output=True, text=True, timeout=60)
    assert 'pip install "biomedjourney_monai[train]"' in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    other = script.replace("raise ConfigError('rule', found='x')", "raise ValueError('own bug')")
    other = other.replace("except ConfigError", "except ValueError")
    assert "Traceback" in subprocess.run([sys.executable, "-c", other], capture_output=True, text=True).stderr
