"""Compare one denoising step of ours with OpenVINO's, on this CPU.

    pip install openvino
    python scripts/benchmarks/openvino_step.py

The denoiser of common.yaml (128×128 pixels) and of sd15.yaml (256×256), random weights, a batch of three as for two
guidance scales, in float32 and bfloat16. OpenVINO gets what ours has: fixed shapes, fused attention, and the text's
keys and values as inputs instead of computing them in every step. Both take turns in one process; the figures are
medians over the rounds of processor time, which other jobs on the machine disturb least, and of their ratio. Also the
seconds from PyTorch weights to the first step, and the largest difference of the outputs.

OpenVINO would replace ours if it took at most 1 / 1.1 of the time in bfloat16 and no longer in float32.

The last line is JSON: {"figures": {...}, "bars": {...}}.
It needs 14 GB of memory and, for --models sd15, 4 GB of disk.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from biomedjourney_monai.configuration import compose, read_overlay
from biomedjourney_monai.networks.denoiser import Denoiser
from biomedjourney_monai.networks.fast_path import speed_up

try:
    import openvino
except ImportError:
    openvino = None

CONFIGS = Path(__file__).resolve().parents[2] / "bundle" / "configs"
SIZES = {"small": (24, 16, 128), "sd15": (4, 32, 768)}
"""Latent channels, latent size, width of the text's token states."""
TEXT_LENGTH, BATCH = {"small": 128, "sd15": 256}, 3
PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES), help="(default: both)")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS), help="(default: both)")
    parser.add_argument("--rounds", type=int, default=7, help="that count, after one that does not (default: 7)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], metavar="N", help="(default: 1)")
    arguments = parser.parse_args()
    if openvino is None:
        sys.exit("this benchmark needs OpenVINO; found none. Run `pip install openvino`, which nothing else here needs")
    figures: dict[str, float] = {"cpus": os.cpu_count() or 0}
    for threads in arguments.threads:
        for model in arguments.models:
            for precision in arguments.precisions:
                name = f"{model}, {precision}, {threads} thread{'s'[: threads > 1]}"
                figures |= {
                    f"{name}: {key}": value
                    for key, value in compare(model, precision, threads, arguments.rounds).items()
                }
    bars = {}
    for model in arguments.models:
        for precision, least in (("bfloat16", 1.1), ("float32", 1.0)):
            ratios = [
                v for key, v in figures.items() if key.startswith(f"{model}, {precision}") and key.endswith("as fast")
            ]
            if ratios:
                bars[f"{model}: openvino at least {least} times as fast in {precision}"] = min(ratios) >= least
    print(json.dumps({"figures": {key: float(f"{value:.4g}") for key, value in figures.items()}, "bars": bars}))


def compare(model: str, precision: str, threads: int, rounds: int) -> dict[str, float]:
    """Both engines in turns."""
    torch.set_num_threads(threads)
    steps, ready = {}, {}
    for engine, prepare in (("openvino", with_openvino), ("ours", with_ours)):
        denoiser, inputs = build(model)
        start = time.process_time()
        steps[engine] = prepare(denoiser, inputs, precision, threads)
        del denoiser
        gc.collect()
        steps[engine]()
        ready[engine] = time.process_time() - start
        print(f"{model} {precision} {engine}: ready after {ready[engine]:.2f} s", flush=True)
    outputs = {engine: step() for engine, step in steps.items()}
    seconds: dict[str, list[float]] = {engine: [] for engine in steps}
    for number in range(rounds + 1):
        for engine, step in steps.items():
            start = time.process_time()
            step()
            seconds[engine] += [time.process_time() - start] if number else []
    difference = (outputs["ours"] - outputs["openvino"]).abs().max() / outputs["ours"].abs().max()
    ratio = statistics.median(a / b for a, b in zip(seconds["ours"], seconds["openvino"]))
    figures = {f"{engine}, s a step": statistics.median(values) for engine, values in seconds.items()}
    figures |= {f"{engine}, s to the first step": value for engine, value in ready.items()}
    figures |= {"largest difference over the largest value": float(difference), "openvino, times as fast": ratio}
    print(f"{model} {precision} {threads}: " + ", ".join(f"{k} {v:.4g}" for k, v in figures.items()), flush=True)
    return figures


def build(model: str) -> tuple[Denoiser, tuple[Tensor, ...]]:
    """The denoiser with random weights, none of them zero, and the arguments of a step."""
    common = CONFIGS / "common.yaml"
    sections = {} if model == "small" else read_overlay(CONFIGS / "sd15.yaml", common)
    channels, size, width = SIZES[model]
    sections["denoiser"] = {**sections.get("denoiser", {}), "text_width": width}
    torch.manual_seed(0)
    with torch.device("meta" if model == "sd15" else "cpu"):
        denoiser: Denoiser = compose(common, sections).get_parsed_content("denoiser").eval().requires_grad_(False)
    if model == "sd15":
        denoiser = denoiser.to_empty(device="cpu")
        denoiser.scale_factor.fill_(1.0)
    numbers = torch.randn(2**20)
    for name, parameter in denoiser.unet.named_parameters():
        if parameter.ndim > 1:  # one draw for all: a new one of 860 million takes longer than the steps
            flat, scale = parameter.view(-1), parameter[0].numel() ** -0.5
            flat.copy_(numbers.repeat(-(-len(flat) // len(numbers)))[: len(flat)] * scale)
        else:
            parameter.fill_(float(name.endswith("weight")))
    nn.init.normal_(denoiser.text_projection.weight, std=width**-0.5)
    nn.init.zeros_(denoiser.text_projection.bias)
    latent, prior = torch.randn(2, BATCH, channels, size, size)
    return denoiser, (latent, torch.full((BATCH,), 500), prior, torch.randn(BATCH, TEXT_LENGTH[model], width))


def with_ours(denoiser: Denoiser, inputs: tuple[Tensor, ...], precision: str, *_: Any) -> Callable[[], Tensor]:
    fast = speed_up(denoiser, precision=precision)
    return lambda: fast(*inputs)


def with_openvino(denoiser: Denoiser, inputs: tuple[Tensor, ...], precision: str, threads: int) -> Callable[[], Tensor]:
    """Trace, compile for the CPU, and keep what the text gives."""
    for module in denoiser.unet.modules():
        if getattr(module, "use_flash_attention", None) is False:
            module.use_flash_attention = True
    with torch.inference_mode():
        kept = GivenText(denoiser).of(inputs[3])
    kept = [value.clone() for value in kept]
    with torch.no_grad():
        traced = openvino.convert_model(WithoutText(denoiser), example_input=(*inputs[:3], *kept))
    traced.reshape({place: list(value.shape) for place, value in enumerate((*inputs[:3], *kept))})
    hints = {"INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision]}
    hints |= {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.compile_model(traced, "CPU", hints)
    request = compiled.create_infer_request()
    given = [value.numpy() for value in (*inputs[:3], *kept)]
    return lambda: torch.from_numpy(request.infer(given, share_inputs=True)[0].copy())


class Given(nn.Module):
    """Returns what it holds, whatever it is asked."""

    value: Tensor

    def forward(self, _: Tensor) -> Tensor:
        return self.value


class GivenText:
    """The maps of the text's token states to keys and values, taken out of a denoiser in their order."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.maps, self.places = [], []
        self.projection = denoiser.text_projection
        for name, module in list(denoiser.unet.named_modules()):
            if name.endswith("attn2"):
                for part in ("to_k", "to_v"):
                    self.maps.append(getattr(module, part))
                    self.places.append(Given())
                    setattr(module, part, self.places[-1])
        denoiser.given_text = self  # type: ignore[assignment]

    def of(self, text: Tensor) -> list[Tensor]:
        states = self.projection(text)
        return [each(states) for each in self.maps]


class WithoutText(nn.Module):
    """A denoiser whose arguments are the text's keys and values instead of the text."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.text_width = denoiser.geometry["text_width"]

    def forward(self, noisy: Tensor, timesteps: Tensor, prior: Tensor, *kept: Tensor) -> Tensor:
        for place, value in zip(self.denoiser.given_text.places, kept):
            place.value = value
        return self.denoiser(noisy, timesteps, prior, noisy.new_zeros(len(noisy), 1, self.text_width))


if __name__ == "__main__":
    main()
