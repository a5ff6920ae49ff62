"""The scores a training looks at are those of the evaluation."""

import numpy as np
import pytest

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.evaluation.evaluate import EvaluationSettings, evaluate
from biomedjourney_monai.evaluation.validation_score import SCORES, ValidationScore


def test_the_scores_are_those_of_the_evaluation(work, models):
    from biomedjourney_monai.evaluation.judges import load_judges
    from biomedjourney_monai.evaluation.systems import read_counterfactuals
    from biomedjourney_monai.schema import SAMPLES_FOLDER

    content, _ = evaluate(work, load_judges(models), settings=EvaluationSettings(bootstrap=0))
    (expected,) = [system["metrics"] for system in content["systems"] if system["name"] == "counterfactual"]
    samples = read_counterfactuals(work / SAMPLES_FOLDER)
    images = np.stack([samples.image({"journey_id": journey}) for journey in samples.rows])
    found = ValidationScore(work, judges_dir=models)(list(samples.rows), images)
    assert set(found) == set(SCORES)
    for name in SCORES:
        assert found[name] == pytest.approx(expected[name]["overall"]["value"], nan_ok=True, abs=1e-6), name


def test_a_journey_that_no_pair_knows_is_refused(work, models):
    with pytest.raises(TableError, match="found 1 that it lacks"):
        ValidationScore(work, judges_dir=models)(["j999999"], np.zeros((1, 32, 32), np.float32))
