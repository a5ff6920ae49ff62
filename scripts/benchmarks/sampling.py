"""Measure the speed of a counterfactual against diffusers' InstructPix2Pix pipeline.

    python scripts/benchmarks/sampling.py

Stable Diffusion 1.5's geometry with shared random weights, 256×256 pixels, 256 token states, two-scale guidance, the
same noise. Five arms, each in a separate process: diffusers and ours, in float32 and bfloat16, and a student of few
steps (the same weights, which takes no guidance branches), whose two steps are always run whole. They take turns with
runs of a few steps, and the figures are medians over the rounds; the first run of each, in which ours packs its
weights, is printed but not counted. One counterfactual with our defaults is run completely; diffusers' 100 steps are
extrapolated from its measured steps, encoding and decoding (--whole runs them). --arms leaves arms out, with the bars
that need them; --quick takes fewer steps and rounds.

Then the shipped small model: from the start of `biomedjourney sample` to the image on disk. What solvers and steps
cost in quality is measured by scripts/benchmarks/solvers.py.

The last line is JSON: {"figures": {...}, "bars": {...}}.
It needs two idle cores for some ten minutes (--quick: six), 16 GB of memory and 6 GB of disk.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
CONFIGS = Path(__file__).resolve().parents[2] / "bundle" / "configs"
ARMS = ("diffusers-float32", "ours-float32", "diffusers-bfloat16", "ours-bfloat16", "student-bfloat16")
STUDENT = {"steps": [2, 1], "text_guidance_scale": [1.0, 10.0], "image_guidance_scale": [1.0, 3.0]}
START = "start"  # of the small model that is shipped
SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
TEXT_SCALE, IMAGE_SCALE = 7.5, 1.5
THEIR_STEPS = 100  # the default of diffusers' pipeline
GFLOP_PER_STEP = {"diffusers": 567, "ours": 538}
"""Of three UNet calls; ours has the text's keys and values already. Winograd's way, which is ours in float32, needs
less: the share of the peak can pass 1 there."""
INPUTS = "inputs.safetensors"  # written last
ON_INTEL = "Intel" in str(torch.cpu.get_capabilities().get("cpu_name"))
RATIOS = {
    "float32 over diffusers float32": ("diffusers-float32", "ours-float32", 1.0 if ON_INTEL else 1.1),
    "bfloat16 over diffusers bfloat16": ("diffusers-bfloat16", "ours-bfloat16", 1.2),
    "bfloat16 over diffusers float32": ("diffusers-float32", "ours-bfloat16", 3.5),
}
"""What is divided by what, and the bar."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, help="in a run (default: 4, quick: 2); a divisor of 1000")
    parser.add_argument("--rounds", type=int, help="runs of each arm that count (default: 3, quick: 2)")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument(
        "--arms", nargs="+", choices=(*ARMS, START), default=(*ARMS, START), help="what to measure (default: all)"
    )
    parser.add_argument("--whole", action="store_true", help=f"run all {THEIR_STEPS} steps of diffusers; 15 minutes")
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="DIR",
        help="keep the 6 GB of weights there, and use them again (default: temporary)",
    )
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.arm:
        serve(arguments.arm, arguments.weights)
        return
    arguments.steps = arguments.steps or (2 if arguments.quick else 4)
    if 1000 % arguments.steps:  # at others diffusers' DDIM does not land on its own next timestep
        parser.error(f"--steps must divide 1000, found {arguments.steps}")
    arguments.rounds = arguments.rounds or (2 if arguments.quick else 3)
    figures, bars = start_of_the_small_model() if START in arguments.arms else ({}, {})
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.weights or Path(temporary)
        measured = measure(folder, arguments) if set(arguments.arms) & set(ARMS) else Measured()
        more, more_bars = compare(measured, folder, steps=arguments.steps)
    print(json.dumps({"figures": figures | more, "bars": bars | more_bars}))


