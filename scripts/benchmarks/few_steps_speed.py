"""Time a student of few steps against its teacher, at the small model's size.

    python scripts/benchmarks/few_steps_speed.py

One picture of a loaded model, interleaved, medians over the rounds; then a list of requests by `biomedjourney sample
--csv`, in a process for each model, from whose processor time that of a list of one is taken; and the peak memory of
these processes. Processor time, since other jobs disturb it least. Without --student the teacher's weights become a
student's, which takes as long as a trained one. What a student's pictures are worth is measured by few_steps.py, and
its speed at Stable Diffusion 1.5's size by sampling.py.

The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from biomedjourney_monai.diffusion.settings import SamplingSettings
from biomedjourney_monai.generation.model import CounterfactualModel, build_generator
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.distilled import Distilled
from biomedjourney_monai.phantom.labelled import draw_labelled
from biomedjourney_monai.radiographs import save_png

UNTRAINED = Distilled(steps=(2, 1, 4), text_guidance_scale=(1.0, 5.0), image_guidance_scale=(1.0, 3.0))
TEXT = "New large left pleural effusion."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", type=Path, metavar="FILE", help="(default: the teacher's weights)")
    parser.add_argument("--teacher", type=Path, metavar="FILE", help="(default: the bundle's model)")
    parser.add_argument("--rounds", type=int, default=7, help="of one picture (default: 7)")
    parser.add_argument("--requests", type=int, default=256, metavar="N", help="in the list (default: 256)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        teacher = ModelConfig.find(weights=arguments.teacher)
        files = {"teacher": teacher.weights, "student": arguments.student or write_student(teacher, folder)}
        steps = Distilled.in_file(files["student"]).steps
        one = one_picture(files, steps, rounds=arguments.rounds)
        figures = {f"{name}, s for one picture": value for name, value in one.items()}
        done = {who: whole_list(file, folder / who, count=arguments.requests) for who, file in files.items()}
    for who, (rate, memory) in done.items():
        figures |= {f"{who}, pictures a second in a list": rate, f"{who}, peak memory, GB": memory}
    default = f"student, {steps[0]} steps"
    figures["one picture, times as fast"] = one["teacher"] / one[default]
    figures["list, times as many pictures a second"] = done["student"][0] / done["teacher"][0]
    bars = {
        "one picture at least 4 times as fast": figures["one picture, times as fast"] >= 4,
        "list at least 4 times as many a second": figures["list, times as many pictures a second"] >= 4,
        "no more peak memory": done["student"][1] <= 1.01 * done["teacher"][1],
    }
    print(json.dumps({"figures": {name: float(f"{value:.4g}") for name, value in figures.items()}, "bars": bars}))


def write_student(teacher: ModelConfig, folder: Path) -> Path:
    """The teacher's weights as those of a student."""
    generator = build_generator(teacher.bundle)
    info = generator.load(teacher.weights)
    generator.become_student(UNTRAINED)
    generator.save(folder / "student.pt", info=info)
    return folder / "student.pt"


def one_picture(files: dict[str, Path], steps: tuple[int, ...], *, rounds: int) -> dict[str, float]:
    """Median seconds of the teacher at its default, and of the student at each of its steps."""
    models = {who: CounterfactualModel(ModelConfig.find(weights=file)) for who, file in files.items()}
    prior = draw_labelled(1, seed=0, size=128, processes=1).images[:1]
    ways = {"teacher": models["teacher"]}
    ways |= {
        f"student, {count} steps": models["student"].with_settings(SamplingSettings(steps=count)) for count in steps
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, model in ways.items():
            start = time.process_time()
            model.draw(prior, [TEXT], [0])
            seconds[name] += [time.process_time() - start] if number else []
    return {name: statistics.median(values) for name, values in seconds.items()}


def whole_list(model: Path, folder: Path, *, count: int) -> tuple[float, float]:
    """Pictures per second of processor time, the start left out, and peak memory in GB."""
    folder.mkdir()
    for number, image in enumerate(draw_labelled(16, seed=0, size=128, processes=1).images):
        save_png(folder / f"{number}.png", image)
    used = []
    for requests in (1, count):
        table = folder / f"{requests}.csv"
        with table.open("w", newline="") as file:
            rows = [(f"{number % 16}.png", TEXT, f"{requests}/{number}.png") for number in range(requests)]
            csv.writer(file).writerows([("prior", "description", "out"), *rows])
        command = [sys.executable, "-m", "biomedjourney_monai", "sample", "--csv", str(table), "--model", str(model)]
        child = os.posix_spawn(sys.executable, command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
        _, status, usage = os.wait4(child, 0)
        if status:
            sys.exit(f"sample ended with status {os.waitstatus_to_exitcode(status)}")
        used.append((usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9))
        print(f"{model.name}, {requests} requests: {used[-1][0]:.1f} s, {used[-1][1]:.2f} GB", flush=True)
    return (count - 1) / (used[1][0] - used[0][0]), used[1][1]


if __name__ == "__main__":
    main()
