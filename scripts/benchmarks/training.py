"""Measure the speed of training against diffusers' InstructPix2Pix script.

    python scripts/benchmarks/training.py

Stable Diffusion 1.5's geometry at half its widths (--full: at its widths, which takes 20 GB), 256×256 pixels, CLIP's
text tower with 77 token states, the same random weights, images, texts and batch on both sides. Theirs is the step of
examples/instruct_pix2pix/train_instruct_pix2pix.py, written with diffusers' public API: it encodes both images and
both texts (the given and the empty one) in every step. Ours is `biomedjourney encode` once and then the stock trainer
of train.yaml under sd15.yaml's settings, tracking included. Both clip gradients, step AdamW and keep an average of the
weights.

Four arms, each in a separate process: both sides, in float32 and in bfloat16 autocast. The two sides of a precision
take turns, a step each (--full: one after the other, since only one fits), and the figures are medians over the
rounds; the first step of each does not count.

The last line is JSON: {"figures": {...}, "bars": {...}}. Two cores need about five minutes and 14 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from training_networks import CONFIGS, TOKENS, encode_once, widths, write_examples, write_networks

ARMS = ("diffusers-float32", "ours-float32", "diffusers-bfloat16", "ours-bfloat16")
DROPPED = 0.05  # of each of text, image and both
LEARNING_RATE, WEIGHT_DECAY, MAX_NORM = 1e-4, 0.01, 1.0
FASTER, WAITING = 1.5, 0.03


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="at Stable Diffusion 1.5's widths")
    parser.add_argument("--batch", type=int, default=4, help="examples in a step (default: 4)")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each arm that count (default: 5)")
    parser.add_argument("--narrow", type=int, default=0, help=argparse.SUPPRESS)  # a divisor of the widths
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    divisor = arguments.narrow or (1 if arguments.full else 2)
    if arguments.arm:
        serve(arguments.arm, arguments.folder, batch=arguments.batch)
        return
    with tempfile.TemporaryDirectory() as folder:
        figures, bars = compare(Path(folder), divisor, arguments)
    for name, value in figures.items():
        print(f"{name:60} {value:10.4g}")
    print(json.dumps({"figures": figures, "bars": bars}))


def compare(folder: Path, divisor: int, arguments: argparse.Namespace) -> tuple[dict[str, float], dict[str, bool]]:
    """Both sides of a precision in turns; with the full widths one after the other, since two of them do not fit."""
    sizes = widths(divisor)
    write_networks(folder, sizes)
    write_examples(folder)
    figures: dict[str, float] = {"images encoded a second, once and for all": encode_once(folder)}
    flop = step_flop(sizes, arguments.batch)
    figures |= matmul_peaks()
    steps: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    memory: dict[str, float] = {}
    for group in [[arm] for arm in ARMS] if divisor == 1 else [ARMS[:2], ARMS[2:]]:
        workers = {arm: Worker(arm, folder, arguments.batch) for arm in group}
        for number in range(arguments.rounds + 1):
            for arm, worker in workers.items():
                step = worker.ask("step")
                if number:
                    steps[arm].append(step)
                    print(f"round {number} {arm:20} {step['whole']:7.2f} s", flush=True)
        memory |= {arm: worker.close() for arm, worker in workers.items()}

    for arm in ARMS:
        middle = {part: statistics.median(step[part] for step in steps[arm]) for part in steps[arm][0]}
        figures[f"{arm}: images a second"] = arguments.batch / middle["whole"]
        figures[f"{arm}: peak memory while training, GB"] = memory[arm]
        for part, seconds in middle.items():
            if part != "whole":
                figures[f"{arm}: share of the step, {part}"] = seconds / middle["whole"]
        peak = figures[f"matmul peak {arm.split('-')[1]}, GFLOP/s"]
        figures[f"{arm}: share of the matmul peak, denoiser's work alone"] = flop / 1e9 / middle["whole"] / peak
    bars = {"the same prediction as diffusers, within 1e-3": prediction_error(folder, figures) <= 1e-3}
    for precision in ("float32", "bfloat16"):
        theirs, ours = f"diffusers-{precision}", f"ours-{precision}"
        pairs = zip(steps[theirs], steps[ours])
        name = f"times as many images a second, {precision}"
        figures[name] = statistics.median(one["whole"] / other["whole"] for one, other in pairs)
        bars[f"{name} >= {FASTER}"] = figures[name] >= FASTER
        bars[f"no more memory, {precision}"] = memory[ours] <= memory[theirs]
        waiting = f"{ours}: share of the step, waiting for data"
        bars[f"{waiting} < {WAITING}"] = figures[waiting] < WAITING
    return figures, bars


def step_flop(sizes: dict[str, Any], batch: int) -> float:
    """Floating-point operations of the denoiser's forward and backward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    denoiser = build_denoiser(sizes)
    latent, text = torch.zeros(batch, 4, 32, 32, device="meta"), sizes["text"]["hidden_size"]
    with FlopCounterMode(display=False) as counter:
        timesteps = torch.zeros(batch, device="meta")
        denoiser(latent, timesteps, latent, torch.zeros(batch, TOKENS, text, device="meta")).sum().backward()
    return float(counter.get_total_flops())


