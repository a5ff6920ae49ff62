"""Search the two guidance scales on validation journeys: accuracy against retention, and the best CMIG.

Samples the journeys at every pair of the two scales and scores them as `evaluate` does. Writes tune/tune.json and
tune/tune.png. Pairs that an earlier run has scored with the same model, journeys and settings are not sampled again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from pathlib import Path
from typing import Any

from biomedjourney_monai.cli.bundle_model import (
    bundle_folder,
    compose_networks,
    image_size,
    load_generator,
    model_file,
    read_square_images,
)
from biomedjourney_monai.cli.sampling_arguments import (
    add_sampling_arguments,
    check_sampling_arguments,
    require_at_least_one,
)
from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.schema import PAIRS_FILE, SPLITS, TRIPLES_FILE

EXAMPLE = (
    "biomedjourney tune --work work\n"
    "  biomedjourney tune --work work --text-guidance-scales 1 2 3 4 --image-guidance-scales 1 1.5 2 --limit 100"
)
FOLDER = "tune"
SETTINGS = ("steps", "solver", "guidance_interval", "keep_unchanged")
"""Of the sampler, beside the scales."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--work", required=True, metavar="DIR", help="working folder")
    parser.add_argument("--split", choices=SPLITS, default="validate", help="journeys (default: validate)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N journeys")
    parser.add_argument("--batch-size", type=int, default=16, help="images at once (default: 16)")
    parser.add_argument(
        "--text-guidance-scales", type=float, nargs="+", metavar="S", default=[1, 2, 3, 4], help="(default: 1 2 3 4)"
    )
    parser.add_argument(
        "--image-guidance-scales", type=float, nargs="+", metavar="S", default=[1, 1.5, 2], help="(default: 1 1.5 2)"
    )
    parser.add_argument("--models", metavar="DIR", help="folder of the judges (default: models/ of the bundle)")
    add_sampling_arguments(parser, scales=False)


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    from tqdm import tqdm

    from biomedjourney_monai.files import write_json

    check_sampling_arguments(arguments)
    require_at_least_one(arguments, "batch_size", "limit")
    pairs = [(t, i) for t in arguments.text_guidance_scales for i in arguments.image_guidance_scales]
    if not all(math.isfinite(scale) for pair in pairs for scale in pair):
        raise BiomedJourneyError("guidance scales must be finite numbers", found="another")
    work = Path(arguments.work)
    triples = _read_triples(work, arguments)
    settings = _settings(arguments, work, triples)
    file = work / FOLDER / "tune.json"
    known = _known_scores(file, settings)
    generator = None
    points: list[dict[str, Any]] = []
    with tqdm(total=len(pairs) * len(triples), desc="tune", unit="image") as bar:
        for text_scale, image_scale in pairs:
            scores = known.get((text_scale, image_scale))
            if scores is None:
                generator = generator or load_generator(arguments, **_sampler_changes(arguments))
                generator.sampler.text_guidance_scale = text_scale
                generator.sampler.image_guidance_scale = image_scale
                scores = _score(work, triples, generator, arguments, bar)
            else:
                bar.update(len(triples))
            points.append({"text_guidance_scale": text_scale, "image_guidance_scale": image_scale, **scores})
            write_json(file, {"settings": settings, "points": points})
    content = summary_of(points)
    write_json(file, {"settings": settings, "points": points, **content})
    _draw(work / FOLDER / "tune.png", points, content)
    _print(points, content)
    print(f"wrote {file} and tune.png beside it")


def summary_of(points: list[dict[str, Any]]) -> dict[str, Any]:
    """The frontier and the best pair of scored points.

    Raises:
        BiomedJourneyError: if no point has a CMIG.
    """
    from biomedjourney_monai.evaluation.frontier import accuracy_of, frontier_of, retention_of

    sides = [(_number(accuracy_of, point), _number(retention_of, point)) for point in points]
    scored = [place for place, point in enumerate(points) if _finite(point.get("cmig"))]
    if not scored:
        raise BiomedJourneyError(
            "tuning needs journeys whose findings, group and age vary",
            found="a CMIG that cannot be computed",
            action="Take more journeys",
        )
    return {
        "frontier": frontier_of(sides),
        "best": max(scored, key=lambda place: points[place]["cmig"]),
        "accuracy": [side[0] for side in sides],
        "retention": [side[1] for side in sides],
    }


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _number(side: Any, point: dict[str, Any]) -> float:
    try:
        return side(point)
    except TypeError:  # JSON has no NaN: it came back as None
        return float("nan")


