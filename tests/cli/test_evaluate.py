import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas
import pytest

from biomedjourney_monai.cli.evaluate import format_table
from biomedjourney_monai.cli.main import main
from biomedjourney_monai.radiographs import save_png

_PATH = Path(__file__).parents[1] / "evaluation" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("evaluation_fixtures", _PATH)
_FIXTURES = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_FIXTURES)
work, baseline_work, models = _FIXTURES.work, _FIXTURES.baseline_work, _FIXTURES.models


def _run(work, models, *more):
    return main(["evaluate", "--work", str(work), "--models", str(models), "--bootstrap", "5", *more])


def test_evaluate_then_report(work, models, capsys):
    assert _run(work, models) == 0
    assert main(["report", "--work", str(work)]) == 0
    printed = capsys.readouterr().out
    assert "10 journeys of 6 patients scored; dropped: 2 low score" in printed
    assert "10 journeys shown" in printed
    assert (work / "report" / "index.html").stat().st_size > 10_000
    assert len(json.loads((work / "metrics.json").read_text())["systems"]) == 3


def test_a_folder_without_samples_says_so(baseline_work, models, capsys):
    assert _run(baseline_work, models) == 0
    assert "only the baselines were scored" in capsys.readouterr().out


def test_a_rivals_folder_joins_the_table(work, models, capsys):
    assert _run(work, models, "--images", f"rival={work / 'images'}") == 0
    printed = capsys.readouterr().out
    assert "rival: 10 images not scored: a journey must have an image in the folder; found none" in printed
    assert "rival: 72 images are named by no journey of the folder" in printed  # three pictures for each of 24 journeys


def test_images_of_another_size_are_told_of(work, models, capsys):
    save_png(work / "images" / "j000002_prior.png", np.zeros((48, 48)))
    assert _run(work, models) == 0
    assert "copy-prior: 1 images had another size and were resampled" in capsys.readouterr().out


def test_descriptions_give_the_side_and_the_order_of_severity_words(work, models):
    assert _run(work, models) == 0
    further = json.loads((work / "metrics.json").read_text())["systems"][0]["further"]
    assert further["severity_concordance"]["overall"]["value"] is None  # samples.jsonl names no severity
    assert further["severity_concordance"]["overall"]["note"] == "only one severity is asked for"
    words = ("small", "moderate", "large")
    rows = [
        {"journey_id": f"j{n:06}", "progression_description": f"New {words[n % 3]} left pleural effusion."}
        for n in range(12)
    ]
    (work / "triples.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert _run(work, models) == 0
    further = json.loads((work / "metrics.json").read_text())["systems"][0]["further"]
    assert 0 <= further["severity_concordance"]["Pleural Effusion"]["value"] <= 1
    pairs = pandas.read_parquet(work / "pairs.parquet")
    onsets = (pairs["split"] == "test") & pairs["kept"] & (pairs["prior_Pleural Effusion"] == 0)
    assert further["side_correct"]["Pleural Effusion"]["count"] == onsets.sum() > 0
    assert further["truth_psnr"]["overall"]["value"] is None


@pytest.mark.parametrize(
    "more, message",
    [
        (["--truth", "nowhere"], "truth.csv"),
        (["--images", "rival=nowhere"], "NAME=DIR"),
        (["--bootstrap", "-1"], "--bootstrap must be >= 0"),
        (["--split", "validate"], "split 'validate'"),
    ],
)
def test_mistakes_are_one_line(work, models, capsys, more, message):
    assert _run(work, models, *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (work / "metrics.json").exists()


def test_missing_judges_are_named(work, tmp_path, capsys):
    assert _run(work, tmp_path / "nowhere") == 2
    assert "phantom_classifier.pt" in capsys.readouterr().err


def test_table_writes_unknown_numbers_as_dashes():
    number = {"value": None, "low": None, "high": None}
    keys = ("pathology_auroc", "changed_auroc", "race_auroc", "age_r", "cmig", "kl", "dice_reference", "dice_prior")
    table = format_table(
        {"systems": [{"name": "x", "metrics": {key: {"overall": number} for key in keys}}]}, section="metrics"
    )
    assert table.splitlines()[1].split() == ["x", *["-"] * 8]


def test_columns_are_separated_and_numbers_have_one_format():
    long = {"value": -12.5, "low": -100.25, "high": 1000.0}
    short = {"value": 0.5, "low": None, "high": None}
    keys = ("pathology_auroc", "changed_auroc", "race_auroc", "age_r", "cmig", "kl", "dice_reference", "dice_prior")
    content = {"systems": [{"name": "x", "metrics": {key: {"overall": n} for key in keys}} for n in (long, short)]}
    header, first, second = format_table(content, section="metrics").splitlines()
    assert first.count("  -12.500 [-100.250, 1000.000]") == 8
    assert second.split() == ["x", *["0.500"] * 8]
    assert len(header) == len(first) == len(second)