def build_denoiser(sizes: dict[str, Any]) -> torch.nn.Module:
    """On torch's meta device, with plain attention, whose work can be counted."""
    from biomedjourney_monai.configuration import compose, read_overlay

    sections = read_overlay(CONFIGS / "sd15.yaml", CONFIGS / "common.yaml")
    own = {"text_width": sizes["text"]["hidden_size"], "use_flash_attention": False}
    sections["denoiser"] = {**sections["denoiser"], **sizes["denoiser"], **own}
    parts = ("autoencoder", "denoiser")  # the one says how many channels a latent has
    with torch.device("meta"):
        return compose(CONFIGS / "common.yaml", {name: sections[name] for name in parts}).get_parsed_content("denoiser")


def matmul_peaks() -> dict[str, float]:
    from sampling import matmul_peaks as measure

    return measure()


def prediction_error(folder: Path, figures: dict[str, float]) -> float:
    """Relative difference of both sides' predictions before the first step, in float32."""
    ours, theirs = (np.load(folder / f"{side}-float32.npy") for side in ("ours", "diffusers"))
    error = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
    figures["relative difference of the predictions before the first step"] = error
    return error


class Worker:
    """An arm in a separate process."""

    def __init__(self, arm: str, folder: Path, batch: int) -> None:
        command = [sys.executable, __file__, "--arm", arm, "--folder", str(folder), "--batch", str(batch)]
        self.log = (folder / f"{arm}.log").open("w+")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.log}
        self.process = subprocess.Popen(command, text=True, **pipes)
        self._answer()

    def ask(self, word: str) -> dict[str, float]:
        print(word, file=self.process.stdin, flush=True)
        return self._answer()

    def close(self) -> float:
        """End it; its peak memory since its networks were ready, in GB."""
        answer = self.ask("stop")
        self.process.wait()
        return answer["peak"]

    def _answer(self) -> dict[str, float]:
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        self.log.seek(0)
        sys.exit(f"an arm ended early with status {self.process.wait()}:\n{self.log.read()[-2000:]}")


def serve(arm: str, folder: Path, *, batch: int) -> None:
    """The life of a worker: load, say so, take a step whenever told to."""
    side, precision = arm.split("-")
    (train_ours if side == "ours" else train_diffusers)(folder, precision, batch, wait_for_order)


def wait_for_order(answer: dict[str, float] | None) -> bool:
    """Tell how the last step went (None before the first), wait for the next order; False is the end."""
    if answer is None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak of loading does not count
    print(json.dumps(answer or {"ready": 1}), flush=True)
    if sys.stdin.readline().strip() == "step":
        return True
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(json.dumps({"peak": peak * 1024 / 1e9}), flush=True)
    return False


