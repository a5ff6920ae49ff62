"""Compare our networks with diffusers' at the full size of Stable Diffusion 1.5.

    python scripts/benchmarks/parity.py

Random weights, zero-initialised layers included; UNet of 8 input channels (as InstructPix2Pix) on 32×32 latents with
256 token states, autoencoder on a 256×256 image; inputs of unit size and of a thousandth, which alone shows a wrong
epsilon. Then through the disk: diffusers writes a folder, `biomedjourney import-weights` reads it, `export-weights`
writes it again, diffusers reads that and must compute the same. Prints errors, peak memory and missed bars.

The last line is JSON: {"figures": {...}, "bars": {...}}.
Two CPU cores need about three minutes, 10 GB of memory and 12 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

BOUND = 1e-4
UNET = {"in_channels": 8, "cross_attention_dim": 768, "attention_head_dim": 8, "norm_num_groups": 32}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
DENOISER = {
    "latent_channels": 4,
    "text_width": 768,
    "cross_attention_dim": 768,
    "channels": (320, 640, 1280, 1280),
    "attention_levels": (True, True, True, False),
    "num_head_channels": (40, 80, 160, 160),
    "num_res_blocks": 2,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "transformer_norm_eps": 1e-6,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disk", type=Path, metavar="DIR", help="where to put 12 GB for a while (default: temporary)")
    parser.add_argument("--without-disk", action="store_true", help="compare the networks alone")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    figures: dict[str, float] = {}
    unet, vae = draw_networks()
    figures |= compare_denoisers(unet)
    figures |= compare_autoencoders(vae)
    figures["peak_memory_compare_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    bars = {
        f"{name} <= {BOUND:g}": value <= BOUND
        for name, value in figures.items()
        if "relative" in name and "one_epsilon" not in name
    }
    bars["one epsilon for all norms is seen"] = figures["unet_one_epsilon_relative_small"] > BOUND
    if not arguments.without_disk:
        with tempfile.TemporaryDirectory(dir=arguments.disk) as folder:
            figures |= go_over_disk(unet, vae, Path(folder))
        for network in ("unet", "encode", "decode"):
            name = f"{network}_relative_after_disk"
            bars[f"{name} <= {BOUND:g}"] = figures[name] <= BOUND
    show(figures, bars)
    print(json.dumps({"figures": figures, "bars": bars}))


def show(figures: dict[str, float], bars: dict[str, bool]) -> None:
    """Print a line for each comparison, then times and memory, then the bars that are missed."""
    print(f"{'comparison':28s} {'largest error':>14s} {'relative':>10s}")
    for name, value in figures.items():
        if "_max" in name:
            relative = figures[name.replace("_max", "_relative")]
            print(f"{name.replace('_max', ''):28s} {value:14.2e} {relative:10.2e}")
    for name, value in figures.items():
        if not any(part in name for part in ("_max", "_relative")):
            print(f"{name:28s} {value:14,.1f}")
    missed = [name for name, kept in bars.items() if not kept]
    print(f"missed: {', '.join(missed)}" if missed else f"all {len(bars)} bars kept")


def draw_networks() -> tuple[nn.Module, nn.Module]:
    """diffusers' networks with weights that keep the residual stream small, so that epsilons show."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    with torch.device("meta"):
        networks = UNet2DConditionModel(**UNET), AutoencoderKL(**VAE)
    generator = torch.Generator().manual_seed(0)
    for network in networks:
        network.to_empty(device="cpu").eval()
        for name, parameter in network.named_parameters():
            if "norm" in name:
                parameter.normal_(1.0 if name.endswith("weight") else 0.0, 0.3, generator=generator)
            elif name.endswith("bias"):
                parameter.normal_(std=1e-4, generator=generator)
            else:
                is_last = any(part in name for part in (".conv2.", "to_out.0", "ff.net.2", "proj_out"))
                width = parameter[0].numel() ** -0.5
                parameter.normal_(std=width * (1e-2 if is_last else 1.0), generator=generator)
    return networks


def compare_denoisers(unet: nn.Module) -> dict[str, float]:
    """Ours shares the memory of diffusers' weights, so that both fit."""
    from biomedjourney_monai.networks.weights.formats.diffusers import denoiser_from_diffusers

    state = denoiser_from_diffusers(unet.state_dict())
    state |= {"text_projection.weight": torch.eye(768), "text_projection.bias": torch.zeros(768)}
    state["scale_factor"] = torch.tensor(0.18215)
    figures: dict[str, float] = {"unet_parameters": sum(value.numel() for value in unet.parameters())}
    plain, flash = share(state, use_flash_attention=False), share(state, use_flash_attention=True)
    wrong = share(state, use_flash_attention=True, transformer_norm_eps=None)
    for label, scale in (("unit", 1.0), ("small", 1e-3)):
        generator = torch.Generator().manual_seed(1)
        noisy, prior = torch.randn(2, 1, 4, 32, 32, generator=generator) * scale
        text, timesteps = torch.randn(1, 256, 768, generator=generator), torch.tensor([501])
        start = time.perf_counter()
        expected = unet(torch.cat([noisy, prior], 1), timesteps, text).sample
        figures[f"unet_diffusers_seconds_{label}"] = time.perf_counter() - start
        for name, network in (("unet", plain), ("unet_flash", flash), ("unet_one_epsilon", wrong)):
            start = time.perf_counter()
            found = network(noisy, timesteps, prior, text)
            figures[f"{name}_seconds_{label}"] = time.perf_counter() - start
            figures |= errors(f"{name}_{{}}_{label}", found, expected)
    return figures


