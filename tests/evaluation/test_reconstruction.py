import json

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import roc_auc_score

from biomedjourney_monai.errors import ImageError, TableError
from biomedjourney_monai.evaluation.judges.scores import JudgeScores
from biomedjourney_monai.evaluation.reconstruction import QualityGate, compare_reconstructions
from biomedjourney_monai.files import read_table
from biomedjourney_monai.radiographs import read_png
from biomedjourney_monai.schema import FINDINGS


class BrightnessJudges:
    """Every finding is as likely as a part of the image is bright."""

    def score(self, images):
        parts = images[:, 0].flatten(1)[:, : 5 * 100].unflatten(1, (5, 100)).mean(2)  # (B, 5)
        race = torch.softmax(images[:, 0, :3, 0], dim=1)
        masks = torch.zeros(len(images), 6, *images.shape[-2:], dtype=torch.bool)
        return JudgeScores(parts, race, 60 + 40 * images.mean(dim=(1, 2, 3)), masks)

    def provenance(self):
        return {"name": "brightness"}


def gate(work, **settings):
    return QualityGate(work, BrightnessJudges(), split="test", **settings)


def test_psnr_and_ssim_equal_scikit_images():
    numbers = np.random.default_rng(0)
    originals = np.stack([gaussian_filter(numbers.random((32, 32)), 1.5) for _ in range(3)]).astype(np.float32)
    made = np.clip(originals + numbers.normal(0, 0.03, originals.shape), 0, 1).astype(np.float32)
    psnr, ssim = compare_reconstructions(torch.from_numpy(originals)[:, None], torch.from_numpy(made)[:, None])
    for index in range(3):
        assert psnr[index].item() == pytest.approx(
            peak_signal_noise_ratio(originals[index], made[index], data_range=1), abs=1e-3
        )
        expected = structural_similarity(
            originals[index], made[index], data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert ssim[index].item() == pytest.approx(expected, abs=0.02)  # scikit-image's window is cut at 3.5 sigma


def test_a_perfect_autoencoder_meets_every_bar(work):
    marks = gate(work).measure(lambda images: images)
    assert marks.images == 10 and marks.unreadable == 0  # 12 test journeys, two dropped
    assert marks.psnr > 100 and marks.ssim == pytest.approx(1)
    assert marks.originals == pytest.approx(marks.reconstructions, nan_ok=True)
    assert all(gate(work).verdict(marks).values())


def test_the_aurocs_are_scikit_learns(work):
    def darken(images):
        return (images - 0.1).clamp(0, 1) * torch.linspace(0.5, 1, len(images))[:, None, None, None]

    marks = gate(work).measure(darken)
    pairs = read_table(work / "pairs.parquet", columns=["split"], made_by="register")
    rows = pairs[(pairs["split"] == "test") & pairs["kept"]]
    images = torch.from_numpy(np.stack([read_png(work / name) for name in rows["new_image"]]))[:, None].float()
    for column, finding in enumerate(FINDINGS):
        labels = rows[f"new_{finding}"].to_numpy()
        for scores, found in ((images, marks.originals), (darken(images), marks.reconstructions)):
            expected = roc_auc_score(labels, BrightnessJudges().score(scores).pathology[:, column])
            assert found[finding] == pytest.approx(expected)
    assert marks.auroc_drop == marks.originals["pathology AUROC"] - marks.reconstructions["pathology AUROC"]


def test_a_bad_autoencoder_misses_the_bars_and_says_which(work):
    marks = gate(work).measure(lambda images: 0.9 - 0.8 * images)
    verdict = gate(work).verdict(marks)
    assert verdict["PSNR at least 30 dB"] is False and verdict["SSIM at least 0.9"] is False
    assert "MISSED  PSNR at least 30 dB" in gate(work).table(marks)
    lenient = gate(work, min_psnr=0, min_ssim=-1, max_auroc_drop=1)
    assert all(lenient.verdict(marks).values())


def test_a_drop_that_cannot_be_measured_is_not_a_pass(work):
    marks = gate(work, limit=1).measure(lambda images: images)  # one image has one class of each finding
    assert gate(work).verdict(marks)["pathology AUROC lost at most 0.02"] is False
    assert json.loads(json.dumps(marks.as_dict(), allow_nan=False))["auroc_drop"] is None


def test_unreadable_images_are_counted_and_none_at_all_is_an_error(work):
    pairs = read_table(work / "pairs.parquet", columns=["split"], made_by="register")
    names = pairs[(pairs["split"] == "test") & pairs["kept"]]["new_image"].tolist()
    (work / names[0]).write_bytes(b"cut")
    marks = gate(work).measure(lambda images: images)
    assert (marks.images, marks.unreadable) == (9, 1)
    for name in names:
        (work / name).unlink(missing_ok=True)
    with pytest.raises(ImageError, match="none of 10"):
        gate(work).measure(lambda images: images)


def test_a_report_without_journeys_says_why_and_does_not_fail(tmp_path, caplog, capsys):
    with pytest.raises(TableError):
        gate(tmp_path).measure(lambda images: images)
    gate(tmp_path).report(lambda images: images)
    assert "The quality gate was not run" in caplog.text and capsys.readouterr().out == ""


def test_a_report_prints_the_table(work, capsys):
    gate(work).report(lambda images: images)
    out = capsys.readouterr().out
    assert "reconstructions of 10 images" in out and "pathology AUROC" in out
