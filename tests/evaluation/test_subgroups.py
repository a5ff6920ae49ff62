import numpy as np
import pandas
import pytest
from sklearn.metrics import roc_auc_score

from biomedjourney_monai.evaluation.comparison import compare_systems
from biomedjourney_monai.evaluation.journeys import EvaluationSettings
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.evaluation.subgroups import subgroups_of
from biomedjourney_monai.schema import FINDINGS


def test_every_journey_is_in_one_group_of_each_attribute():
    journeys = pandas.DataFrame(
        {
            "sex": ["F", "M", "", "f"],
            "anchor_age": [39.9, 40.0, 75.0, np.nan],
            "race": ["WHITE - RUSSIAN", "UNKNOWN", "ASIAN", "BLACK/AFRICAN AMERICAN"],
        }
    )
    groups = subgroups_of(journeys)
    rows = {
        attribute: {name: np.flatnonzero(rows).tolist() for name, rows in g.items()} for attribute, g in groups.items()
    }
    assert rows["sex"] == {"F": [0, 3], "M": [1], "unknown": [2]}
    assert rows["age"] == {"under 40": [0], "40 to 59": [1], "75 and over": [2], "unknown": [3]}
    assert rows["race"] == {"White": [0], "Black": [3], "Asian": [2], "unknown": [1]}


def test_a_subgroups_number_is_that_of_its_journeys_alone(baseline_work, models):
    pairs = pandas.read_parquet(baseline_work / "pairs.parquet")
    pairs["sex"] = ["F" if n % 4 < 2 else "M" for n in range(len(pairs))]
    pairs.to_parquet(baseline_work / "pairs.parquet")
    content, scores = compare_systems(baseline_work, load_judges(models), settings=EvaluationSettings(bootstrap=10))
    women = pairs[pairs["kept"] & (pairs["split"] == "test") & (pairs["sex"] == "F")].set_index("journey_id")
    mine = scores[scores["system"] == "copy-prior"].set_index("journey_id").loc[women.index]
    group = content["systems"][0]["subgroups"]["sex"]["F"]
    known = [f for f in FINDINGS if women[f"new_{f}"].nunique() == 2]
    expected = np.mean([roc_auc_score(women[f"new_{f}"], mine[f"pathology {f}"]) for f in known])
    assert group["metrics"]["pathology_auroc"]["value"] == pytest.approx(expected)
    assert group["journeys"] == len(women)
    assert group["patients"] == women["subject_id"].nunique()
    assert group["metrics"]["race_auroc"]["low"] <= group["metrics"]["race_auroc"]["high"]


def test_what_a_small_subgroup_cannot_tell_is_null_with_a_reason(baseline_work, models):
    content, _ = compare_systems(baseline_work, load_judges(models), settings=EvaluationSettings(bootstrap=5))
    white = content["systems"][0]["subgroups"]["race"]["White"]["metrics"]
    assert np.isnan(white["race_auroc"]["value"])
    assert white["race_auroc"]["note"]
    assert white["cmig"]["note"]