def share(state: dict[str, Tensor], **settings: Any) -> nn.Module:
    from biomedjourney_monai.networks.denoiser import Denoiser

    with torch.device("meta"):
        denoiser = Denoiser(**{**DENOISER, **settings})
    denoiser.load_state_dict(state, assign=True)
    return denoiser.eval()


def compare_autoencoders(vae: nn.Module) -> dict[str, float]:
    """Colour against colour, and the autoencoder folded to grey against colour on a grey image."""
    from biomedjourney_monai.networks.stable_diffusion import StableDiffusionAutoencoder
    from biomedjourney_monai.networks.weights.formats.channels import to_grey
    from biomedjourney_monai.networks.weights.formats.diffusers import autoencoder_from_diffusers

    state = autoencoder_from_diffusers(vae.state_dict())
    colour, grey = StableDiffusionAutoencoder(), StableDiffusionAutoencoder(in_channels=1, out_channels=1)
    colour.load_state_dict(state)
    grey.load_state_dict(to_grey(state))
    figures: dict[str, float] = {"autoencoder_parameters": sum(value.numel() for value in vae.parameters())}
    for label, scale in (("unit", 1.0), ("small", 1e-3)):
        generator = torch.Generator().manual_seed(1)
        image = torch.randn(1, 3, 256, 256, generator=generator) * scale
        latent = torch.randn(1, 4, 32, 32, generator=generator) * scale
        posterior, (mean, deviation) = vae.encode(image).latent_dist, colour.encode(image)
        figures |= errors(f"encode_mean_{{}}_{label}", mean, posterior.mean)
        figures |= errors(f"encode_deviation_{{}}_{label}", deviation, posterior.std)
        decoded = vae.decode(latent).sample
        figures |= errors(f"decode_{{}}_{label}", colour.decode(latent), decoded)
        figures |= errors(f"decode_grey_{{}}_{label}", grey.decode(latent), decoded.mean(1, keepdim=True))
        one = image[:, :1]
        expected = vae.encode(one.repeat(1, 3, 1, 1)).latent_dist.mean
        figures |= errors(f"encode_grey_{{}}_{label}", grey.encode(one)[0], expected)
    return figures


def go_over_disk(unet: nn.Module, vae: nn.Module, folder: Path) -> dict[str, float]:
    """Write, import, export, read back, and compute."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    unet.save_pretrained(folder / "source" / "unet")
    vae.save_pretrained(folder / "source" / "vae")
    schedule = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    DDIMScheduler(**schedule).save_pretrained(folder / "source" / "scheduler")
    width = ["--text-width", "768"]
    source, model, out = folder / "source", folder / "model.pt", folder / "exported"
    bring_in = ["import-weights", "--format", "diffusers", source, "--out", model, "--text-projection", "identity"]
    figures = run_verb("import", [*bring_in, *width])
    figures |= run_verb("export", ["export-weights", model, "--out", out, "--colour", *width])
    figures["model_file_gb"] = model.stat().st_size / 1e9

    generator = torch.Generator().manual_seed(2)
    latent, text = (torch.randn(1, *shape, generator=generator) for shape in ((8, 32, 32), (256, 768)))
    again = UNet2DConditionModel.from_pretrained(out, subfolder="unet")
    found = again(latent * 1e-3, torch.tensor([501]), text).sample
    del again
    expected = unet(latent * 1e-3, torch.tensor([501]), text).sample
    figures |= errors("unet_{}_after_disk", found, expected)
    vae_again = AutoencoderKL.from_pretrained(out, subfolder="vae")
    image = torch.randn(1, 1, 256, 256, generator=generator).repeat(1, 3, 1, 1) * 1e-3
    found, expected = (network.encode(image).latent_dist.mean for network in (vae_again, vae))
    figures |= errors("encode_{}_after_disk", found, expected)
    found, expected = (network.decode(latent[:, :4]).sample.mean(1) for network in (vae_again, vae))
    return figures | errors("decode_{}_after_disk", found, expected)


def run_verb(name: str, arguments: list[Any]) -> dict[str, float]:
    """Run a verb in a separate process; returns its seconds and the peak memory it reports."""
    code = (
        "import sys; from biomedjourney_monai.cli.main import main; status = main(sys.argv[1:]); "
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))); sys.exit(status)"
    )
    start = time.perf_counter()
    command = [sys.executable, "-c", code, *map(str, arguments)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds = time.perf_counter() - start
    return {f"{name}_seconds": seconds, f"{name}_peak_gb": int(printed.split()[-1]) * 1024 / 1e9}


def errors(template: str, found: Tensor, expected: Tensor) -> dict[str, float]:
    """Largest difference, and the same over the largest expected value."""
    largest = float((found - expected).abs().max())
    return {
        template.format("max"): largest,
        template.format("relative"): largest / float(expected.abs().max()),
    }


if __name__ == "__main__":
    main()