@dataclass
class Measured:
    """What the arms needed: seconds of each run and of its steps, of the first run, of a whole one; memory in GB."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    steps: dict[str, list[float]] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    whole: dict[str, dict[str, float]] = field(default_factory=dict)
    memory: dict[str, dict[str, float]] = field(default_factory=dict)


def measure(folder: Path, arguments: argparse.Namespace) -> Measured:
    """Run all arms in turns."""
    if not (folder / INPUTS).is_file():
        write_weights(folder)
    for old in folder.glob("*.npy"):
        old.unlink()
    measured, arms = Measured(), [arm for arm in ARMS if arm in arguments.arms]
    workers = {arm: Worker(arm, folder) for arm in arms}
    for arm, worker in workers.items():
        measured.first[arm] = worker.sample(steps=arguments.steps)["seconds"]
    for number, arm in itertools.product(range(arguments.rounds), arms):
        done = workers[arm].sample(steps=arguments.steps)
        measured.seconds.setdefault(arm, []).append(done["seconds"])
        measured.steps.setdefault(arm, []).append(done["seconds_per_step"])
        said = f"{done['seconds']:7.2f} s, {done['seconds_per_step']:6.3f} s a step"
        print(f"round {number + 1} {arm:20} {said}", flush=True)
    theirs = THEIR_STEPS if arguments.whole else 0
    for arm, steps in (("ours-bfloat16", None), ("student-bfloat16", None), ("diffusers-float32", theirs)):
        if arm in workers and steps != 0:
            measured.whole[arm] = workers[arm].sample(steps=steps, keep=False)
    measured.memory = {arm: worker.close() for arm, worker in workers.items()}
    return measured


def compare(measured: Measured, folder: Path, *, steps: int) -> tuple[dict[str, float], dict[str, bool]]:
    """Figures and bars, of those arms that ran."""
    figures, bars = matmul_peaks(), {}
    both = [figures[f"matmul peak {precision}, GFLOP/s"] for precision in ("bfloat16", "float32")]
    figures["matmul peak, bfloat16 over float32"] = both[0] / both[1]  # about 6 with AMX, 2 with AVX-512 alone
    reference = folder / "diffusers-float32.npy"
    error = {}
    for arm in measured.seconds:
        side, precision = arm.split("-")
        figures[f"{arm}: peak memory, GB"] = measured.memory[arm]["peak"]
        if side == "student":  # always its own two steps
            continue
        step = statistics.median(measured.steps[arm])
        figures[f"{arm}: seconds per step"] = step
        figures[f"{arm}: encoding and decoding, seconds"] = statistics.median(measured.seconds[arm]) - steps * step
        figures[f"{arm}: first run, seconds"] = measured.first[arm]
        figures[f"{arm}: peak memory while loading, GB"] = measured.memory[arm]["loading"]
        peak = figures[f"matmul peak {precision}, GFLOP/s"]
        figures[f"{arm}: share of the matmul peak"] = GFLOP_PER_STEP[side] / step / peak
        if reference.is_file() and arm != ARMS[0]:
            error[arm] = relative(np.load(folder / f"{arm}.npy"), np.load(reference))
            figures[f"{arm}: relative error to diffusers-float32"] = error[arm]
    for name, (slow, fast, bound) in RATIOS.items():
        if slow in measured.seconds and fast in measured.seconds:
            runs = zip(measured.seconds[slow], measured.seconds[fast])
            figures[f"times as fast, {name}"] = statistics.median(a / b for a, b in runs)
            bars[f"{name} >= {bound}"] = figures[f"times as fast, {name}"] >= bound
    if "ours-float32" in error:
        bars["float32 within 1e-3 of diffusers"] = error["ours-float32"] <= 1e-3
    if {"ours-bfloat16", "diffusers-bfloat16"} <= error.keys():
        bars["bfloat16's error <= that of diffusers"] = error["ours-bfloat16"] <= error["diffusers-bfloat16"]
    for arm, least in (("ours-bfloat16", 20), ("student-bfloat16", 100)):
        if {ARMS[0], arm} <= measured.seconds.keys():
            compare_defaults(arm, least, measured, figures, bars)
    if "ours-bfloat16" in measured.seconds:
        bars["bfloat16 past half of the matmul peak"] = figures["ours-bfloat16: share of the matmul peak"] > 0.5
    return figures, bars


def compare_defaults(
    arm: str, least: float, measured: Measured, figures: dict[str, float], bars: dict[str, bool]
) -> None:
    """One counterfactual with our defaults, run whole, against diffusers' 100 steps; and the memory."""
    ours, theirs = measured.whole[arm], measured.whole.get(ARMS[0], {}).get("seconds")
    if theirs is None:
        step = figures[f"{ARMS[0]}: seconds per step"]
        theirs = figures[f"{ARMS[0]}: encoding and decoding, seconds"] + THEIR_STEPS * step
    figures[f"{arm}: one counterfactual, steps"] = ours["steps"]
    figures[f"{arm}: one counterfactual, seconds"] = ours["seconds"]
    figures["diffusers-float32: one counterfactual, seconds"] = theirs
    figures[f"{arm}: one counterfactual, times as fast"] = theirs / ours["seconds"]
    bars[f"{arm}: one counterfactual >= {least} times"] = theirs / ours["seconds"] >= least
    share = measured.memory[arm]["peak"] / measured.memory[ARMS[0]]["peak"]
    figures[f"{arm}: memory over diffusers float32"] = share
    bars[f"{arm}: memory <= 0.6 of diffusers float32"] = share <= 0.6


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def write_weights(folder: Path) -> None:
    """Draw diffusers' networks, and keep them in both layouts and precisions."""
    folder.mkdir(parents=True, exist_ok=True)
    from parity import draw_networks
    from safetensors.torch import save_file

    from biomedjourney_monai.networks.weights.formats.channels import to_grey
    from biomedjourney_monai.networks.weights.formats.diffusers import (
        autoencoder_from_diffusers,
        denoiser_from_diffusers,
    )
    from biomedjourney_monai.networks.weights.model_file import save_tensors

    with torch.no_grad():
        unet, vae = (network.half().float() for network in draw_networks())  # a model file holds float16
    denoiser = {**denoiser_from_diffusers(unet.state_dict()), "scale_factor": torch.tensor(0.18215)}
    denoiser |= {"text_projection.weight": torch.eye(768), "text_projection.bias": torch.zeros(768)}
    state = {f"denoiser.{key}": value for key, value in denoiser.items()}
    autoencoder = to_grey(autoencoder_from_diffusers(vae.state_dict()))
    state |= {f"autoencoder.{key}": value for key, value in autoencoder.items()}
    save_tensors(folder / "ours.pt", state, info={}, half=True)
    del state, denoiser
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        unet.to(dtype).save_pretrained(folder / name / "unet")
        vae.to(dtype).save_pretrained(folder / name / "vae")
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 1, 16, 16, generator=generator)
    inputs = {
        "image": torch.nn.functional.interpolate(coarse, size=256, mode="bicubic").clamp(0, 1),
        "text": torch.randn(1, 256, 768, generator=generator),
        "null": torch.randn(1, 256, 768, generator=generator),
        "noise": torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0)),
    }
    save_file(inputs, folder / INPUTS)


