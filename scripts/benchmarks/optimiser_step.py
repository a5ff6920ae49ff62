"""Measure the time and memory of one optimiser step at Stable Diffusion 1.5's geometry.

    python scripts/benchmarks/optimiser_step.py

Builds the denoiser of configs/sd15.yaml with random weights and takes one AdamW step at batch 1, 256×256, in float32 on
the CPU; prints times and peak memory (about 16 GB; less than 18 GB free is an error, before anything is built). The
average of the weights (EMA) is not included; it would add 3.4 GB.

`--distill` takes the step of a student of few steps instead: its frozen teacher in bfloat16 follows five guided steps,
the student two of its own, and learns from both states in bfloat16 with gradient checkpointing. With AdamW that needs
21 GB, with `--adafactor`, as in gpu12.yaml, 12 GB.

`--table` computes instead what a training step needs on a GPU, by batch size and precision: weights, gradients, Adam's
two moments and the average exactly (20 bytes per parameter, float32 also in bfloat16 autocast), and the tensors that
autograd keeps, counted by a forward pass on shapes only (torch's fake tensors, with fused attention). Workspaces,
fragmentation and the CUDA context come on top.

The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from biomedjourney_monai.configuration import compose, read_overlay
from biomedjourney_monai.networks.fast_path import speed_up
from biomedjourney_monai.training.distillation import DistillPrepareBatch
from biomedjourney_monai.training.prepare_batch import WeightedLatentLoss

CONFIGS = Path(__file__).resolve().parents[2] / "bundle" / "configs"
TEXT_WIDTH, TEXT_LENGTH = 768, 256  # BiomedCLIP's
LATENT = (4, 32, 32)  # of 256 × 256 pixels
NEEDED_GB, BAR_GB = 18.0, 20.0
LEARNING_RATE = 1e-6  # Adam's first step moves every weight by as much, too far for random weights at 1e-4
BATCHES = (1, 4, 8, 16, 32)
GB = 1e9


def build_denoiser(**changes: Any) -> torch.nn.Module:
    """The denoiser of sd15.yaml with BiomedCLIP's width, on torch's current device."""
    common = CONFIGS / "common.yaml"
    sections = read_overlay(CONFIGS / "sd15.yaml", common)
    sections["denoiser"] = {**sections["denoiser"], "text_width": TEXT_WIDTH, **changes}
    return compose(common, sections).get_parsed_content("denoiser")


def draw_batch(size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Noisy latent, timesteps, prior latent and token states."""
    latent, prior = torch.randn(2, size, *LATENT)
    return latent, torch.full((size,), 500), prior, torch.randn(size, TEXT_LENGTH, TEXT_WIDTH)


def take_step() -> dict[str, float]:
    """One step on the CPU in float32, batch 1."""
    free = available_gb()
    if free < NEEDED_GB:
        sys.exit(f"one step needs {NEEDED_GB} GB of free memory, found {free:.1f}; close something, or pass --table")
    torch.manual_seed(0)
    denoiser = build_denoiser()
    for parameter in denoiser.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter.data, std=0.02)
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=LEARNING_RATE)
    inputs, noise = draw_batch(1), torch.randn(1, *LATENT)
    start = time.perf_counter()
    loss = (denoiser(*inputs) - noise).square().mean()
    forward = time.perf_counter()
    loss.backward()
    backward = time.perf_counter()
    learning = [bool(parameter.grad.any()) for parameter in denoiser.parameters()]
    optimizer.step()
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB
    with torch.no_grad():
        after = (denoiser(*inputs) - noise).square().mean().item()
    return {
        "parameters": sum(parameter.numel() for parameter in denoiser.parameters()),
        "loss before": loss.item(),
        "loss after": after,
        "tensors with a gradient": sum(learning) / len(learning),
        "forward s": forward - start,
        "backward s": backward - forward,
        "optimiser s": end - backward,
        "peak memory GB": peak,
        "computed GB": (4 * 4 * sum(p.numel() for p in denoiser.parameters()) + kept_for_backward(1)) / GB,
    }


