"""Inference over a folder of DICOM, NIfTI and PNG, and that every way to ask makes the same counterfactual."""

import copy
import csv
import logging
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from PIL import Image

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.errors import BiomedJourneyError, ConfigError
from biomedjourney_monai.networks.weights.model_file import load_tensors, save_tensors
from biomedjourney_monai.radiographs.read.pixels import read_pixels

BUNDLE = Path(__file__).parents[2] / "bundle"
SMALL = {"channels": [32, 32, 32], "num_head_channels": [0, 32, 32]}
TEXT = "New large left pleural effusion."
SECRETS = ("DOE", "JANE", "MRN12345", "19500102", "ACC77", "effusion", "1.2.826.0.1.3680043.8.498")


@pytest.fixture
def parser(small_model):
    """Builds the inference config with the small model, as MONAI's `run` does after `initialize`, or unloaded."""

    def build(*, loaded=True, **settings):
        parser = ConfigParser()
        parser.read_config(str(BUNDLE / "configs" / "inference.yaml"))
        parser["bundle_root"], parser["checkpoint"] = str(BUNDLE), str(small_model)
        parser["denoiser"], parser["sampler"] = SMALL, {"steps": 2}
        for key, value in settings.items():
            parser[key] = value if value is None or isinstance(value, bool) else str(value)
        if loaded:
            network = parser.get_parsed_content("network_def")
            network.load(small_model)
            network.speed_up("float32")
        return parser

    return build


@pytest.fixture
def run(parser, tmp_path):
    """Runs the folder `priors`; the outcome of each row, by the table that is written."""

    def run(out="out", **settings):
        config = parser(dataset_dir=tmp_path / "priors", output_dir=tmp_path / out, **settings)
        config.get_parsed_content("folder_run").run(config.get_parsed_content("evaluator"))
        with (tmp_path / out / "results.csv").open() as stream:
            return [(row["outcome"], row["file"]) for row in csv.DictReader(stream)]

    return run


@pytest.fixture
def priors(tmp_path, picture, dicom_chest):
    """The same picture as PNG, as NIfTI that is turned, and as DICOM; a broken file; one without a row."""
    folder = tmp_path / "priors"
    folder.mkdir()
    pixels = np.asarray(Image.open(picture))
    (folder / "a.png").write_bytes(picture.read_bytes())
    affine = np.array([[0.5, 0, 0, -10], [0, 0, 1, 3], [0, 0.5, 0, 7], [0, 0, 0, 1.0]])  # right and upwards
    nibabel.Nifti1Image(np.flip(pixels).T[:, :, None].astype(np.uint8), affine).to_filename(folder / "b.nii.gz")
    stored = pixels.astype("<u2") * 16
    (folder / "DOE_JANE.dcm").write_bytes(
        dicom_chest(pixels / 255, PixelData=stored.tobytes(), Rows=pixels.shape[0], Columns=pixels.shape[1])
    )
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "unnamed.png").write_bytes(picture.read_bytes())
    return folder


def write_table(folder, *rows):
    (folder / "descriptions.csv").write_text("prior,description,seed\n" + "".join(f"{row}\n" for row in rows))


