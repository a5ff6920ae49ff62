import numpy as np
import pandas
import pytest

from biomedjourney_monai.evaluation.page.gallery import UNKNOWN, count_people


@pytest.fixture
def pairs():
    rows = [
        ("a", "train", 19.0, "WHITE"),
        ("a", "train", 19.0, "WHITE"),  # a second journey of one patient
        ("b", "train", 45.0, "BLACK/AFRICAN AMERICAN"),
        ("c", "train", 49.9, "OTHER"),
        ("d", "train", np.nan, ""),
        ("e", "test", 80.0, "ASIAN - CHINESE"),
        ("f", "test", 93.0, "WHITE - RUSSIAN"),
    ]
    return pandas.DataFrame(rows, columns=["subject_id", "split", "anchor_age", "race"])


def test_each_patient_counts_once_in_a_split(pairs):
    age, race = count_people(pairs)
    assert age.patients == race.patients == {"train": 4, "test": 2}
    assert age.shares == {"under 20": [0.25, 0], "40 to 49": [0.5, 0], "80 and over": [0, 1], UNKNOWN: [0.25, 0]}
    assert list(age.shares) == ["under 20", "40 to 49", "80 and over", UNKNOWN]
    assert race.shares["White"] == [0.25, 0.5] and race.shares[UNKNOWN] == [0.5, 0]
    assert np.allclose(np.sum(list(race.shares.values()), axis=0), 1)


def test_what_no_patient_has_is_left_out(pairs):
    (age,) = count_people(pairs.assign(race=""))
    assert age.attribute == "age"
    assert count_people(pairs.assign(race="", anchor_age=np.nan)) == []
