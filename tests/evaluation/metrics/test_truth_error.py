import numpy as np
import pytest
import torch
from monai.metrics import PSNRMetric, SSIMMetric
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from biomedjourney_monai.evaluation.metrics.truth_error import compute_region_psnr, compute_region_ssim


@pytest.fixture
def pictures():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand((3, 1, 48, 40), generator=generator)
    return (truth + 0.2 * torch.rand(truth.shape, generator=generator)).clamp(0, 1), truth


def test_psnr_of_the_frame_is_that_of_monai_and_scikit_image(pictures):
    images, truth = pictures
    found = compute_region_psnr(images, truth)
    assert found.numpy() == pytest.approx(PSNRMetric(max_val=1.0)(images, truth).flatten().numpy(), rel=1e-5)
    for one, image, true in zip(found, images.numpy(), truth.numpy()):
        assert one.item() == pytest.approx(peak_signal_noise_ratio(true[0], image[0], data_range=1), rel=1e-5)


def test_psnr_of_a_region_sees_nothing_else(pictures):
    images, truth = pictures
    region = torch.zeros(truth.shape, dtype=torch.bool)
    region[:, :, 5:15, 7:19] = True
    cut = [
        peak_signal_noise_ratio(t[0, 5:15, 7:19], i[0, 5:15, 7:19], data_range=1)
        for i, t in zip(images.numpy(), truth.numpy())
    ]
    assert compute_region_psnr(images, truth, region=region).numpy() == pytest.approx(cut, rel=1e-5)


def test_psnr_by_hand():
    images, truth = torch.full((1, 1, 4, 4), 0.6), torch.full((1, 1, 4, 4), 0.5)
    assert compute_region_psnr(images, truth).item() == pytest.approx(20, abs=1e-4)  # 10 log10(1 / 0.1 ** 2)


def test_psnr_of_equal_images_is_what_rounding_allows():
    image = torch.rand((1, 1, 8, 8))
    assert compute_region_psnr(image, image).item() == pytest.approx(10 * np.log10(12 * 255**2))


def test_an_empty_region_has_no_error(pictures):
    nowhere = torch.zeros(pictures[0].shape, dtype=torch.bool)
    assert compute_region_psnr(*pictures, region=nowhere).isnan().all()
    assert compute_region_ssim(*pictures, region=nowhere).isnan().all()


def test_ssim_of_the_frame_is_that_of_monai_and_scikit_image(pictures):
    images, truth = pictures
    found = compute_region_ssim(images, truth).numpy()
    assert found == pytest.approx(SSIMMetric(spatial_dims=2)(images, truth).flatten().numpy(), rel=1e-5)
    theirs = [
        structural_similarity(t[0], i[0], data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        for i, t in zip(images.numpy(), truth.numpy())
    ]
    assert found == pytest.approx(theirs, abs=1e-4)


def test_ssim_of_a_region_is_the_mean_of_its_windows(pictures):
    images, truth = pictures
    region = torch.zeros(truth.shape, dtype=torch.bool)
    region[:, :, 10:20, 12:30] = True
    maps = [
        structural_similarity(
            t[0], i[0], data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )[1]
        for i, t in zip(images.numpy(), truth.numpy())
    ]
    expected = [full[10:20, 12:30].mean() for full in maps]
    assert compute_region_ssim(images, truth, region=region).numpy() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("compute", [compute_region_psnr, compute_region_ssim])
def test_other_shapes_are_refused(compute):
    with pytest.raises(ValueError, match="one shape"):
        compute(torch.zeros((1, 1, 20, 20)), torch.zeros((1, 1, 20, 21)))
