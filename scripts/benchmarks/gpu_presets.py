"""Compute whether the GPU presets fit into their memory (a minute on two cores).

    python scripts/benchmarks/gpu_presets.py

Builds the denoiser of each stack of train.yaml, sd15.yaml and a preset on shapes only and adds up, in GiB: weights,
gradients, optimiser state and the average of the weights, all float32; the autoencoder and BiomedCLIP's text tower,
which previews need; and what autograd keeps at the preset's batch and precision (torch's fake tensors, fused
attention). With gradient checkpointing that is the inputs of the UNet's blocks, the tensors outside of them, and the
largest block, which is computed again. A student of few steps (distill.yaml) needs its teacher as well, in bfloat16,
and learns from up to four states of an example, by which a preset divides its batch. Workspaces, fragmentation and the
CUDA context come on top: a fifth of the GPU must be left. Nothing is measured on a GPU.

The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from biomedjourney_monai.training.gpu_preset import GpuPreset

sys.path.insert(0, str(Path(__file__).parent))
from optimiser_step import CONFIGS, TEXT_WIDTH, build_denoiser, draw_batch

PRESETS = (12, 24, 40, 80)
SHARE = 0.8
STATES = 4  # of distill.yaml's longest path
TEXT_TOWER = 110_000_000
"""Parameters of BiomedCLIP's text tower, about."""
AUTOENCODER = 83_650_000
GIB = 2**30


def main() -> None:
    figures, bars = {}, {}
    print("| overlay | weights, gradients, optimiser, average | frozen networks | activations | all | all, a student |")
    print("|---|---|---|---|---|---|")
    for size in PRESETS:
        settings = read_preset(size)
        parts = {
            "fixed": fixed_bytes(settings) / GIB,
            "frozen networks": 4 * (TEXT_TOWER + AUTOENCODER) / GIB,
            "activations": activation_bytes(settings) / GIB,
        }
        whole = sum(parts.values())
        shown = {**parts, "all": whole, "all, a student": whole + student_bytes(settings) / GIB}
        print(f"| gpu{size}.yaml | " + " | ".join(f"{value:.1f}" for value in shown.values()) + " |", flush=True)
        figures |= {f"gpu{size}, {name}, GiB": round(value, 2) for name, value in shown.items()}
        bars[f"gpu{size} needs at most {SHARE:.0%} of {size} GiB"] = whole <= SHARE * size
    print(json.dumps({"figures": figures, "bars": bars}))


def read_preset(size: int) -> dict[str, Any]:
    """The settings that decide the memory, from the config files as MONAI lays them over each other."""
    from monai.bundle import ConfigParser

    names = ("train.yaml", "sd15.yaml", "gpu12.yaml" if size == 12 else "gpu.yaml")
    content = ConfigParser.load_config_files([str(CONFIGS / name) for name in names])
    preset = GpuPreset(1, 32, 0, True) if size == 12 else GpuPreset.for_memory(size)
    return {
        "batch_size": preset.batch_size,
        "precision": getattr(torch, content["precision"]),
        "checkpointing": preset.gradient_checkpointing,
        "average": content["ema_momentum"] != 1,
        "optimizer": content["optimizer"]["_target_"].rpartition(".")[2],
    }


def fixed_bytes(settings: dict[str, Any]) -> int:
    """Whatever the batch."""
    with torch.device("meta"):
        denoiser = build_denoiser(text_width=TEXT_WIDTH)
    parameters = list(denoiser.parameters())
    numbers = sum(parameter.numel() for parameter in parameters)
    state = {"AdamW": 2 * numbers, "Adafactor": sum(map(adafactor_numbers, parameters))}[settings["optimizer"]]
    return 4 * (2 * numbers + state + (numbers if settings["average"] else 0))


def student_bytes(settings: dict[str, Any]) -> int:
    """What a student needs more: its teacher, and the states of an example that a batch cannot be without."""
    with torch.device("meta"):
        teacher = 2 * sum(parameter.numel() for parameter in build_denoiser(text_width=TEXT_WIDTH).parameters())
    if settings["batch_size"] >= STATES:
        return teacher
    return teacher + activation_bytes({**settings, "batch_size": STATES}) - activation_bytes(settings)


def adafactor_numbers(parameter: Tensor) -> int:
    """Of a matrix and more: sums over the last two axes, each alone; of a vector as many as it has."""
    if parameter.ndim < 2:
        return parameter.numel()
    return parameter.numel() // parameter.shape[-1] + parameter.numel() // parameter.shape[-2]


def activation_bytes(settings: dict[str, Any]) -> int:
    """What is there at the peak of the backward pass, beyond weights and gradients."""
    with FakeTensorMode():
        denoiser = build_denoiser(gradient_checkpointing=settings["checkpointing"])
        own = {parameter.untyped_storage()._cdata for parameter in denoiser.parameters()}
        blocks = [*denoiser.unet.down_blocks, denoiser.unet.middle_block, *denoiser.unet.up_blocks]
        inputs = draw_batch(settings["batch_size"])
        with torch.autocast("cuda" if torch.cuda.is_available() else "cpu", settings["precision"]):
            if not settings["checkpointing"]:
                with counted(own) as kept:
                    denoiser(*inputs)
                return sum(kept.values())
            with counted(own) as kept, watched(blocks) as calls:
                denoiser(*inputs)
            largest = 0
            for block, args, kwargs in calls:
                for tensor in tensors(args, kwargs):
                    kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
                with counted(own) as again:
                    type(block).forward(block, *args, **kwargs)
                largest = max(largest, sum(again.values()))
            return sum(kept.values()) + largest


@contextlib.contextmanager
def counted(own: set[int]) -> Iterator[dict[int, int]]:
    """Storages that autograd keeps inside the block, each once, and their bytes; parameters are not among them."""
    storages: dict[int, int] = {}
    alive: list[Any] = []

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            storages[storage._cdata] = storage.nbytes()
            alive.append(storage)  # so that no other takes its place in memory
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield storages


@contextlib.contextmanager
def watched(blocks: list[nn.Module]) -> Iterator[list[tuple[nn.Module, tuple, dict]]]:
    """Which block was called with what."""
    calls: list[tuple[nn.Module, tuple, dict]] = []
    hooks = [block.register_forward_pre_hook(lambda *call: calls.append(call), with_kwargs=True) for block in blocks]
    yield calls
    for hook in hooks:
        hook.remove()


def tensors(args: tuple, kwargs: dict) -> Iterator[Tensor]:
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors(tuple(value), {})


if __name__ == "__main__":
    main()
