import numpy as np
import pytest

from biomedjourney_monai.training.judges.calibration import calibration_error, even_weights, fit_platt


def drawn(count=20000, *, share=0.1, seed=0):
    """Logits that are twice too large and shifted, of labels with this share of positives."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < share).astype(float)
    evidence = rng.normal(np.where(labels == 1, 1.0, -1.0), 1.0)  # the log odds at even prior are 2 x
    return 4 * evidence + 3, labels, 2 * evidence


def test_the_fit_gives_the_log_odds_at_even_prior():
    logits, labels, expected = drawn()
    slope, offset = fit_platt(logits, labels)
    assert slope == pytest.approx(0.5, abs=0.03)
    assert offset == pytest.approx(-1.5, abs=0.1)
    assert np.abs(slope * logits + offset - expected).max() < 0.7


def test_unknown_labels_have_no_part():
    logits, labels, _ = drawn(2000)
    more = np.concatenate([logits, np.full(500, 99.0)]), np.concatenate([labels, np.full(500, np.nan)])
    assert fit_platt(*more) == pytest.approx(fit_platt(logits, labels))


@pytest.mark.parametrize("labels", [np.zeros(5), np.ones(5), np.full(5, np.nan)])
def test_one_class_gives_the_identity(labels):
    assert fit_platt(np.arange(5.0), labels) == (1.0, 0.0)
    assert np.isnan(calibration_error(np.full(5, 0.5), labels))


def test_a_reversed_ranking_is_not_turned_round():
    logits, labels, _ = drawn(2000)
    assert fit_platt(-logits, labels) == (1.0, 0.0)


def test_the_error_is_the_mean_gap_of_the_bins():
    labels = np.array([1.0, 1.0, 0.0, 0.0])
    assert calibration_error(np.array([0.75, 0.75, 0.25, 0.25]), labels) == pytest.approx(0.25)
    assert calibration_error(np.array([1.0, 1.0, 0.0, 0.0]), labels) == 0


def test_calibration_lowers_the_error():
    logits, labels, expected = drawn()
    before, after = (calibration_error(1 / (1 + np.exp(-x)), labels) for x in (logits, expected))
    assert after < 0.02 < before


def test_both_classes_weigh_one_half():
    np.testing.assert_allclose(even_weights(np.array([1.0, 0, 0, np.nan])), [0.5, 0.25, 0.25, 0])
