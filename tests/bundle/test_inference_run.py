"""Inference through the command line, and through the parts of the config that MONAI Label reads."""

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from biomedjourney_monai.networks.weights.model_file import load_tensors
from biomedjourney_monai.radiographs import load_radiograph

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "bundle" / "configs"


@pytest.fixture(scope="module")
def run(tmp_path_factory, run_bundle, picture, small_model, small_denoiser):
    """Two steps on one picture, from the command line: the finished process and the output folder."""
    out = tmp_path_factory.mktemp("out")
    files = ["--prior", picture, "--checkpoint", small_model, "--output_dir", out]
    texts = ["--description", "New large left pleural effusion."]
    return run_bundle("inference", "inference.yaml", *files, *texts, "--sampler#steps", 2, *small_denoiser), out


def test_inference_writes_one_marked_picture_of_the_priors_size(run, picture):
    result, out = run
    assert result.returncode == 0, result.stderr[-3000:]
    assert sorted(path.name for path in out.iterdir()) == ["counterfactual-0000.png", "results.csv"]
    with Image.open(out / "counterfactual-0000.png") as image, Image.open(picture) as prior:
        assert image.size == prior.size
        assert image.mode == "L"
        assert "not for diagnosis" in image.text["Comment"].lower()
        assert image.text["progression_description"] == "New large left pleural effusion."
        assert len(image.text["model"]) == 64


def test_inference_tells_neither_file_name_nor_description(run, picture):
    result, _ = run
    assert picture.name not in result.stderr + result.stdout
    assert "effusion" not in result.stderr + result.stdout


def test_inference_refuses_a_picture_and_a_folder_at_once(run_bundle, picture, small_model, tmp_path):
    files = ["--prior", picture, "--dataset_dir", picture.parent, "--checkpoint", small_model]
    result = run_bundle("inference", "inference.yaml", *files, "--output_dir", tmp_path / "out")
    assert result.returncode != 0
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("run_id", ["run", "inference"])
def test_a_folder_gives_a_picture_for_each(run_bundle, picture, small_model, small_denoiser, tmp_path, run_id):
    priors = tmp_path / "priors"
    priors.mkdir()
    with Image.open(picture) as image:
        for n in range(3):
            image.rotate(2 * n).save(priors / f"{n}.jpg")
    files = ["--dataset_dir", priors, "--checkpoint", small_model, "--output_dir", tmp_path / "out"]
    result = run_bundle(run_id, "inference.yaml", *files, "--sampler#steps", 1, *small_denoiser)
    assert result.returncode == 0, result.stderr[-3000:]
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "content, more",
    [(b"not a picture", []), (b"", []), (None, []), (None, ["--checkpoint", "nowhere.pt"])],
    ids=["text", "empty", "missing", "no weights"],
)
def test_a_mistake_ends_with_one_line_and_leaves_nothing(
    run_bundle, tmp_path, small_model, small_denoiser, content, more
):
    prior = tmp_path / "secret-name.png"
    if content is not None:
        prior.write_bytes(content)
    files = ["--prior", prior, "--checkpoint", small_model, "--output_dir", tmp_path / "out"]
    result = run_bundle("inference", "inference.yaml", *files, *more, "--sampler#steps", 1, *small_denoiser)
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "secret-name" not in last
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def parser():
    """The config as MONAI Label reads it: no `initialize`, the bundle's root set by the reader."""
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "inference.yaml"))
    parser["bundle_root"] = str(ROOT / "bundle")
    parser["denoiser"] = {"channels": [32, 32, 32], "num_head_channels": [0, 32, 32]}
    parser["sampler"] = {"steps": 2}
    return parser


@pytest.fixture(scope="module")
def network(parser, small_model):
    """network_def with weights loaded as MONAI Label loads them."""
    network = parser.get_parsed_content("network_def")
    missing, surplus = network.load_state_dict(load_tensors(small_model)[0], strict=False)
    assert surplus == []
    assert all(name.startswith("text_encoder.") for name in missing)
    return network.eval()


def _infer(parser, network, picture, description=None):
    data = parser.get_parsed_content("preprocessing")({"image": str(picture)})
    inputs = data["image"][None]
    if description is not None:
        inputs.meta["description"] = description
    data["pred"] = parser.get_parsed_content("inferer")(inputs, network)[0]
    return data["pred"], parser.get_parsed_content("postprocessing")(data)["pred"]


