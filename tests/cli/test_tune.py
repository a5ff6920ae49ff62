import json

import pytest
from PIL import Image

from biomedjourney_monai.cli import tune
from biomedjourney_monai.cli.main import main

SCORES = {"pathology_auroc": 0.9, "race_auroc": 0.8, "age_r": 0.7, "changed_auroc": 0.5, "dice_reference": 0.9}


@pytest.fixture
def search(bundle, random_model, prepared, monkeypatch):
    """Run `tune`, with scores that follow from the scales; the list gathers each pair that was sampled."""
    sampled = []

    def score(work, triples, generator, arguments, bar):
        text, image = generator.sampler.text_guidance_scale, generator.sampler.image_guidance_scale
        sampled.append((text, image))
        return {**SCORES, "pathology_auroc": 0.5 + text / 10, "age_r": image / 3, "cmig": 0.5 + text / 10 + image / 100}

    monkeypatch.setattr(tune, "_score", score)
    line = ["tune", "--work", str(prepared), "--split", "test", "--bundle", str(bundle), "--model", str(random_model)]
    return lambda *more: (main([*line, *more]), sampled)


def test_the_best_pair_and_the_frontier_are_reported(search, prepared, capsys):
    status, sampled = search("--text-guidance-scales", "1", "2", "--image-guidance-scales", "1", "2")
    assert status == 0
    content = json.loads((prepared / "tune" / "tune.json").read_text())
    assert sampled == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert content["best"] == 3 and content["frontier"] == [3]
    assert "best CMIG" in capsys.readouterr().out
    with Image.open(prepared / "tune" / "tune.png") as plot:
        assert plot.width > 300


def test_pairs_that_are_scored_are_not_sampled_again(search, prepared):
    search("--text-guidance-scales", "1", "--image-guidance-scales", "1")
    _, sampled = search("--text-guidance-scales", "1", "2", "--image-guidance-scales", "1")
    assert sampled == [(1, 1), (2, 1)]
    _, sampled = search("--text-guidance-scales", "1", "--image-guidance-scales", "1", "--seed", "1")
    assert sampled == [(1, 1), (2, 1), (1, 1)]
    _, sampled = search("--text-guidance-scales", "1", "--image-guidance-scales", "1", "--guidance-interval", "0", ".5")
    assert sampled == [(1, 1), (2, 1), (1, 1), (1, 1)]
    content = json.loads((prepared / "tune" / "tune.json").read_text())
    assert content["settings"]["sampler"]["guidance_interval"] == [0, 0.5]


def test_scales_that_are_no_numbers_are_refused(search, capsys):
    assert search("--text-guidance-scales", "nan")[0] == 2
    assert "finite" in capsys.readouterr().err