def matmul_peaks(size: int = 4096) -> dict[str, float]:
    """What this machine reaches in one large product."""
    figures = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(2, size, size).to(dtype)
        rates = []
        for _ in range(5):
            start = time.perf_counter()
            a @ b
            rates.append(2 * size**3 / (time.perf_counter() - start) / 1e9)
        figures[f"matmul peak {str(dtype).removeprefix('torch.')}, GFLOP/s"] = max(rates)
    return figures


class Worker:
    """An arm in a separate process."""

    def __init__(self, arm: str, folder: Path) -> None:
        command = [sys.executable, __file__, "--arm", arm, "--weights", str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def sample(self, *, steps: int | None, keep: bool = True) -> dict[str, float]:
        """One counterfactual; None steps are our default. Its latent is kept, to be compared, if it is to be."""
        return self._ask({"steps": steps, "keep": keep})

    def close(self) -> dict[str, float]:
        """End it; its peak memory in GB."""
        answer = self._ask({"stop": True})
        self.process.wait()
        return answer

    def _ask(self, question: dict[str, Any]) -> dict[str, float]:
        print(json.dumps(question), file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, float]:
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        sys.exit(f"an arm ended early with status {self.process.wait()}")


def serve(arm: str, folder: Path) -> None:
    """The life of a worker: load, say so, answer until told to stop."""
    from safetensors.torch import load_file

    side, precision = arm.split("-")
    inputs = load_file(folder / INPUTS)
    load = {"ours": load_ours, "student": partial(load_ours, student=True), "diffusers": load_diffusers}[side]
    make = load(folder / precision, precision, inputs)
    loading = peak_memory()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        if question.get("stop"):
            print(json.dumps({"peak": peak_memory(), "loading": loading}), flush=True)
            return
        start = time.perf_counter()
        latent, stamps, steps = make(question["steps"])
        seconds = time.perf_counter() - start
        between = [later - earlier for earlier, later in itertools.pairwise(stamps)]
        if question["keep"]:
            np.save(folder / f"{arm}.npy", latent.float().numpy())
        answer = {"seconds": seconds, "seconds_per_step": statistics.median(between), "steps": steps}
        print(json.dumps(answer), flush=True)


def load_diffusers(folder: Path, precision: str, inputs: dict[str, Tensor]) -> Any:
    """diffusers' pipeline, its own autoencoder included."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel

    dtype = getattr(torch, precision)
    scheduler = DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing")
    pipeline = StableDiffusionInstructPix2PixPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=dtype),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype),
        text_encoder=None,
        tokenizer=None,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)

    def make(steps: int | None) -> tuple[Tensor, list[float], int]:
        stamps, latents = [time.perf_counter()], []

        def note(_pipeline: Any, _step: int, _timestep: Any, kept: dict[str, Tensor]) -> dict[str, Tensor]:
            stamps.append(time.perf_counter())
            latents[:] = [kept["latents"].detach().clone()]
            return kept

        pipeline(
            image=inputs["image"].repeat(1, 3, 1, 1).to(dtype),
            prompt_embeds=inputs["text"].to(dtype),
            negative_prompt_embeds=inputs["null"].to(dtype),
            latents=inputs["noise"].to(dtype),
            num_inference_steps=steps or THEIR_STEPS,
            guidance_scale=TEXT_SCALE,
            image_guidance_scale=IMAGE_SCALE,
            output_type="np",
            callback_on_step_end=note,
        )
        return latents[0], stamps[1:], steps or THEIR_STEPS

    return make


class GivenText(torch.nn.Module):
    """Stands in for the text encoder, as precomputed embeddings do for diffusers'."""

    def __init__(self, text: Tensor, null: Tensor) -> None:
        super().__init__()
        self.states = {True: text, False: null}
        self.weights_hash = ""

    def encode(self, descriptions: list[str]) -> Tensor:
        return torch.cat([self.states[bool(text)] for text in descriptions])


def load_ours(folder: Path, precision: str, inputs: dict[str, Tensor], *, student: bool = False) -> Any:
    """The generator of sd15.yaml, loaded and made fast as `biomedjourney sample --overlay` does."""
    from biomedjourney_monai.configuration import compose, read_overlay
    from biomedjourney_monai.networks.distilled import Distilled
    from biomedjourney_monai.networks.generator import CounterfactualGenerator

    common = CONFIGS / "common.yaml"
    sections = read_overlay(CONFIGS / "sd15.yaml", common)
    sections["denoiser"] = {**sections["denoiser"], "text_width": 768}
    parser = compose(common, sections)
    with torch.device("meta"):
        autoencoder, denoiser = (parser.get_parsed_content(part) for part in ("autoencoder", "denoiser"))
    sampler = parser.get_parsed_content("sampler")
    generator = CounterfactualGenerator(
        autoencoder=autoencoder,
        denoiser=denoiser,
        text_encoder=GivenText(inputs["text"], inputs["null"]),
        sampler=sampler,
    )
    generator.load(folder.parent / "ours.pt")
    if student:
        generator.denoiser.become_student(Distilled(**STUDENT))
        sampler.steps, sampler.solver = STUDENT["steps"][0], "ddim"
    generator.eval().speed_up(precision, autoencoder_precision=precision)
    default_steps, default_solver = sampler.steps, sampler.solver

    def make(steps: int | None) -> tuple[Tensor, list[float], int]:
        stamps, latents = [], []
        sampler.steps, sampler.solver = (steps, "ddim") if steps and not student else (default_steps, default_solver)
        decode = generator.autoencoder.decode

        def keep(latent: Tensor) -> Tensor:
            latents[:] = [latent * generator.denoiser.scale_factor]
            return decode(latent)

        generator.autoencoder.decode = keep
        try:
            generator.generate(
                inputs["image"], ["given"], seeds=[0], on_step=lambda _: stamps.append(time.perf_counter())
            )
        finally:
            generator.autoencoder.decode = decode
        return latents[0], stamps, sampler.steps

    return make


def peak_memory() -> float:
    """The largest memory that this process had, in GB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e9
    raise RuntimeError("no VmHWM")


def start_of_the_small_model() -> tuple[dict[str, float], dict[str, bool]]:
    """From the start of the command to the picture, three times: after the first the files are in memory."""
    from biomedjourney_monai.phantom.patients import draw_patient
    from biomedjourney_monai.phantom.truth import anatomy_of, render_counterfactual
    from biomedjourney_monai.radiographs import save_png, scale_intensity

    patient = draw_patient(5, 0, stream="sampling")
    visit = patient.visits[0]
    image = render_counterfactual(patient, visit, visit.findings, size=512, anatomy=anatomy_of(patient)).image
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        prior, out = Path(folder) / "prior.png", Path(folder) / "out.png"
        save_png(prior, scale_intensity(image, np.ones_like(image, bool)))
        line = ["-m", "biomedjourney_monai.cli.main", "sample", "--prior", str(prior), "--out", str(out)]
        for _ in range(3):
            start = time.perf_counter()
            text = ["--description", "New large left pleural effusion."]
            subprocess.run([sys.executable, *line, *text], check=True, capture_output=True)
            seconds.append(time.perf_counter() - start)
            out.unlink()
    figures = {"from start to first picture, seconds": min(seconds[1:]), "the same, files not yet read": seconds[0]}
    return figures, {"from start to first picture < 10 s": min(seconds[1:]) < 10}


if __name__ == "__main__":
    main()
