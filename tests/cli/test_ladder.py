import json

import nibabel
import numpy as np
import pytest
from PIL import Image

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.generation.ladder import severity_ladder


@pytest.fixture
def ladder(bundle, random_model, rendered_chest, tmp_path):
    Image.fromarray(np.rint(rendered_chest * 255).astype(np.uint8)).save(tmp_path / "chest.png")

    def climb(*more):
        line = ["ladder", "--prior", str(tmp_path / "chest.png"), "--out", str(tmp_path / "out"), "--steps", "1"]
        return main([*line, "--bundle", str(bundle), "--model", str(random_model), *more])

    return climb


def test_a_ladder_writes_strip_animation_series_and_scores(ladder, tmp_path):
    assert ladder("--finding", "left pleural effusion") == 0
    out = tmp_path / "out"
    with Image.open(out / "strip.png") as strip, Image.open(out / "ladder.gif") as animation:
        assert strip.width == 4 * 180 + 3 * 4
        assert "SYNTHETIC" in strip.text["Comment"]
        assert animation.n_frames == 4
    assert nibabel.load(out / "ladder.nii.gz").shape == (180, 180, 1, 3)
    content = json.loads((out / "ladder.json").read_text())
    assert [rung["description"].split()[1] for rung in content["rungs"]] == ["small", "moderate", "large"]
    assert all(0 <= rung["scores"]["Pleural Effusion"] <= 1 for rung in content["rungs"])


def test_the_metadata_of_a_rung_name_what_the_text_encoder_got(ladder, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    assert (
        ladder("--descriptions", "New L pl eff, moderate.", "New rib fracture.", "New mild pulmonary edema.", "--dicom")
        == 0
    )
    rungs = json.loads((tmp_path / "out" / "ladder.json").read_text())["rungs"]
    assert rungs[0]["prompt"] == "New moderate left pleural effusion." and rungs[1]["drawn"] == "nothing"
    assert "prompt" not in rungs[1] | rungs[2]
    first, second, third = (str(pydicom.dcmread(tmp_path / "out" / "dicom" / f"{n:02d}.dcm")) for n in (1, 2, 3))
    assert "New moderate left pleural effusion." in first and "nothing" in second and "prompt" not in third


def test_descriptions_of_ones_own_are_the_rungs_in_their_order(ladder, tmp_path):
    (tmp_path / "rungs.txt").write_text("New mild edema.\n\nEdema has resolved.\n")
    assert ladder("--descriptions-file", str(tmp_path / "rungs.txt")) == 0
    content = json.loads((tmp_path / "out" / "ladder.json").read_text())
    assert [rung["description"] for rung in content["rungs"]] == ["New mild edema.", "Edema has resolved."]


@pytest.mark.parametrize(
    "finding, words", [("right pneumothorax", "small moderate large"), ("cardiomegaly", "mild moderate severe")]
)
def test_severities_are_called_as_reports_call_them(finding, words):
    assert severity_ladder(finding) == [f"New {word} {finding}." for word in words.split()]


@pytest.mark.parametrize("finding", ["fracture", "edema and effusion"])
def test_a_ladder_is_of_one_finding(finding):
    with pytest.raises(BiomedJourneyError, match="must name one of"):
        severity_ladder(finding)