def _read_triples(work: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from biomedjourney_monai.files import read_json_lines

    keys = ("journey_id", "split", "prior_image", "progression_description")
    rows = read_json_lines(work / TRIPLES_FILE, made_by="describe", keys=keys)
    triples = [row for row in rows if row["split"] == arguments.split][: arguments.limit]
    if not triples:
        raise BiomedJourneyError(f"{work / TRIPLES_FILE} must hold journeys of split {arguments.split}", found="none")
    return triples


def _settings(arguments: argparse.Namespace, work: Path, triples: list[dict[str, Any]]) -> dict[str, Any]:
    """All that a score depends on beside the scales."""
    from biomedjourney_monai.files import file_hash
    from biomedjourney_monai.networks.weights import weights_hash

    parser = compose_networks(arguments, sampler=_sampler_changes(arguments))
    sampler = parser.config["sampler"]
    digest = hashlib.sha256(json.dumps(triples, sort_keys=True).encode())
    digest.update(file_hash(work / PAIRS_FILE).encode() if (work / PAIRS_FILE).is_file() else b"")
    for row in triples:
        digest.update(file_hash(work / row["prior_image"]).encode())
    return {
        "model": weights_hash(model_file(arguments)),
        "split": arguments.split,
        "journeys": len(triples),
        "journeys_hash": digest.hexdigest(),
        "sampler": {name: sampler[name] for name in SETTINGS},
        "seed": arguments.seed,
        "batch_size": arguments.batch_size,
        "precision": arguments.precision or parser.get("denoiser_precision"),
        "overlay": file_hash(arguments.overlay) if arguments.overlay else None,
    }


def _sampler_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of the sampler beside the scales; the rest is the configuration's."""
    return {name: value for name in SETTINGS if (value := getattr(arguments, name)) is not None}


def _known_scores(file: Path, settings: dict[str, Any]) -> dict[tuple[float, float], dict[str, float]]:
    """What an earlier run has scored in the same way."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["settings"] != settings:
            return {}
        scales = ("text_guidance_scale", "image_guidance_scale")
        return {
            tuple(point[name] for name in scales): {key: value for key, value in point.items() if key not in scales}
            for point in content["points"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _score(
    work: Path, triples: list[dict[str, Any]], generator: Any, arguments: argparse.Namespace, bar: Any
) -> dict[str, float]:
    """Sample every journey and score what came of it."""
    import numpy as np
    import torch

    from biomedjourney_monai.evaluation.validation_score import ValidationScore

    size, images = image_size(arguments), []
    for start in range(0, len(triples), arguments.batch_size):
        batch = triples[start : start + arguments.batch_size]
        priors = torch.from_numpy(read_square_images(work, [row["prior_image"] for row in batch], size=size))
        seeds = [arguments.seed + start + offset for offset in range(len(batch))]
        descriptions = [row["progression_description"] for row in batch]
        images.append(generator(priors[:, None], descriptions, seeds=seeds)[:, 0].cpu().numpy())
        bar.update(len(batch))
    judges = arguments.models or bundle_folder(arguments) / "models"
    score = ValidationScore(work, judges_dir=judges)
    return score([row["journey_id"] for row in triples], np.concatenate(images))


def _print(points: list[dict[str, Any]], content: dict[str, Any]) -> None:
    print("text  image  accuracy  retention  CMIG")
    for place, point in enumerate(points):
        marks = ("  on the frontier" if place in content["frontier"] else "") + (
            ", best CMIG" if place == content["best"] else ""
        )
        numbers = (content["accuracy"][place], content["retention"][place], point["cmig"])
        shown = "  ".join(f"{number:8.3f}" if _finite(number) else "       -" for number in numbers)
        print(f"{point['text_guidance_scale']:4g}  {point['image_guidance_scale']:5g}  {shown}{marks}")


def _draw(path: Path, points: list[dict[str, Any]], content: dict[str, Any]) -> None:
    """Retention over accuracy: a dot for each pair of scales, the frontier, and the best."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from biomedjourney_monai.files import written_atomically

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    across, up = content["accuracy"], content["retention"]
    axes.plot([across[n] for n in content["frontier"]], [up[n] for n in content["frontier"]], color="0.7", zorder=1)
    axes.scatter(across, up, color="tab:blue", zorder=2)
    axes.scatter([across[content["best"]]], [up[content["best"]]], color="tab:red", zorder=3, label="best CMIG")
    for x, y, point in zip(across, up, points):
        words = f"{point['text_guidance_scale']:g}, {point['image_guidance_scale']:g}"
        if _finite(x) and _finite(y):
            axes.annotate(words, (x, y), textcoords="offset points", xytext=(5, 4), fontsize=8)
    axes.set(xlabel="accuracy: pathology AUROC", ylabel="retention: mean of race AUROC and age r")
    axes.set_title("guidance scales (text, image)")
    axes.legend(loc="lower left")
    with written_atomically(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})
