"""Measure what solvers and steps cost in quality.

    python scripts/benchmarks/solvers.py --work work

Samples the same validation journeys of a prepared folder with the bundle's model, the same noise and scales, by every
solver at several numbers of steps, and scores them as `biomedjourney evaluate` does, without intervals. The others are
compared with DDIM at 250 steps, also image by image. Prints a Markdown table with seconds per image, and for each
solver the fewest steps from which on no number of steps loses more than half a point of CMIG.

The last line is JSON: {"figures": {...}, "bars": {...}}. Two idle cores need some six minutes for 48 journeys with
--precision auto; with --scores a stopped run resumes.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from biomedjourney_monai.cli.arguments import add_sampling_arguments, counterfactual_model
from biomedjourney_monai.evaluation.tuning.validation_score import ValidationScore
from biomedjourney_monai.files import read_json_lines, write_json
from biomedjourney_monai.networks.weights.model_file import weights_hash
from biomedjourney_monai.radiographs.read.prepared import read_square_images
from biomedjourney_monai.schema import TRIPLES_FILE

SOLVERS = ("ddim", "dpm++", "unipc")
STEPS = (4, 5, 6, 8, 10, 15, 25)
BOUND = 0.005
SHOWN = {
    "cmig": "CMIG",
    "pathology_auroc": "pathology",
    "changed_auroc": "changed",
    "race_auroc": "group",
    "age_r": "age r",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="prepared folder")
    parser.add_argument("--journeys", type=int, default=48, help="validation journeys (default: 48)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--only-steps", type=int, nargs="+", default=STEPS, metavar="N", help=f"(default: {STEPS})")
    parser.add_argument("--reference-steps", type=int, default=250, metavar="N", help="of ddim (default: 250)")
    parser.add_argument("--scores", type=Path, metavar="FILE", help="keep scores there, and take those that are there")
    add_sampling_arguments(parser)
    arguments = parser.parse_args()
    trial = Trial(arguments)
    default = (arguments.solver or trial.sampler.solver, arguments.steps or trial.sampler.steps)
    settings = [(solver, steps) for steps in arguments.only_steps for solver in SOLVERS]
    settings = list(dict.fromkeys([trial.reference, *settings, default]))
    found = run(trial, settings, arguments.scores)
    print(f"| solver | steps | s/image | apart | {' | '.join(SHOWN.values())} |")
    print("|---|---|---|---|" + "---|" * len(SHOWN))
    for solver, steps in settings:
        point = found[solver, steps]
        numbers = " | ".join(f"{point[name]:.3f}" for name in SHOWN)
        print(f"| {solver} | {steps} | {point['seconds']:.3f} | {255 * point['apart']:.1f} | {numbers} |")
    loss = {setting: found[trial.reference]["cmig"] - found[setting]["cmig"] for setting in settings}
    figures = {f"{solver} {steps}: cmig": found[solver, steps]["cmig"] for solver, steps in settings}
    figures |= {f"{solver}: fewest steps within {BOUND}": fewest_steps(loss, solver) for solver in SOLVERS}
    figures |= {"default below the reference": loss[default], "journeys": len(trial.rows)}
    best = f"{trial.reference[1]} steps of {trial.reference[0]}"
    bars = {f"{default[0]} at {default[1]} steps within {BOUND} of {best}": loss[default] <= BOUND}
    print(json.dumps({"figures": {name: round(float(value), 5) for name, value in figures.items()}, "bars": bars}))


def fewest_steps(loss: dict[tuple[str, int], float], solver: str) -> float:
    """From how many steps on a solver stays within BOUND; NaN if it never does."""
    enough = float("nan")
    for steps in sorted((steps for name, steps in loss if name == solver), reverse=True):
        if loss[solver, steps] > BOUND:
            break
        enough = steps
    return enough


class Trial:
    """The journeys, the model and the judges; `trial(setting)` samples and scores."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.model = counterfactual_model(arguments)
        self.sampler, self.seed, self.batch_size = self.model.sampler, arguments.seed, arguments.batch_size
        keys = ("journey_id", "split", "prior_image", "progression_description")
        rows = read_json_lines(arguments.work / TRIPLES_FILE, made_by="describe", keys=keys)
        self.rows = [row for row in rows if row["split"] == "validate"][: arguments.journeys]
        files = [row["prior_image"] for row in self.rows]
        self.priors = read_square_images(arguments.work, files, size=self.model.size)
        self.reference, self.reference_images = ("ddim", arguments.reference_steps), None
        self.score = ValidationScore(arguments.work, judges_dir=self.model.config.models)

    def __call__(self, solver: str, steps: int) -> dict[str, float]:
        """Scores, seconds per image, and the mean absolute difference to the reference's pictures.

        The reference comes first.
        """
        images, seconds = self.sample(solver, steps)
        if (solver, steps) == self.reference:
            self.reference_images = images
        apart = float(np.abs(images - self.reference_images).mean())
        return {**self.score([row["journey_id"] for row in self.rows], images), "seconds": seconds, "apart": apart}

    def sample(self, solver: str, steps: int) -> tuple[np.ndarray, float]:
        """Pictures, shape (N, S, S), and seconds per picture."""
        model = self.model.with_settings(replace(self.model.settings, solver=solver, steps=steps))
        start, parts = time.perf_counter(), []
        for first in tqdm(range(0, len(self.rows), self.batch_size), desc=f"{solver} {steps}", unit="batch"):
            batch = slice(first, first + self.batch_size)
            texts = [row["progression_description"] for row in self.rows[batch]]
            seeds = [self.seed + first + offset for offset in range(len(texts))]
            parts.append(model.draw(self.priors[batch], texts, seeds).images[:, 0].numpy())
        return np.concatenate(parts), (time.perf_counter() - start) / len(self.rows)

    def facts(self) -> dict[str, Any]:
        """What scores depend on, apart from solver and steps."""
        scales = (self.sampler.text_guidance_scale, self.sampler.image_guidance_scale, *self.sampler.guidance_interval)
        journeys, precision = [row["journey_id"] for row in self.rows], self.model.generator.denoiser.precision
        facts = {
            "model": weights_hash(self.model.config.weights),
            "precision": precision,
            "scales": scales,
            "seed": self.seed,
        }
        facts |= {"reference": self.reference, "keep_unchanged": self.sampler.keep_unchanged}
        return {**facts, "journeys": journeys}


def run(trial: Trial, settings: list[tuple[str, int]], file: Path | None) -> dict[tuple[str, int], dict[str, float]]:
    """Score every setting, or take what an earlier run kept in `file`."""
    facts = json.loads(json.dumps(trial.facts()))
    known = json.loads(file.read_text()) if file is not None and file.is_file() else {"facts": facts, "points": {}}
    if known["facts"] != facts:
        raise SystemExit("--scores is of another model, other journeys or other scales: name another file")
    pictures = None if file is None else file.with_suffix(".npy")
    if known["points"]:
        trial.reference_images = np.load(pictures)
    for solver, steps in settings:
        name = f"{solver} {steps}"
        if name not in known["points"]:
            known["points"][name] = trial(solver, steps)
            if file is not None:
                np.save(pictures, trial.reference_images)
                write_json(file, known)
    return {(solver, steps): known["points"][f"{solver} {steps}"] for solver, steps in settings}


if __name__ == "__main__":
    main()
