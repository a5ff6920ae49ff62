"""What is special about the subclass; that it computes what diffusers does is tested with the names of its weights."""

import inspect

import torch
from monai.networks.nets import AutoencoderKL

from biomedjourney_monai.networks.stable_diffusion import StableDiffusionAutoencoder

SIZES = {"channels": (8, 16), "norm_num_groups": 4}


def test_only_submodules_are_replaced():
    own = {name for name, _ in inspect.getmembers(StableDiffusionAutoencoder, inspect.isfunction)}
    changed = [
        name for name in own if getattr(StableDiffusionAutoencoder, name) is not getattr(AutoencoderKL, name, None)
    ]
    assert changed == ["__init__"]


def test_the_published_size_is_the_default():
    with torch.device("meta"):
        autoencoder = StableDiffusionAutoencoder()
    assert sum(parameter.numel() for parameter in autoencoder.parameters()) == 83_653_863


def test_images_become_latents_of_an_eighth_at_four_levels_and_come_back():
    autoencoder = StableDiffusionAutoencoder(in_channels=1, out_channels=1, channels=(8, 8, 8, 8), norm_num_groups=4)
    reconstruction, mean, deviation = autoencoder(torch.randn(2, 1, 32, 48))
    assert mean.shape == deviation.shape == (2, 4, 4, 6)
    assert reconstruction.shape == (2, 1, 32, 48)


def test_checkpointing_and_fused_attention_change_memory_only():
    image = torch.randn(1, 3, 16, 16)
    results = []
    for settings in ({}, {"use_checkpoint": True}, {"use_flash_attention": True}):
        torch.manual_seed(0)
        autoencoder = StableDiffusionAutoencoder(**SIZES, **settings)
        mean, _ = autoencoder.encode(image)
        autoencoder.decode(mean).square().sum().backward()
        results.append(autoencoder.encoder.blocks[0].conv.weight.grad)
    assert torch.allclose(results[0], results[1]) and torch.allclose(results[0], results[2], rtol=1e-3, atol=1e-4)
