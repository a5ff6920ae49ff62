"""Measure a student of few steps against its teacher.

    python scripts/benchmarks/few_steps.py --work work --student student.pt --truth phantom/truth

Samples the same journeys with the same noise by both, and scores them as `biomedjourney tune` does: the teacher at its
default and at the student's numbers of steps, the student at each of its own. Also diversity (standard deviation over
eight seeds where the teacher's pictures change). Prints a Markdown table of quality against evaluations of the denoiser
for one picture. Speed and memory are measured by few_steps_speed.py.

The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from biomedjourney_monai.diffusion.settings import SamplingSettings
from biomedjourney_monai.evaluation.systems.true_counterfactuals import TrueCounterfactuals
from biomedjourney_monai.evaluation.tuning.sampling import ScoredSampling
from biomedjourney_monai.files import read_json_lines
from biomedjourney_monai.generation.model import CounterfactualModel
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.distilled import Distilled
from biomedjourney_monai.radiographs.read.prepared import read_square_images
from biomedjourney_monai.schema import TRIPLES_FILE

SHOWN = {"cmig": "CMIG", "pathology_auroc": "pathology", "changed_auroc": "changed", "side_correct": "side"}
SHOWN |= {"truth_psnr inside": "inside, dB", "truth_psnr outside": "outside, dB"}
BARS = {"cmig": 0.005, "changed_auroc": 0.01, "side_correct": 0.01, "truth_psnr outside": 0.3}
"""At the student's default, how much may be lost against the teacher's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="prepared folder")
    parser.add_argument("--student", type=Path, required=True, metavar="FILE")
    parser.add_argument("--teacher", type=Path, metavar="FILE", help="(default: the bundle's model)")
    parser.add_argument("--truth", type=Path, metavar="DIR", help="true counterfactuals of the rendered patients")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, default=100, help="journeys (default: 100)")
    parser.add_argument("--teacher-steps", type=int, nargs="+", default=[2, 5], metavar="N", help="(default: 2 5)")
    parser.add_argument("--steps", type=int, nargs="+", metavar="N", help="of the student (default: all of its own)")
    parser.add_argument(
        "--text-guidance-scale",
        type=float,
        metavar="S",
        help="the student's (default: its file's, or the configuration's)",
    )
    arguments = parser.parse_args()
    own_scale = {"student": arguments.text_guidance_scale}
    files = {
        "teacher": ModelConfig.find(weights=arguments.teacher),
        "student": ModelConfig.find(weights=arguments.student),
    }
    distilled = Distilled.in_file(files["student"].weights)
    if distilled is None:
        raise SystemExit("--student must hold a student; found a teacher")
    rows = read_json_lines(arguments.work / TRIPLES_FILE, made_by="describe", keys=("split",))
    rows = [row for row in rows if row["split"] == arguments.split][: arguments.limit]
    steps = {"teacher": arguments.teacher_steps, "student": arguments.steps or distilled.steps}
    points = {
        (who, n): score(files[who], rows, n, arguments, text_scale=own_scale.get(who))
        for who in steps
        for n in steps[who]
    }
    default = {"teacher": max(arguments.teacher_steps), "student": distilled.steps[0]}
    show(points)
    figures = {f"{who} {n}: {name}": value for (who, n), point in points.items() for name, value in point.items()}
    best, own = points["teacher", default["teacher"]], points.get(("student", default["student"]), {})
    lost = {name: best[name] - own[name] for name in BARS if name in best and name in own}
    bars = {f"{name} within {BARS[name]}": value <= BARS[name] for name, value in lost.items()}
    if ("student", 1) in points:
        bars["cmig at 1 step within 0.015"] = best["cmig"] - points["student", 1]["cmig"] <= 0.015
    settings = {who: SamplingSettings(text_guidance_scale=own_scale.get(who)) for who in files}
    models = {who: CounterfactualModel(config, settings[who]) for who, config in files.items()}
    priors = read_square_images(arguments.work, [row["prior_image"] for row in rows[:16]], size=128)
    texts = [row["progression_description"] for row in rows[:16]]
    figures["diversity"] = diversity(models, priors, texts)
    bars["diversity at least 0.8"] = figures["diversity"] >= 0.8
    figures["journeys"] = len(rows)
    print(json.dumps({"figures": {name: round(float(value), 4) for name, value in figures.items()}, "bars": bars}))


def score(
    config: ModelConfig, rows: list[dict], steps: int, arguments: argparse.Namespace, *, text_scale: float | None
) -> dict[str, float]:
    """The shown scores at the configuration's scales and threshold, or at another text scale."""
    truth = None if arguments.truth is None else TrueCounterfactuals(arguments.truth).checked()
    distilled = Distilled.in_file(config.weights)
    sampler = {**config.compose().get("sampler"), **({} if distilled is None else distilled.defaults)}
    sampling = ScoredSampling(
        arguments.work, rows, config, {"steps": steps}, None, config.models, truth, 0, batch_size=16
    )
    text_scale = sampler["text_guidance_scale"] if text_scale is None else text_scale  # 0 is a scale
    scales = text_scale, sampler["image_guidance_scale"]
    with tqdm(total=len(rows), desc=f"{config.weights.name} {steps}", unit="image") as bar:
        scores = sampling.scores(*scales, [sampler["keep_unchanged"]], bar)[0]
    return {name: scores[name] for name in SHOWN if name in scores}


def show(points: dict[tuple[str, int], dict[str, float]]) -> None:
    """One line for each model and number of steps."""
    print(f"| model | steps | evaluations | {' | '.join(SHOWN.values())} |")
    print("|---|---|---|" + "---|" * len(SHOWN))
    for (who, steps), point in points.items():
        evaluations = 3 * steps if who == "teacher" else steps
        numbers = " | ".join(f"{point[name]:.3f}" if name in point else "" for name in SHOWN)
        print(f"| {who} | {steps} | {evaluations} | {numbers} |")


def diversity(models: dict[str, CounterfactualModel], priors: np.ndarray, texts: list[str]) -> float:
    """Standard deviation over eight seeds where the teacher changes the prior, the student's over the teacher's."""
    deviations: dict[str, list[float]] = {who: [] for who in models}
    for prior, text in zip(priors, texts):
        eight = np.repeat(prior[None], 8, axis=0)
        made = {who: m.draw(eight, [text] * 8, range(8)).images[:, 0].numpy() for who, m in models.items()}
        changed = np.abs(made["teacher"].mean(0) - prior) > 0.03
        if changed.any():
            for who, pictures in made.items():
                deviations[who].append(float(pictures.std(0)[changed].mean()))
    return float(np.mean(deviations["student"]) / np.mean(deviations["teacher"]))


if __name__ == "__main__":
    main()