def test_a_bad_file_is_counted_by_its_reason_and_ends_nothing(run, priors, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    rows = (f"a.png,{TEXT},3", f"bad.png,{TEXT},", f"DOE_JANE.dcm,{TEXT},3", "a.png,,", f"../priors/a.png,{TEXT},")
    write_table(priors, *rows)
    small = np.asarray(Image.open(priors / "a.png").resize((64, 76)))
    Image.fromarray(small).save(priors / "unnamed.png")  # too small for the mark, but has no row
    assert run(output_format="prior") == [
        ("made", "counterfactual-0000.png"),
        ("unknown image format", ""),
        ("made", "counterfactual-0002.dcm"),
        ("empty_description", ""),
        ("image file missing", ""),
        ("no_description", ""),
        ("no_description", ""),
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "counterfactual-0000.png",
        "counterfactual-0002.dcm",
        "results.csv",
    ]
    told = capfd.readouterr()
    said = caplog.text + told.out + told.err + (tmp_path / "out" / "results.csv").read_text()
    assert "2 made, 0 kept, 5 refused" in said
    assert not [secret for secret in SECRETS if secret in said]


def test_the_same_command_goes_on_where_it_stopped(run, priors, tmp_path):
    write_table(priors, f"a.png,{TEXT},3", f"b.nii.gz,{TEXT},3", f"DOE_JANE.dcm,{TEXT},3", "a.png,Edema.,")
    first = run(output_format="prior")
    files = [tmp_path / "out" / file for _, file in first[:4]]
    whole = [path.read_bytes() for path in files]
    files[1].unlink()
    files[2].write_bytes(whole[2][:3000])
    assert [outcome for outcome, _ in run(output_format="prior")[:4]] == ["kept", "made", "made", "kept"]
    assert [path.read_bytes() for path in files] == whole
    assert [outcome for outcome, _ in run(output_format="prior")[:4]] == ["kept"] * 4
    write_table(priors, f"a.png,{TEXT},4", f"b.nii.gz,{TEXT},3", f"DOE_JANE.dcm,{TEXT},3", "a.png,Clear.,")
    assert [outcome for outcome, _ in run(output_format="prior")[:4]] == ["made", "kept", "kept", "made"]


def test_what_a_run_made_is_no_prior_of_the_next_unless_forced(run, priors, tmp_path):
    write_table(priors, f"a.png,{TEXT},3")
    assert run()[0] == ("made", "counterfactual-0000.png")
    (tmp_path / "out" / "counterfactual-0000.png").rename(priors / "made.png")
    write_table(priors, f"made.png,{TEXT},3", f"a.png,{TEXT},3")
    assert [outcome for outcome, _ in run()[:2]] == ["counterfactual", "made"]
    assert [outcome for outcome, _ in run(force=True)[:2]] == ["made", "kept"]
    with Image.open(tmp_path / "out" / "counterfactual-0000.png") as made:
        assert "counterfactual" in made.text["overruled"]


def test_weights_of_another_resolution_are_refused_before_they_are_loaded(parser, small_model, tmp_path):
    state, info = load_tensors(small_model)
    save_tensors(tmp_path / "other.pt", state, info={**info, "image_size": 64})
    with pytest.raises(RuntimeError) as raised:  # MONAI's, around ours
        parser(loaded=False, checkpoint=tmp_path / "other.pt").get_parsed_content("initialize")
    assert raised.value.__cause__.reason == "wrong_resolution"


def test_an_interrupted_run_keeps_what_it_made_and_says_so(parser, priors, tmp_path):
    write_table(priors, f"a.png,{TEXT},3", f"a.png,{TEXT},4")
    config = parser(dataset_dir=priors, output_dir=tmp_path / "out")
    folder_run = config.get_parsed_content("folder_run")

    class Interrupted:
        def run(self):
            data = folder_run.datalist()[0]
            data["pred"] = MetaTensor(torch.rand(1, 190, 160), meta={"number": 0})
            folder_run.save(data)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder_run.run(Interrupted())
    lines = (tmp_path / "out" / "results.csv").read_text().splitlines()
    assert lines[1:3] == ["1,made,counterfactual-0000.png,", "2,not tried,,"]


def test_nothing_usable_is_an_error_and_so_is_the_priors_own_folder(run, priors, tmp_path):
    write_table(priors, f"bad.png,{TEXT},", "nowhere.png,x,")
    with pytest.raises(ConfigError, match="1 unknown image format"):
        run()
    for settings, words in (
        ({"out": "priors"}, "must be another folder; found the priors' folder"),
        ({"output_format": "x"}, "format"),
    ):
        with pytest.raises(RuntimeError) as raised:  # MONAI's, around ours
            run(**settings)
        assert isinstance(raised.value.__cause__, BiomedJourneyError)
        assert words in str(raised.value.__cause__)


def by_command_line(prior, out, small_model, tmp_path, *more):
    overlay = tmp_path / "small.yaml"
    overlay.write_text("denoiser:\n  channels: [32, 32, 32]\n  num_head_channels: [0, 32, 32]\n")
    words = ["sample", "--prior", prior, "--description", TEXT, "--seed", 3, "--steps", 2, "--out", out]
    words += ["--bundle", BUNDLE, "--model", small_model, "--overlay", overlay, *more]
    assert main(list(map(str, words))) == 0
    return out


def by_monai_label(config, small_model, prior):
    """The config's parts in the server's order, its weights loaded as the server loads them."""
    network = copy.deepcopy(config.get_parsed_content("network_def"))
    network.load_state_dict(load_tensors(small_model)[0], strict=False)
    data = {"image": str(prior), "description": "the bundle's own", "progression_description": TEXT, "seed": 3}
    for transform in config.get_parsed_content("pre_transforms"):
        data = transform(data)
    data["pred"] = config.get_parsed_content("inferer")(data["image"][None], network.eval())[0]
    for transform in config.get_parsed_content("post_transforms"):
        data = transform(data)
    return Path(data["pred"])


def test_without_detail_every_way_and_format_makes_the_same_counterfactual(run, parser, priors, small_model, tmp_path):
    write_table(priors, f"a.png,{TEXT},3", f"b.nii.gz,{TEXT},3", f"DOE_JANE.dcm,{TEXT},3")
    in_folder = [tmp_path / "out" / file for _, file in run(output_format="prior", detail="none")[:3]]
    config = parser(loaded=False, detail="none")
    served = [by_monai_label(config, small_model, priors / name) for name in ("a.png", "b.nii.gz", "DOE_JANE.dcm")]
    typed = [
        by_command_line(priors / name, tmp_path / out, small_model, tmp_path, "--detail", "none")
        for name, out in (("a.png", "a.png"), ("b.nii.gz", "b.png"), ("DOE_JANE.dcm", "c.dcm"))
    ]
    try:
        expected = read_pixels(typed[0])
        assert expected.std() > 10
        for path in (*in_folder, *served, *typed):
            assert np.array_equal(read_pixels(path), expected), path.suffix
        assert in_folder[0].read_bytes() == typed[0].read_bytes()  # what they say of themselves too
        assert in_folder[2].read_bytes() == typed[2].read_bytes()
        told = [pydicom.dcmread(path).SOPInstanceUID for path in (in_folder[2], served[2], typed[2])]
        assert len(set(told)) == 1
    finally:
        for path in served:
            path.unlink()


def test_warnings_have_a_column_and_what_cannot_be_drawn_leaves_the_prior(run, priors, tmp_path):
    write_table(priors, f"a.png,{TEXT},3", "b.nii.gz,New rib fracture.,")
    (priors / "DOE_JANE.dcm").unlink()
    assert run()[:2] == [("made", "counterfactual-0000.png"), ("made", "counterfactual-0001.png")]
    with (tmp_path / "out" / "results.csv").open() as stream:
        codes = [row["warnings"].split() for row in csv.DictReader(stream)]
    assert set(codes[0]) <= {"nothing_changed", "finding_not_seen", "finding_not_asked_for"}
    assert "cannot_draw" in codes[1]
    with Image.open(tmp_path / "out" / "counterfactual-0001.png") as made:
        assert made.text["drawn"] == "nothing"