def take_distill_step(*, adafactor: bool) -> dict[str, float]:
    """One step of a student on the CPU, one example with two states."""
    free, needed = available_gb(), 12.0 if adafactor else 21.0
    if free < needed:
        sys.exit(f"this step needs {needed} GB of free memory, found {free:.1f}; close something, or pass --adafactor")
    torch.manual_seed(0)
    start = time.perf_counter()
    teacher = speed_up(build_denoiser(), precision="bfloat16")
    torch.manual_seed(0)
    scales = {"text_guidance_scale": [1.0, 10.0], "image_guidance_scale": [1.0, 3.0]}
    student = build_denoiser(gradient_checkpointing=True, distilled={"steps": [2], **scales})
    for network in (teacher, student):
        torch.nn.init.normal_(network.unet.out[2].conv.weight, std=0.02, generator=torch.Generator().manual_seed(1))
    kind = torch.optim.Adafactor if adafactor else torch.optim.AdamW
    optimizer = kind(student.parameters(), lr=LEARNING_RATE, foreach=False)
    common = CONFIGS / "common.yaml"
    schedule = compose(common, read_overlay(CONFIGS / "sd15.yaml", common)).get_parsed_content("noise_scheduler")
    given = {"scale_factor": 1.0, "null_text_states": torch.zeros(1, TEXT_LENGTH, TEXT_WIDTH)}
    prepare = DistillPrepareBatch(schedule, teacher=teacher, student=student, teacher_steps=5, path_steps=(2,), **given)
    batch = {"prior_latent": torch.randn(1, *LATENT), "text_states": torch.randn(1, TEXT_LENGTH, TEXT_WIDTH)}
    built = time.perf_counter()
    noisy, target, _, inputs = prepare({**batch, "valid": torch.ones(1, 1, *LATENT[1:])}, "cpu")
    followed = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        prediction = student(noisy, **inputs)
    loss = WeightedLatentLoss()(prediction, target)
    loss.backward()
    learning = [parameter.grad is not None for parameter in student.parameters()]
    optimizer.step()
    return {
        "loss": loss.item(),
        "tensors with a gradient": sum(learning) / len(learning),
        "building s": built - start,
        "both paths s": followed - built,
        "student's step s": time.perf_counter() - followed,
        "peak memory GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB,
    }


def available_gb() -> float:
    """Available memory, as reported by Linux."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    return kilobytes * 1024 / GB


def kept_for_backward(size: int, *, dtype: torch.dtype = torch.float32) -> int:
    """Bytes of the tensors that autograd keeps of one forward pass, parameters excluded, each storage once."""
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if id(tensor) not in parameters:
            storage = tensor.untyped_storage()
            storages[storage._cdata] = storage.nbytes()
            keep.append(storage)
        return tensor

    keep: list[Any] = []
    with FakeTensorMode():
        denoiser = build_denoiser()
        parameters = {id(parameter) for parameter in denoiser.parameters()}
        own = {parameter.untyped_storage()._cdata for parameter in denoiser.parameters()}
        inputs = draw_batch(size)
        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            torch.autocast("cpu", dtype, enabled=dtype != torch.float32),
        ):
            denoiser(*inputs)
    return sum(count for place, count in storages.items() if place not in own)


def memory_table() -> dict[str, float]:
    """GB of a training step by batch size and precision; printed as a table in Markdown."""
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in build_denoiser().parameters())
    fixed = 5 * 4 * parameters  # weights, gradients, two moments, average
    rows = {
        name: [(fixed + kept_for_backward(size, dtype=getattr(torch, name))) / GB for size in BATCHES]
        for name in ("float32", "bfloat16")
    }
    print(f"whatever the batch: {fixed / GB:.1f} GB for {parameters:,} parameters")
    print("| precision | " + " | ".join(f"batch {size}" for size in BATCHES) + " |")
    print("|---|" + "---|" * len(BATCHES))
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in row) + " |")
    return {f"{name}, batch {size}, GB": value for name, row in rows.items() for size, value in zip(BATCHES, row)}


def main() -> None:
    """Measure or compute, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="compute GPU memory by batch size and precision instead")
    parser.add_argument("--distill", action="store_true", help="a student of few steps and its teacher")
    parser.add_argument("--adafactor", action="store_true", help="with --distill: less memory than AdamW")
    arguments = parser.parse_args()
    if arguments.distill:
        figures = take_distill_step(adafactor=arguments.adafactor)
        most = 12.0 if arguments.adafactor else 21.0
        bars = {
            "every tensor has a gradient": figures["tensors with a gradient"] == 1,
            f"peak memory at most {most:.0f} GB": figures["peak memory GB"] <= most,
        }
        print(json.dumps({"figures": {key: round(value, 6) for key, value in figures.items()}, "bars": bars}))
        return
    if arguments.table:
        print(json.dumps({"figures": {key: round(value, 2) for key, value in memory_table().items()}, "bars": {}}))
        return
    figures = take_step()
    for name, value in figures.items():
        print(f"{name:20s} {value:.4g}")
    bars = {
        "every tensor has a gradient": figures["tensors with a gradient"] == 1,
        "the step lowers the loss": figures["loss after"] < figures["loss before"],
        "computed within 15 % of measured": abs(figures["computed GB"] / figures["peak memory GB"] - 1) < 0.15,
        f"peak memory at most {BAR_GB:.0f} GB": figures["peak memory GB"] <= BAR_GB,
    }
    print(json.dumps({"figures": {key: round(value, 6) for key, value in figures.items()}, "bars": bars}))


if __name__ == "__main__":
    main()
