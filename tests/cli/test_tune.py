import json

import numpy as np
import pandas
import pytest
from PIL import Image

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.evaluation.tuning.sampling import Point, ScoredSampling
from biomedjourney_monai.radiographs import save_png

SCORES = {"pathology_auroc": 0.9, "race_auroc": 0.8, "age_r": 0.7, "changed_auroc": 0.5, "dice_reference": 0.9}
PAIR = ("--text-guidance-scales", "1", "--image-guidance-scales", "1")


@pytest.fixture
def line(bundle, random_model, prepared):
    return ["tune", "--work", str(prepared), "--split", "test", "--bundle", str(bundle), "--model", str(random_model)]


@pytest.fixture
def search(line, monkeypatch):
    """Run `tune`, with scores that follow from what is searched; the list gathers each sampling."""
    sampled = []

    def scores(self, text, image, thresholds, bar):
        sampled.append((text, image, *thresholds))
        found = {**SCORES, "pathology_auroc": 0.5 + text / 10, "age_r": image / 3}
        return [{**found, "cmig": 0.5 + text / 10 + image / 100 - kept / 1000} for kept in thresholds]

    monkeypatch.setattr(ScoredSampling, "scores", scores)
    return lambda *more: (main([*line, *more]), sampled)


def written(prepared):
    return json.loads((prepared / "tune" / "tune.json").read_text())


def test_the_best_point_and_the_frontier_are_reported(search, prepared, capsys):
    status, sampled = search("--text-guidance-scales", "1", "2", "--image-guidance-scales", "1", "2")
    assert status == 0
    content = written(prepared)
    assert sampled == [(1, 1, 0.03), (1, 2, 0.03), (2, 1, 0.03), (2, 2, 0.03)]  # 0.03 is the configuration's
    assert content["best"] == 3 and content["frontier"] == [3]
    best = "| **.03** | **2, 2** | .700 | .500 | .800 | .667 | .720 | frontier, best CMIG |"
    assert best in capsys.readouterr().out
    assert best in (prepared / "tune" / "tune.md").read_text()
    with Image.open(prepared / "tune" / "tune.png") as plot:
        assert plot.width > 300


def test_thresholds_are_crossed_with_the_scales_and_share_one_sampling(search, prepared):
    scales = ("--text-guidance-scales", "1", "2", "--image-guidance-scales", "1")
    assert search(*scales, "--keep-unchanged", "0", "0.1", "0")[1] == [(1, 1, 0, 0.1), (2, 1, 0, 0.1)]
    content = written(prepared)
    assert [[point[name] for name in Point._fields] for point in content["points"]] == [
        [1, 1, 0],
        [1, 1, 0.1],
        [2, 1, 0],
        [2, 1, 0.1],
    ]
    assert content["best"] == 2
    _, sampled = search(*scales, "--keep-unchanged", "0.1", "0.2")
    assert sampled[2:] == [(1, 1, 0.2), (2, 1, 0.2)]


def test_points_that_are_scored_are_not_sampled_again(search, prepared):
    search(*PAIR)
    _, sampled = search("--text-guidance-scales", "1", "2", "--image-guidance-scales", "1")
    assert [pair[:2] for pair in sampled] == [(1, 1), (2, 1)]
    assert len(search(*PAIR, "--seed", "1")[1]) == 3
    assert len(search(*PAIR, "--guidance-interval", "0", ".5")[1]) == 4
    assert written(prepared)["settings"]["sampler"]["guidance_interval"] == [0, 0.5]
    assert len(search(*PAIR, "--average", "2")[1]) == 5
    assert written(prepared)["settings"]["sampler"]["average"] == 2


def test_scores_without_a_threshold_beside_them_are_made_anew(search, prepared):
    search(*PAIR)
    content = written(prepared)
    content["settings"]["sampler"]["keep_unchanged"] = content["points"][0].pop("keep_unchanged")
    (prepared / "tune" / "tune.json").write_text(json.dumps(content))
    assert len(search(*PAIR)[1]) == 2


def test_each_threshold_is_scored_on_its_own_images(line, prepared, monkeypatch):
    from biomedjourney_monai.evaluation.tuning.validation_score import ValidationScore

    scored = []

    def score(self, journeys, images):
        assert self.asked["j000001"]["Pleural Effusion"].severities == {"left": 1}
        scored.append(images)
        return {**SCORES, "cmig": 0.9, "side_correct": 0.25}

    monkeypatch.setattr(ValidationScore, "__call__", score)
    assert main([*line, *PAIR, "--keep-unchanged", "0", "1", "--steps", "1"]) == 0
    priors = [np.asarray(Image.open(prepared / "images" / f"{n}.png"), np.float32) / 255 for n in (1, 2)]
    redrawn, kept = (np.abs(images - priors).mean() for images in scored)
    assert kept < redrawn / 5
    assert [point["side_correct"] for point in written(prepared)["points"]] == [0.25, 0.25]


@pytest.fixture
def truth(prepared):
    """A true counterfactual of the first of the two test journeys."""
    rows = {"journey_id": ["j000000", "j000001", "j000002"], "prior_dicom_id": list("abc"), "new_study_id": list("xyz")}
    rows["prior_image"] = [f"images/{number}.png" for number in (1, 2, 1)]  # what the judges are chosen by
    pandas.DataFrame(rows).to_parquet(prepared / "pairs.parquet")
    folder = prepared / "truth"
    save_png(folder / "b-y.png", np.zeros((128, 128)))
    np.savez(folder / "b-y.npz", masks=np.zeros((6, 128, 128), np.uint8))
    (folder / "truth.csv").write_text("prior_dicom_id,new_study_id,file\na,x,a-x.png\nb,y,b-y.png\nc,z,c-z.png\n")
    return folder


def test_journeys_without_a_true_counterfactual_are_counted_aloud(search, prepared, truth, capsys):
    assert search(*PAIR, "--truth", str(truth))[0] == 0
    assert "1 of 2 journeys have no true counterfactual" in capsys.readouterr().out
    assert written(prepared)["settings"]["truth"]["journeys"] == 1
    save_png(truth / "b-y.png", np.ones((128, 128)))
    assert len(search(*PAIR, "--truth", str(truth))[1]) == 2  # another truth, another score


def test_a_folder_without_a_table_of_truths_ends_the_search_before_it_begins(search, tmp_path, capsys):
    assert search(*PAIR, "--truth", str(tmp_path / "nowhere")) == (2, [])
    assert "phantom --truth" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [("--text-guidance-scales", "nan", "finite"), ("--keep-unchanged", "1.5", "--keep-unchanged must be in [0, 1]")],
)
def test_values_that_no_sampler_can_use_are_refused(search, capsys, option, value, rule):
    assert search(option, "0.5", value)[0] == 2
    assert rule in capsys.readouterr().err
