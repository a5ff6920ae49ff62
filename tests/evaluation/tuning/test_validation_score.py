"""The scores a training looks at are those of the evaluation."""

import numpy as np
import pandas
import pytest

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.evaluation.comparison import compare_systems
from biomedjourney_monai.evaluation.journeys import EvaluationSettings
from biomedjourney_monai.evaluation.systems.asked_findings import AskedFinding
from biomedjourney_monai.evaluation.systems.true_counterfactuals import TrueCounterfactuals
from biomedjourney_monai.evaluation.tuning.validation_score import SCORES, ValidationScore
from biomedjourney_monai.radiographs import save_png


def test_the_scores_are_those_of_the_evaluation(work, models):
    from biomedjourney_monai.evaluation.judges.loading import load_judges
    from biomedjourney_monai.evaluation.systems.sources import read_counterfactuals
    from biomedjourney_monai.schema import SAMPLES_FOLDER

    content, _ = compare_systems(work, load_judges(models), settings=EvaluationSettings(bootstrap=0))
    (expected,) = [system["metrics"] for system in content["systems"] if system["name"] == "counterfactual"]
    samples = read_counterfactuals(work / SAMPLES_FOLDER)
    images = np.stack([samples.image({"journey_id": journey}) for journey in samples.rows])
    found = ValidationScore(work, judges_dir=models)(list(samples.rows), images)
    assert set(found) == set(SCORES)
    for name in SCORES:
        assert found[name] == pytest.approx(expected[name]["overall"]["value"], nan_ok=True, abs=1e-6), name


def test_side_and_error_against_the_truth_are_those_of_the_evaluation_too(work, models):
    from biomedjourney_monai.evaluation.judges.loading import load_judges
    from biomedjourney_monai.evaluation.systems.sources import read_counterfactuals
    from biomedjourney_monai.schema import SAMPLES_FOLDER

    samples = read_counterfactuals(work / SAMPLES_FOLDER)
    journeys = sorted(samples.rows)[:3]
    truth, requests = (
        write_truths(work, count=2),
        {j: {"Pleural Effusion": AskedFinding({"left": 2})} for j in journeys},
    )
    assert [truth.has({"prior_dicom_id": f"p{n}", "new_study_id": f"n{n}"}) for n in range(3)] == [True, True, False]
    settings = EvaluationSettings(bootstrap=0, limit=3)
    content, _ = compare_systems(work, load_judges(models), settings=settings, asked=requests, truth=truth)
    (expected,) = [system["further"] for system in content["systems"] if system["name"] == "counterfactual"]
    score = ValidationScore(work, judges_dir=models, asked=requests, truth=truth)
    found = score(journeys, np.stack([samples.image({"journey_id": journey}) for journey in journeys]))
    assert set(found) == {*SCORES, "side_correct", "truth_psnr inside", "truth_psnr outside"}
    assert found["side_correct"] == pytest.approx(expected["side_correct"]["overall"]["value"], nan_ok=True)
    for part in ("inside", "outside"):
        assert expected["truth_psnr"][part]["count"] == 2
        assert found[f"truth_psnr {part}"] == pytest.approx(expected["truth_psnr"][part]["value"], abs=1e-6)


def write_truths(work, *, count, size=32):
    """True counterfactuals of the first journeys."""
    pairs = pandas.read_parquet(work / "pairs.parquet")
    pairs["prior_dicom_id"], pairs["new_study_id"] = ([f"{letter}{n}" for n in range(len(pairs))] for letter in "pn")
    pairs.to_parquet(work / "pairs.parquet")
    lines = ["prior_dicom_id,new_study_id,file"]
    for n in range(count):
        save_png(work / "truth" / f"{n}.png", np.random.default_rng(n).random((size, size)))
        np.savez(work / "truth" / f"{n}.npz", masks=np.zeros((6, size, size), np.uint8))
        lines.append(f"p{n},n{n},{n}.png")
    (work / "truth" / "truth.csv").write_text("\n".join(lines))
    return TrueCounterfactuals(work / "truth", size=size)


def test_a_journey_that_no_pair_knows_is_refused(work, models):
    with pytest.raises(TableError, match="found 1 that it lacks"):
        ValidationScore(work, judges_dir=models)(["j999999"], np.zeros((1, 32, 32), np.float32))