def test_preprocessing_inferer_and_postprocessing_are_enough(parser, network, picture):
    square, result = _infer(parser, network, picture)
    with Image.open(picture) as prior:
        assert tuple(result.shape) == (1, prior.height, prior.width)
    assert tuple(square.shape) == (1, 128, 128)
    assert float(result.min()) >= 0 and float(result.max()) <= 1
    assert float(square.std()) > 0


def test_the_inferer_gives_what_the_generator_gives(parser, network, picture, small_generator, small_model):
    generator = small_generator(steps=2)
    generator.load(small_model)
    prior = torch.from_numpy(load_radiograph(picture, size=128))[None, None]
    expected = generator(prior, "No acute cardiopulmonary process.")[0]
    np.testing.assert_allclose(_infer(parser, network, picture)[0], expected, atol=1e-5)


def test_a_description_travels_with_the_image(parser, network, picture):
    one, _ = _infer(parser, network, picture, "New large left pleural effusion.")
    other, _ = _infer(parser, network, picture, "Unchanged.")
    assert float((one - other).abs().max()) > 0


def test_the_priors_left_stays_left(parser, picture):
    image = parser.get_parsed_content("preprocessing")({"image": str(picture)})["image"]
    apex = image[0, 64:80]  # where the heart reaches into the patient's left
    assert apex[:, 70:84].mean() > apex[:, 44:58].mean() + 0.05


SETTINGS = {
    "strength": ["--strength", 0.5],
    "init_noise": ["--init_noise", "from-prior"],
    "region": ["--region", "auto"],
    "solver": ["--sampler#solver", "unipc"],
    "steps": ["--sampler#steps", 4],
    "seed": ["--sampler#seed", 1],
    "text_guidance_scale": ["--sampler#text_guidance_scale", 1.2],
    "image_guidance_scale": ["--sampler#image_guidance_scale", 1.1],
    "description": ["--description", "Edema."],
}


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_changes_the_picture(picture, small_model, name):
    key, value = SETTINGS[name]
    plain = {"--detail": "none"}  # random weights change everything a little, which detail transfer would not show
    made = [_made_with(plain | more, picture, small_model) for more in ({}, {key: value})]
    assert not np.array_equal(*made)


def _made_with(settings, picture, small_model):
    """The pixels that the config's own parts make under the settings."""
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "inference.yaml"))
    parser["bundle_root"], parser["prior"] = str(ROOT / "bundle"), str(picture)
    parser["denoiser"] = {"channels": [32, 32, 32], "num_head_channels": [0, 32, 32]}
    parser["sampler"], parser["description"] = {"steps": 3}, "New large left pleural effusion."
    for key, value in settings.items():
        section, _, inner = key.removeprefix("--").partition("#")
        parser[section] = {**parser[section], inner: value} if inner else value
    network = parser.get_parsed_content("network_def")
    network.load(small_model)
    network.speed_up(parser.get_parsed_content("denoiser_precision"))
    (row,) = parser.get_parsed_content("datalist")
    data = parser.get_parsed_content("preprocessing")(dict(row))
    data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network.eval())[0]
    return np.asarray(parser.get_parsed_content("postprocessing")(data)["pred"])


def test_the_command_line_makes_the_same_picture(picture, small_model, tmp_path):
    from biomedjourney_monai.cli.main import main
    from biomedjourney_monai.radiographs import read_png

    overlay = tmp_path / "small.yaml"
    overlay.write_text("denoiser:\n  channels: [32, 32, 32]\n  num_head_channels: [0, 32, 32]\n")
    line = ["sample", "--prior", str(picture), "--out", str(tmp_path / "a.png"), "--model", str(small_model)]
    line += ["--description", "New large left pleural effusion.", "--steps", "3", "--seed", "7", "--region", "auto"]
    assert main([*line, "--bundle", str(ROOT / "bundle"), "--overlay", str(overlay)]) == 0
    settings = {"sampler#seed": 7, "region": "auto"}
    made = _made_with(settings, picture, small_model)[0]
    assert np.abs(read_png(tmp_path / "a.png") - made).max() <= 0.5 / 255 + 1e-6
