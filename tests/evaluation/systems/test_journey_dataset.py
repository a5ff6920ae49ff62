import numpy as np
import pytest
import torch

from biomedjourney_monai.errors import ConfigError, TableError
from biomedjourney_monai.evaluation.systems.journey_dataset import JourneyDataset


def test_items_are_the_kept_sampled_journeys_of_the_split(work):
    dataset = JourneyDataset(work)
    item = dataset[0]
    assert len(dataset) == dataset.counts["scored"] == 10
    assert {name: tuple(item[name].shape) for name in ("image", "reference_image", "prior_image", "valid")} == {
        "image": (1, 32, 32),
        "reference_image": (1, 32, 32),
        "prior_image": (1, 32, 32),
        "valid": (1, 32, 32),
    }
    assert item["valid"].dtype == torch.bool
    assert torch.equal(item["valid"][0], torch.ones(32, 32).tril().bool())


def test_the_image_is_the_systems(work):
    samples = np.load(work / "samples" / "counterfactuals.npy")
    assert np.array_equal(JourneyDataset(work)[1]["image"][0], samples[1].astype(np.float32))
    copied = JourneyDataset(work, system="copy-prior")[1]
    assert torch.equal(copied["image"], copied["prior_image"])
    real = JourneyDataset(work, system="real reference")[1]
    assert torch.equal(real["image"], real["reference_image"])


def test_changed_labels_are_the_new_ones_where_they_differ(work):
    labels = torch.stack([item["label"] for item in JourneyDataset(work)])  # (N, 12)
    new, changed = labels[:, :5], labels[:, 5:10]
    known = torch.isfinite(changed)
    assert 0 < int(known.sum()) < known.numel()
    assert torch.equal(changed[known], new[known])


def test_an_unreadable_image_is_nan_and_counted_without_its_name(work):
    (work / "images" / "j000000_prior.png").write_bytes(b"cut short")
    dataset = JourneyDataset(work)
    assert torch.isnan(dataset[0]["prior_image"]).all()
    assert torch.isfinite(dataset[0]["image"]).all()
    (reason,) = dataset.failures
    assert dataset.failures[reason] == 2
    assert "j000000" not in reason


def test_images_of_one_kind_have_one_shape(work):
    from biomedjourney_monai.radiographs import save_png

    save_png(work / "images" / "j000001_prior.png", np.random.default_rng(0).random((48, 40)))
    dataset = JourneyDataset(work)
    assert dataset[0]["prior_image"].shape == dataset[1]["prior_image"].shape


def test_without_samples_only_the_baselines_can_be_scored(baseline_work):
    assert len(JourneyDataset(baseline_work, system="copy-prior")) == 10
    with pytest.raises(TableError, match="biomedjourney sample"):
        JourneyDataset(baseline_work)


def test_an_unknown_system_is_refused(work):
    with pytest.raises(ConfigError, match="system must be one of"):
        JourneyDataset(work, system="nobody")
