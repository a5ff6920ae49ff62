"""Measure where Winograd's method pays on this CPU, and what the rule that chooses it loses.

    python scripts/benchmarks/winograd.py

Each 3×3 convolution of both denoisers (common.yaml and sd15.yaml, a batch of three), once by oneDNN and once by
Winograd's method, in float32, by turns: median processor time. Prints a table by layer, and for each model the seconds
of all layers with oneDNN alone, with Winograd alone, as `networks/winograd.py` chooses, and by the better way of each.

The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from biomedjourney_monai.configuration import compose, read_overlay
from biomedjourney_monai.networks.fast_path import PackedConvolution, PackedLinear
from biomedjourney_monai.networks.winograd import WinogradConvolution, can_use_winograd, pays_off

CONFIGS = Path(__file__).resolve().parents[2] / "bundle" / "configs"
LATENTS = {"small": (24, 16), "sd15": (4, 32)}
"""Channels and size."""
MOST_LOST = 1.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=LATENTS, default=list(LATENTS), help="(default: both)")
    parser.add_argument("--rounds", type=int, default=5, help="that count (default: 5)")
    parser.add_argument("--threads", type=int, default=1, help="(default: 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    figures, bars = {}, {}
    print("| model | input, output channels | layers | oneDNN, ms | Winograd, ms | chosen |\n|---|---|---|---|---|---|")
    for model in arguments.models:
        seconds: Counter[str] = Counter()
        for (shape, out), count in layers(model).items():
            direct, winograd = time_both(shape, out, rounds=arguments.rounds)
            chosen = pays_off(torch.empty(shape, device="meta"), out)
            ways = {"oneDNN": direct, "Winograd": winograd, "chosen": winograd if chosen else direct}
            seconds.update({way: count * value for way, value in {**ways, "best": min(direct, winograd)}.items()})
            name = f"{'×'.join(map(str, shape))}, {out}"
            which = "Winograd" if chosen else "oneDNN"
            print(f"| {model} | {name} | {count} | {1e3 * direct:.1f} | {1e3 * winograd:.1f} | {which} |", flush=True)
        figures |= {f"{model}: {way}, s": round(value, 5) for way, value in seconds.items()}
        figures[f"{model}: chosen over best"] = round(seconds["chosen"] / seconds["best"], 3)
        bars[f"{model}: chosen within {MOST_LOST} of the best"] = seconds["chosen"] <= MOST_LOST * seconds["best"]
    print(json.dumps({"figures": figures, "bars": bars}))


def layers(model: str) -> Counter[tuple[tuple[int, ...], int]]:
    """Input shape and output channels of the convolutions that Winograd can compute, and how many there are."""
    common, (channels, size) = CONFIGS / "common.yaml", LATENTS[model]
    sections = {} if model == "small" else read_overlay(CONFIGS / "sd15.yaml", common)
    sections["denoiser"] = {**sections.get("denoiser", {}), "text_width": 128, "prior_expectation": None}
    found: Counter[tuple[tuple[int, ...], int]] = Counter()
    with torch.device("meta"), torch.inference_mode():
        denoiser = compose(common, sections).get_parsed_content("denoiser")
        for module in denoiser.modules():
            if isinstance(module, nn.Conv2d) and can_use_winograd(module):
                module.register_forward_hook(
                    lambda convolution, args, _: found.update([(tuple(args[0].shape), convolution.out_channels)])
                )
        latent = torch.empty(3, channels, size, size)
        denoiser(latent, torch.empty(3), latent, torch.empty(3, 8, 128))
    return found


@torch.inference_mode()
def time_both(shape: tuple[int, ...], out: int, *, rounds: int) -> list[float]:
    """Seconds by oneDNN and by Winograd's method."""
    x = torch.randn(shape).to(memory_format=torch.channels_last)
    convolution = nn.Conv2d(shape[1], out, 3, padding=1).to(memory_format=torch.channels_last)
    winograd = WinogradConvolution(convolution.weight, convolution.bias, linear=PackedLinear)
    direct = PackedConvolution(convolution)
    direct.may_be_winograd = False
    ways: list[Callable[[Tensor], Tensor]] = [direct, winograd]
    seconds: list[list[float]] = [[], []]
    for number in range(rounds + 1):  # the first packs the weights
        for way, kept in zip(ways, seconds):
            start = time.process_time()
            way(x)
            kept += [time.process_time() - start] if number else []
    return [statistics.median(kept) for kept in seconds]


if __name__ == "__main__":
    main()
