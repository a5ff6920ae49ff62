import json

import numpy as np
import pandas
import pytest
import torch

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.networks.weights.model_file import load_tensors, weights_hash
from biomedjourney_monai.schema import CHEXPERT_LABELS, FINDINGS, PAIR_COLUMNS

LENIENT = ["--min-psnr", "0", "--min-ssim", "-1", "--max-auroc-drop", "1"]


@pytest.fixture
def work(prepared):
    """The prepared folder with a table of six journeys on its four images, findings present in half of them."""
    rows = []
    for n in range(6):
        row = dict.fromkeys(PAIR_COLUMNS, "") | {"kept": True, "journey_id": f"j{n}", "subject_id": str(n)}
        row |= {f"{side}_{label}": np.nan for side in ("prior", "new") for label in CHEXPERT_LABELS}
        row |= {f"new_{finding}": float(n % 2) for finding in FINDINGS}
        row |= {"split": "validate", "new_image": f"images/{n % 4}.png", "race": "WHITE", "anchor_age": 50.0 + n}
        rows.append(row)
    pandas.DataFrame(rows).to_parquet(prepared / "pairs.parquet")
    return prepared


@pytest.fixture
def check(bundle, random_model, work):
    def run(*more):
        return main(
            ["check-autoencoder", "--work", str(work), "--bundle", str(bundle), "--model", str(random_model), *more]
        )

    return run


def test_the_marks_are_printed_and_written(check, tmp_path, random_model, capsys):
    assert check(*LENIENT, "--out", str(tmp_path / "marks.json")) == 0
    out = capsys.readouterr().out
    assert "reconstructions of 6 images (0 more could not be read)" in out and "MISSED" not in out
    marks = json.loads((tmp_path / "marks.json").read_text())
    assert f"PSNR {marks['psnr']:.2f} dB" in out
    assert marks["autoencoder"] == weights_hash(random_model)
    assert set(marks["originals"]) == {*FINDINGS, "pathology AUROC", "group AUROC", "age r"}


def test_a_missed_bar_is_exit_status_1(check, capsys):
    assert check("--min-psnr", "99") == 1
    assert "MISSED  PSNR at least 99 dB" in capsys.readouterr().out


def test_the_shipped_autoencoder_is_better_than_a_random_one(check, work, bundle, tmp_path, capsys):
    check("--out", str(tmp_path / "random.json"))
    check("--autoencoder", str(bundle / "models" / "model.pt"), "--out", str(tmp_path / "shipped.json"))
    random, shipped = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("random", "shipped"))
    assert shipped["psnr"] > random["psnr"] + 5


def test_an_overlay_changes_the_geometry(check, tmp_path, capsys):
    overlay = tmp_path / "wide.yaml"
    overlay.write_text("autoencoder:\n  width: 8\n")
    assert check("--overlay", str(overlay)) == 2
    assert "of another shape" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--work", "nowhere"], "pairs.parquet must exist"),
        (["--split", "test"], "kept journey in the split 'test'"),
        (["--autoencoder", "nowhere.pt"], "nowhere.pt must exist"),
        (["--judges", "nowhere"], "the judges need the weights"),
        (["--overlay", "nowhere.yaml"], "nowhere.yaml must be a readable config file"),
    ],
)
def test_wrong_arguments_are_one_line(check, capsys, more, message):
    assert check(*more) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error


def test_the_weights_of_the_model_are_those_of_its_autoencoder(random_model):
    from biomedjourney_monai.networks.autoencoder import PatchAutoencoderKL
    from biomedjourney_monai.training.first_stage import load_autoencoder

    state, _ = load_tensors(random_model)
    found = load_autoencoder(PatchAutoencoderKL(blocks=2), random_model).state_dict()
    assert all(torch.equal(value, state[f"autoencoder.{name}"].float()) for name, value in found.items())
