import json

import pytest

from biomedjourney_monai.errors import BiomedJourneyError, ConfigError, SettingError
from biomedjourney_monai.evaluation.evaluate import evaluate


def test_the_files_hold_what_is_returned(work, models):
    evaluation = evaluate(work, judge_weights=models, bootstrap=4)
    assert evaluation.metrics_file == work / "metrics.json" and evaluation.scores_file.is_file()
    written = json.loads(evaluation.metrics_file.read_text())
    assert written["counts"] == evaluation.metrics["counts"]
    assert set(evaluation.scores["system"]) == {system["name"] for system in written["systems"]}


def test_a_number_out_of_range_names_the_parameter(work):
    with pytest.raises(SettingError, match="bootstrap must be >= 0; found -1") as caught:
        evaluate(work, bootstrap=-1)
    assert caught.value.name == "bootstrap"


def test_an_unknown_keyword_names_the_nearest_one(work):
    with pytest.raises(BiomedJourneyError, match="bootstrap"):
        evaluate(work, bootstraps=5)


@pytest.mark.parametrize("images", [{"copy-prior": "images"}, {"rival": "nowhere"}])
def test_a_system_with_a_taken_name_or_without_a_folder_is_refused(work, models, images):
    folders = {name: work / folder for name, folder in images.items()}
    with pytest.raises(ConfigError, match="name"):
        evaluate(work, judge_weights=models, images=folders)
