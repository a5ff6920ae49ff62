import json

import numpy as np
import pytest
import torch

from biomedjourney_monai.evaluation.comparison import compare_systems
from biomedjourney_monai.evaluation.journeys import EvaluationSettings
from biomedjourney_monai.evaluation.judges.feature_bank import FeatureBank, extract_known
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.files import write_json
from biomedjourney_monai.radiographs import read_png, save_png

SETTINGS = EvaluationSettings(bootstrap=8)


@pytest.fixture(scope="module")
def judges(models):
    return load_judges(models)


def _further(content, name):
    return next(system["further"] for system in content["systems"] if system["name"] == name)


def test_the_copy_is_its_own_prior_and_the_reference_has_no_distance(work, judges):
    content, scores = compare_systems(work, judges, settings=SETTINGS)
    assert _further(content, "copy-prior")["identity"]["overall"]["value"] == 1
    assert 0 < _further(content, "counterfactual")["identity_reciprocal"]["overall"]["value"] <= 1
    real = _further(content, "real reference")
    assert real["fid"]["overall"]["value"] == pytest.approx(0, abs=1e-6)
    assert real["kid"]["overall"]["value"] <= 0 < _further(content, "copy-prior")["fid"]["overall"]["value"]
    assert content["galleries"] == {"priors": 10, "training_targets": 0}
    assert {"identity overall", "identity_reciprocal overall"} <= set(scores)


def test_fid_is_that_of_the_judges_features(work, judges):
    from monai.metrics.fid import get_fid_score

    from biomedjourney_monai.evaluation.journeys import choose_journeys
    from biomedjourney_monai.evaluation.systems.sources import read_counterfactuals

    content, _ = compare_systems(work, judges, settings=SETTINGS)
    journeys, _ = choose_journeys(work, read_counterfactuals(work / "samples"), split=SETTINGS.split)
    features = [
        judges.features(torch.from_numpy(np.stack([read_png(work / file) for file in journeys[column]]))[:, None])
        for column in ("prior_image", "new_image")
    ]
    expected = get_fid_score(*features).item()
    assert _further(content, "copy-prior")["fid"]["overall"]["value"] == pytest.approx(expected, rel=1e-3)


def test_a_copy_of_a_training_target_is_memorised_and_the_real_references_are_not(work, judges):
    target = read_png(work / "images" / "j000013_new.png")  # of a training patient
    pixels = np.load(work / "samples" / "counterfactuals.npy")
    pixels[2] = target
    np.save(work / "samples" / "counterfactuals.npy", pixels)
    content, scores = compare_systems(work, judges, settings=SETTINGS, targets=50)
    assert content["galleries"]["training_targets"] == 10
    mine = scores[scores["system"] == "counterfactual"]
    assert mine["memorised overall"].iloc[2] == 1
    assert mine["training_likeness overall"].iloc[2] == pytest.approx(1, abs=1e-3)  # float16
    assert _further(content, "real reference")["memorised"]["overall"]["value"] == 0


def test_what_cannot_be_computed_is_null_with_its_reason(work, judges, tmp_path):
    class WithoutFeatures:
        score, provenance = judges.score, judges.provenance

    content, _ = compare_systems(work, WithoutFeatures(), settings=SETTINGS)
    write_json(tmp_path / "metrics.json", content)
    further = _further(json.loads((tmp_path / "metrics.json").read_text()), "counterfactual")
    unknown = ("fid", "kid", "fid_imagenet", "identity", "memorised", "change_outside", "severity_change")
    assert all(further[metric]["overall"]["value"] is None for metric in unknown)
    assert all(parts["overall"]["note"] for parts in further.values() if parts["overall"]["value"] is None)
    assert "no features" in further["kid"]["overall"]["note"]
    assert "ImageNet" in further["kid_imagenet"]["overall"]["note"]
    assert "--training-targets" in further["memorised"]["overall"]["note"]
    assert "describe" in further["change_outside"]["overall"]["note"]


def test_an_unreadable_image_is_left_out_of_the_sets(work, judges):
    (work / "images" / "j000000_prior.png").unlink()
    save_png(work / "images" / "j000002_prior.png", np.zeros((32, 32)))
    content, _ = compare_systems(work, judges, settings=SETTINGS)
    copy = _further(content, "copy-prior")
    assert copy["fid"]["overall"]["count"] == 9
    assert copy["identity"]["overall"]["count"] == 9


def test_a_network_that_fails_on_one_image_loses_that_image_only():
    def extract(images):
        if (images > 1).any():
            raise RuntimeError("no")
        return images.mean(dim=(2, 3)).expand(-1, 4)

    images = torch.rand((3, 1, 8, 8))
    images[1] += 2
    rows = extract_known(extract, images, np.array([True, True, False]))
    assert np.isfinite(rows[0]).all()
    assert np.isnan(rows[1:]).all()
    assert rows.shape == (3, 4)


def test_a_batch_without_any_image_takes_the_others_width():
    bank = FeatureBank(lambda images: torch.ones((len(images), 5)))
    bank._blocks["x"] = [np.full((2, 0), np.nan), np.ones((3, 5))]
    assert bank.of("x").shape == (5, 5)
    assert np.isnan(bank.of("x")[:2]).all()