class Parts:
    """Seconds of a step by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = self.start = time.perf_counter()

    def end(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self.last
        self.last = now

    def answer(self) -> dict[str, float]:
        return {**self.seconds, "whole": self.last - self.start}


def train_ours(folder: Path, precision: str, batch: int, order: Callable[[Any], bool]) -> None:
    """Stage 2 of train.yaml under the overlay, as `python -m monai.bundle run` builds it."""
    from ignite.engine import Events
    from monai.bundle import ConfigWorkflow
    from monai.engines import IterationEvents

    os.environ.pop("MLFLOW_TRACKING_URI", None)
    files = [str(CONFIGS / "train.yaml"), str(CONFIGS / "finetune.yaml"), str(folder / "overlay.yaml")]
    settings = {"batch_size": batch, "precision": precision, "max_epochs": 1, "epoch_length": 10_000}
    settings |= {"score_epochs": 0, "preview_iterations": 0, "log_iterations": 1}
    workflow = ConfigWorkflow(
        config_file=files,
        workflow_type="train",
        logging_file=False,
        bundle_root=str(CONFIGS.parent),
        dataset_dir=str(folder / "work"),
        output_dir=str(folder / f"runs-{precision}"),
        autoencoder_file=str(folder / "work" / "runs" / "autoencoder.pt"),
        start_from=str(folder / "start.pt"),
        **settings,
    )
    workflow.initialize()
    trainer = workflow.parser.get_parsed_content("train#trainer")
    denoiser = trainer.network
    with torch.no_grad():
        inputs = torch.load(folder / "inputs.pt", weights_only=True)
        found = denoiser(inputs["noisy"], torch.tensor([501]), inputs["prior"], inputs["text"])
        np.save(folder / f"ours-{precision}.npy", found.numpy())
    parts: list[Parts] = []

    def begin() -> None:
        if not order(parts[-1].answer() if parts else None):
            os._exit(0)  # what follows a training is not a part of its steps
        parts.append(Parts())

    def note(part: str) -> Callable[..., None]:
        return lambda *_: parts[-1].end(part)

    trainer.add_event_handler(Events.GET_BATCH_STARTED, begin)
    trainer.add_event_handler(Events.GET_BATCH_COMPLETED, note("waiting for data"))
    trainer.add_event_handler(IterationEvents.FORWARD_COMPLETED, note("noise and forward"))
    trainer.add_event_handler(IterationEvents.LOSS_COMPLETED, note("loss"))
    trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, note("backward and clipping"))
    trainer.add_event_handler(IterationEvents.MODEL_COMPLETED, note("optimiser"))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, note("average, tracking, schedule"))
    trainer.run()


def train_diffusers(folder: Path, precision: str, batch: int, order: Callable[[Any], bool]) -> None:
    """The loop of train_instruct_pix2pix.py, with --use_ema, and with --mixed_precision bf16 for bfloat16."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel
    from transformers import CLIPTextModel

    dtype = getattr(torch, precision)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet").train()
    vae = AutoencoderKL.from_pretrained(folder / "vae").requires_grad_(False).to(dtype)
    text_encoder = CLIPTextModel.from_pretrained(folder / "text").requires_grad_(False).to(dtype)
    average = EMAModel(unet.parameters(), model_cls=UNet2DConditionModel, model_config=unet.config)
    schedule = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    noise_scheduler = DDPMScheduler(**schedule, clip_sample=False)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    lr_scheduler = get_scheduler("constant", optimizer=optimizer)
    generator = torch.Generator().manual_seed(0)
    new, prior, tokens, null_tokens = read_pixels_and_tokens(folder)
    with torch.no_grad():
        inputs = torch.load(folder / "inputs.pt", weights_only=True)
        found = unet(torch.cat([inputs["noisy"], inputs["prior"]], 1), torch.tensor([501]), inputs["text"]).sample
        np.save(folder / f"diffusers-{precision}.npy", found.numpy())
    place, answer = 0, None
    while order(answer):
        parts = Parts()
        chosen = [(place + number) % len(new) for number in range(batch)]
        place += batch
        edited, original, ids = new[chosen], prior[chosen], tokens[chosen]
        parts.end("waiting for data")
        latents = vae.encode(edited.to(dtype)).latent_dist.sample() * vae.config.scaling_factor
        parts.end("encoding the new image")
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, noise_scheduler.config.num_train_timesteps, (batch,)).long()
        noisy = noise_scheduler.add_noise(latents, noise, timesteps)
        states = text_encoder(ids)[0]
        embeds = vae.encode(original.to(dtype)).latent_dist.mode()
        parts.end("encoding the prior image and the text")
        chance = torch.rand(batch, generator=generator)
        null_states = text_encoder(null_tokens)[0]
        states = torch.where((chance < 2 * DROPPED).reshape(batch, 1, 1), null_states, states)
        kept = 1 - ((chance >= DROPPED) & (chance < 3 * DROPPED)).to(embeds.dtype)
        embeds = kept.reshape(batch, 1, 1, 1) * embeds
        parts.end("encoding the empty text")
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            prediction = unet(torch.cat([noisy, embeds], dim=1), timesteps, states).sample
        loss = torch.nn.functional.mse_loss(prediction.float(), noise.float(), reduction="mean")
        parts.end("forward and loss")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), MAX_NORM)
        parts.end("backward and clipping")
        optimizer.step()
        lr_scheduler.step()
        optimizer.zero_grad()
        parts.end("optimiser")
        average.step(unet.parameters())
        loss.item()
        parts.end("average")
        answer = parts.answer()


def read_pixels_and_tokens(folder: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """New and prior images (N, 3, H, W) in [-1, 1] and token ids (N, L) of the training journeys; of the empty text."""
    from PIL import Image
    from transformers import CLIPTokenizerFast

    from biomedjourney_monai.files import read_json_lines

    work = folder / "work"
    rows = [row for row in read_json_lines(work / "triples.jsonl", made_by="describe") if row["split"] == "train"]

    def read(key: str) -> Tensor:
        arrays = [np.asarray(Image.open(work / row[key]), np.float32) / 127.5 - 1 for row in rows]
        return torch.from_numpy(np.stack(arrays))[:, None].repeat(1, 3, 1, 1)

    tokenizer = CLIPTokenizerFast.from_pretrained(folder / "text", local_files_only=True)

    def tokenize(texts: list[str]) -> Tensor:
        settings = {"max_length": TOKENS, "padding": "max_length", "truncation": True, "return_tensors": "pt"}
        return tokenizer(texts, **settings).input_ids

    return (
        read("new_image"),
        read("prior_image"),
        tokenize([row["progression_description"] for row in rows]),
        tokenize([""]),
    )


if __name__ == "__main__":
    main()
