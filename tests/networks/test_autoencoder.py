import numpy as np
import pytest
import torch
from monai.networks.nets import AutoencoderKL

from biomedjourney_monai.networks.autoencoder import PatchAutoencoderKL, ResidualBlock


def smooth_images(count=12, *, side=32, seed=0):
    """Images whose neighbouring pixels agree, in [-1, 1]."""
    noise = torch.randn(count, 1, side // 4 + 1, side // 4 + 1, generator=torch.Generator().manual_seed(seed))
    return torch.tanh(torch.nn.functional.interpolate(noise, size=(side, side), mode="bicubic"))


def small(channels, *, patch=4, **settings):
    torch.manual_seed(1)
    return PatchAutoencoderKL(latent_channels=channels, patch=patch, width=8, blocks=1, **settings).eval()


def patches_of(images, patch):
    """Shape (M, patch²), cut with numpy."""
    count, _, height, width = images.shape
    grid = images.numpy().reshape(count, height // patch, patch, width // patch, patch)
    return grid.transpose(0, 1, 3, 2, 4).reshape(-1, patch * patch).astype(np.float64)


def psnr(image, other):
    return float(10 * torch.log10(4 / (image - other).square().mean()))


@torch.no_grad()
def reconstruct(autoencoder, images):
    return autoencoder.decode(autoencoder.encode(images)[0])


@pytest.mark.parametrize("channels", [1, 3, 7])
def test_the_fit_reconstructs_as_the_leading_principal_components_do(channels):
    images = smooth_images()
    autoencoder = small(channels)
    deviation = autoencoder.fit(images)
    patches = patches_of(images, 4)
    mean = patches.mean(0)
    u, s, vt = np.linalg.svd(patches - mean, full_matrices=False)
    truncated = (u[:, :channels] * s[:channels]) @ vt[:channels] + mean
    assert np.allclose(patches_of(reconstruct(autoencoder, images), 4), truncated, atol=1e-5)
    assert np.allclose(deviation, s[:channels] / np.sqrt(len(patches)), rtol=1e-5)


def test_all_components_lose_nothing():
    images = smooth_images()
    autoencoder = small(16)
    autoencoder.fit(images)
    assert torch.allclose(reconstruct(autoencoder, images), images, atol=1e-4)


def test_latents_are_standardised_and_uncorrelated():
    images = smooth_images()
    autoencoder = small(5)
    autoencoder.fit(images)
    latent = autoencoder.encode(images)[0].detach().movedim(1, 0).flatten(1)  # (5, M)
    assert torch.allclose(latent.mean(1), torch.zeros(5), atol=1e-4)
    assert torch.allclose(latent @ latent.T / latent.shape[1], torch.eye(5), atol=1e-3)


def test_more_channels_reconstruct_better():
    images, unseen = smooth_images(), smooth_images(seed=5)
    quality = []
    for channels in (1, 2, 4, 8):
        autoencoder = small(channels)
        autoencoder.fit(images)
        quality.append(psnr(reconstruct(autoencoder, unseen), unseen))
    assert quality == sorted(quality)
    assert quality[-1] > quality[0] + 6


def test_the_fit_does_not_depend_on_the_order_or_the_weights_before():
    images = smooth_images()
    first, second = small(3), PatchAutoencoderKL(latent_channels=3, patch=4, width=8, blocks=1)
    first.fit(images)
    second.fit(images.flip(0))
    for mine, other in zip(first.encoder.parameters(), second.encoder.parameters()):
        assert torch.allclose(mine, other, atol=1e-3)


def test_component_weight_is_each_components_share_of_the_pixels():
    autoencoder = small(4)
    deviation = autoencoder.fit(smooth_images())
    assert torch.allclose(autoencoder.component_weight, deviation / deviation.mean(), rtol=1e-4)


def test_flat_images_do_not_divide_by_zero():
    autoencoder = small(4)
    autoencoder.fit(torch.full((2, 1, 8, 8), 0.25))
    image = reconstruct(autoencoder, torch.full((1, 1, 8, 8), 0.25))
    assert torch.allclose(image, torch.full_like(image, 0.25), atol=1e-3)


def test_it_is_monais_autoencoder():
    autoencoder = small(4, posterior_std=0.1)
    autoencoder.fit(smooth_images())
    assert isinstance(autoencoder, AutoencoderKL)
    images = smooth_images(2)
    mean, deviation = autoencoder.encode(images)
    assert mean.shape == deviation.shape == (2, 4, 8, 8)
    assert torch.allclose(deviation, torch.full_like(deviation, 0.1))
    reconstruction, forward_mean, _ = autoencoder(images)
    assert reconstruction.shape == images.shape
    assert torch.equal(forward_mean, mean)
    assert autoencoder.encode_stage_2_inputs(images).shape == (2, 4, 8, 8)


@pytest.mark.parametrize("posterior_std", [0.01, 0.5])
def test_samples_scatter_about_the_mean_by_the_posteriors_deviation(posterior_std):
    autoencoder = small(4, posterior_std=posterior_std)
    mean, deviation = autoencoder.encode(smooth_images(8))
    torch.manual_seed(0)
    scatter = torch.stack([autoencoder.sampling(mean, deviation) for _ in range(20)]) - mean
    assert float(scatter.detach().std()) == pytest.approx(posterior_std, rel=0.02)
    assert float(scatter.detach().mean()) == pytest.approx(0, abs=0.02 * posterior_std)


def test_a_latent_position_is_its_own_patch():
    autoencoder = small(4)
    images = smooth_images(1)
    changed = images.clone()
    changed[..., 8:12, 20:24] += 0.5  # the patch in row 2, column 5
    moved = (autoencoder.encode(changed)[0] - autoencoder.encode(images)[0]).abs().sum(1)[0] > 0
    assert moved.nonzero().tolist() == [[2, 5]]


def test_what_training_adds_starts_at_nothing_and_can_be_learned():
    block = ResidualBlock(4)
    x = torch.randn(1, 4, 5, 5)
    assert torch.equal(block(x), x)
    autoencoder = small(4)
    autoencoder.fit(smooth_images())
    loss = (autoencoder(smooth_images(2))[0] - smooth_images(2)).square().mean()
    loss.backward()
    assert autoencoder.decoder.correction[-1].weight.grad.abs().sum() > 0
