import numpy as np
import pytest
import torch
from ignite.engine import Engine
from scipy.stats import somersd
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from biomedjourney_monai.evaluation.metrics.feature_sets import compute_kid
from biomedjourney_monai.evaluation.metrics.further_metrics import (
    KID,
    KIDMetric,
    RegionError,
    RegionErrorMetric,
    SeverityConcordance,
    SeverityConcordanceMetric,
)


@pytest.fixture
def pictures():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand((5, 1, 32, 32), generator=generator)
    return (truth + 0.1 * torch.rand(truth.shape, generator=generator)).clamp(0, 1), truth


def _over_batches(handler, one, other):
    engine = Engine(lambda _, batch: batch)
    handler.attach(engine, "metric")
    return engine.run([(one[:2], other[:2]), (one[2:], other[2:])]).metrics["metric"]


def test_error_over_batches_is_the_mean_of_scikit_images(pictures):
    images, truth = pictures
    expected = [peak_signal_noise_ratio(t[0], i[0], data_range=1) for i, t in zip(images.numpy(), truth.numpy())]
    assert _over_batches(RegionError(), images, truth) == pytest.approx(np.mean(expected), rel=1e-5)
    expected = [
        structural_similarity(t[0], i[0], data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        for i, t in zip(images.numpy(), truth.numpy())
    ]
    assert _over_batches(RegionError("ssim"), images, truth) == pytest.approx(np.mean(expected), abs=1e-4)


def test_a_region_counts_alone_and_an_image_without_one_is_left_out(pictures):
    images, truth = pictures
    region = torch.zeros_like(truth)
    region[:4, :, :10] = 1
    metric = RegionErrorMetric()
    metric(images, torch.cat([truth, region], dim=1))
    expected = [
        peak_signal_noise_ratio(t[0, :10], i[0, :10], data_range=1)
        for i, t in zip(images[:4].numpy(), truth[:4].numpy())
    ]
    assert metric.aggregate().item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_kid_over_batches():
    generator = torch.Generator().manual_seed(1)
    one, other = torch.randn((9, 4), generator=generator), torch.randn((9, 4), generator=generator)
    assert _over_batches(KID(), one, other) == pytest.approx(compute_kid(one.numpy(), other.numpy()))


def test_concordance_over_batches_is_the_mean_of_somers():
    generator = np.random.default_rng(0)
    grades = generator.integers(1, 4, (40, 2)).astype(float)
    scores = grades + generator.normal(0, 1.5, grades.shape)
    grades = np.column_stack([grades, np.full(40, np.nan)])  # a finding that nobody asks for
    scores = np.column_stack([scores, np.zeros(40)])
    found = _over_batches(SeverityConcordance(), torch.from_numpy(scores), torch.from_numpy(grades))
    expected = [(somersd(grades[:, f], scores[:, f]).statistic + 1) / 2 for f in range(2)]
    assert found == pytest.approx(np.mean(expected))


def test_misuse_is_named():
    with pytest.raises(ValueError, match="kind"):
        RegionErrorMetric("mse")
    for metric in (KIDMetric(), SeverityConcordanceMetric()):
        with pytest.raises(ValueError, match="at least one batch"):
            metric.aggregate()
