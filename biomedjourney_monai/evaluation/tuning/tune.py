"""The stage `tune`: score guidance scales and `keep_unchanged` on validation journeys; the best CMIG, and the table."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from biomedjourney_monai.diffusion.settings import SamplingSettings, check_seed
from biomedjourney_monai.errors import BiomedJourneyError, SettingError, refuse_unknown_keywords, require_at_least
from biomedjourney_monai.evaluation.judges.loading import choose_judges
from biomedjourney_monai.evaluation.metrics.registry import MEASURES
from biomedjourney_monai.evaluation.systems.true_counterfactuals import TrueCounterfactuals
from biomedjourney_monai.evaluation.tuning.sampling import (
    Point,
    ScoredSampling,
    draw_points,
    read_points,
    summarise_points,
)
from biomedjourney_monai.evaluation.tuning.validation_score import score_name
from biomedjourney_monai.files import file_hash, read_json_lines, read_table, write_json, written_atomically
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.weights.model_file import weights_hash
from biomedjourney_monai.output_check import refuse_unwritable_results
from biomedjourney_monai.schema import PAIRS_FILE, TRIPLES_FILE

COLUMNS = {
    score_name(measure, part): (heading, measure.unit)
    for measure in MEASURES
    for part, heading in measure.tuning.items()
}
"""Score -> heading and unit; a column without any score is left out."""


def format_tuning(content: Mapping[str, Any]) -> str:
    """The settings of tune.json, then a row for each pair of scales and threshold."""
    settings, points = content["settings"], content["points"]
    lines = ["# Guidance scales and what is kept of the prior", "", _how(settings)]
    if settings["truth"] is not None:
        lines += [
            "",
            "*Inside* and *outside*: PSNR to the true counterfactual inside and outside the changed region, of the"
            f" {settings['truth']['journeys']} of these journeys that have one.",
        ]
    return "\n".join([*lines, "", *format_points(points, frontier=content["frontier"], best=content["best"]), ""])


def format_points(points: Sequence[Mapping[str, Any]], *, frontier: Sequence[int], best: int) -> list[str]:
    """The table's lines, the best CMIG in bold; `frontier` and `best` are indices of points."""
    columns = [name for name in COLUMNS if any(name in point for point in points)]
    heads = ["kept below", "text, image", *(COLUMNS[name][0] for name in columns), ""]
    lines = ["| " + " | ".join(heads) + " |", "|---|---" + "|---:" * len(columns) + "|---|"]
    for place, point in enumerate(points):
        names = [_threshold(point["keep_unchanged"]), _scales(point)]
        names = [f"**{name}**" for name in names] if place == best else names
        notes = ["frontier"] * (place in frontier) + ["best CMIG"] * (place == best)
        cells = [*names, *(_cell(point.get(name), COLUMNS[name][1]) for name in columns), ", ".join(notes)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _how(settings: Mapping[str, Any]) -> str:
    sampler = settings["sampler"]
    low, high = sampler["guidance_interval"]
    guided = "" if (low, high) == (0, 1) else f", guided between the noise levels {low:g} and {high:g}"
    guided += f", mean over {sampler['average']} noises" if sampler["average"] > 1 else ""
    return (
        f"{settings['journeys']} journeys of split {settings['split']}, {sampler['steps']} steps of {sampler['solver']}"
        f"{guided}, seed {settings['seed']}, model {settings['model'][:12]}. The frontier: no other row has both a"
        " higher pathology AUROC and a higher mean of group AUROC and age r."
    )


def _scales(point: Mapping[str, Any]) -> str:
    return f"{point['text_guidance_scale']:g}, {point['image_guidance_scale']:g}"


def _threshold(value: float) -> str:
    return f"{value:g}".replace("0.", ".", 1) if value else "nothing kept"


def _cell(value: float | None, unit: str) -> str:
    if value is None or value != value:
        return "–"
    if unit == "dB":
        return f"{value:.1f}"
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


FOLDER = "tune"
RESULTS = ("tune.json", "tune.md", "tune.png")
SAMPLER_SETTINGS = ("steps", "solver", "guidance_interval", "average")
"""Settings of the sampler that are the same for every point."""


@dataclass(frozen=True)
class Tuning:
    """The result of a search.

    Attributes:
        content: of tune.json: `settings`, `points`, `frontier`, `best`, `accuracy` and `retention`.
        file: tune.json; tune.md and tune.png are next to it.
    """

    content: dict[str, Any]
    file: Path


@refuse_unknown_keywords
def tune(
    work: str | Path,
    *,
    split: str = "validate",
    limit: int | None = None,
    batch_size: int = 16,
    text_guidance_scales: Sequence[float] = (1, 2, 3, 4),
    image_guidance_scales: Sequence[float] = (1, 1.5, 2),
    keep_unchanged: Sequence[float] | None = None,
    judge_weights: str | Path | None = None,
    truth: str | Path | None = None,
    steps: int | None = None,
    solver: str | None = None,
    guidance_interval: Sequence[float] | None = None,
    average: int | None = None,
    seed: int = 0,
    precision: str | None = None,
    model: ModelConfig | None = None,
) -> Tuning:
    """Sample the journeys at every pair of scales, apply each threshold, and score as `evaluate` does.

    Points that an earlier run has scored with the same model, journeys and settings are not sampled again.

    Args:
        work: working folder with pairs.parquet, triples.jsonl and images/.
        split, limit: which journeys, and only the first so many.
        batch_size: images at once.
        text_guidance_scales, image_guidance_scales: to search, each with each.
        keep_unchanged: thresholds to search, in grey values; None for the configuration's.
        judge_weights: folder of the judges; None for the bundle's `models/`.
        truth: folder of true counterfactuals of rendered patients, for the PSNR inside and outside the changed region.
        steps, solver, guidance_interval, average, precision, model: of the sampling; None for the configuration's.
        seed: of the first journey's noise.

    Raises:
        SettingError: if a setting is out of range.
        BiomedJourneyError: if there are no journeys, or no point has a CMIG.
    """
    require_at_least(1, batch_size=batch_size, limit=limit)
    model, work = model or ModelConfig.find(), Path(work)
    refuse_unwritable_results(work / FOLDER, *RESULTS)
    sampler = {"steps": steps, "solver": solver, "guidance_interval": guidance_interval, "average": average}
    thresholds = _check_settings(sampler, text_guidance_scales, image_guidance_scales, keep_unchanged, seed, model)
    triples, judges = _read_triples(work, split, limit), Path(judge_weights or model.models)
    truths = None if truth is None else TrueCounterfactuals(Path(truth), size=model.image_size).checked()
    given = {name: value for name, value in sampler.items() if value is not None}
    sampling = ScoredSampling(work, triples, model, given, precision, judges, truths, seed, batch_size)
    pairs = [(text, image) for text in text_guidance_scales for image in image_guidance_scales]
    settings, file = _settings(sampling, split), work / FOLDER / RESULTS[0]
    points = _score_points(file, settings, pairs, thresholds, sampling)
    content = {"settings": settings, "points": points, **summarise_points(points)}
    write_json(file, content)
    with written_atomically(file.with_suffix(".md")) as temporary:
        temporary.write_text(format_tuning(content), encoding="utf-8")
    draw_points(file.with_suffix(".png"), content)
    return Tuning(content, file)


def _settings(sampling: ScoredSampling, split: str) -> dict[str, Any]:
    """Everything that the scores depend on besides the searched settings."""
    parser, model = sampling.model.compose(sampler=dict(sampling.sampler)), sampling.model
    judges, _ = choose_judges(sampling.work, sampling.judges)
    return {
        "judges": list(judges.provenance()["files"].values()),
        "model": weights_hash(model.weights),
        "split": split,
        "journeys": len(sampling.triples),
        "journeys_hash": _hash_journeys(sampling.work, sampling.triples),
        "sampler": {name: parser.get("sampler")[name] for name in SAMPLER_SETTINGS},
        "seed": sampling.seed,
        "batch_size": sampling.batch_size,
        "precision": sampling.precision or parser.get("denoiser_precision"),
        "overlay": file_hash(model.overlay) if model.overlay else None,
        "truth": _truth_used(sampling.truth, sampling.work, sampling.triples),
    }


def _score_points(
    file: Path,
    settings: dict[str, Any],
    pairs: Sequence[tuple[float, float]],
    thresholds: Sequence[float],
    sampling: ScoredSampling,
) -> list[dict[str, Any]]:
    """Score every pair of scales at every threshold; tune.json is written after each pair."""
    known, points = read_points(file, settings), []
    journeys = settings["journeys"]
    with tqdm(total=len(pairs) * journeys, desc="tune", unit="image") as bar:
        for pair in pairs:
            missing = [threshold for threshold in thresholds if Point(*pair, threshold) not in known]
            for threshold, scores in zip(missing, sampling.scores(*pair, missing, bar) if missing else []):
                known[Point(*pair, threshold)] = scores
            bar.update(0 if missing else journeys)
            for threshold in thresholds:
                point = Point(*pair, threshold)
                points.append({**point._asdict(), **known[point]})
            write_json(file, {"settings": settings, "points": points})
    return points


def _check_settings(
    sampler: dict[str, Any],
    text_scales: Sequence[float],
    image_scales: Sequence[float],
    thresholds: Sequence[float] | None,
    seed: int,
    model: ModelConfig,
) -> list[float]:
    """Check every setting, and give the thresholds to search, each once."""
    check_seed(seed)
    SamplingSettings(**sampler)
    for name, scales in (("text_guidance_scales", text_scales), ("image_guidance_scales", image_scales)):
        for scale in scales:
            if not math.isfinite(scale):
                raise SettingError(name, "must be finite numbers", found=str(scale))
    if thresholds is None:
        return [float(model.compose().get_parsed_content("sampler#keep_unchanged"))]
    for threshold in thresholds:
        SamplingSettings(keep_unchanged=threshold)
    return list(dict.fromkeys(thresholds))


def _read_triples(work: Path, split: str, limit: int | None) -> list[dict[str, Any]]:
    keys = ("journey_id", "split", "prior_image", "progression_description")
    rows = read_json_lines(work / TRIPLES_FILE, made_by="describe", keys=keys)
    triples = [row for row in rows if row["split"] == split][:limit]
    if not triples:
        raise BiomedJourneyError(
            f"{work / TRIPLES_FILE} must hold journeys of split {split}", found=f"{len(rows)} of others"
        )
    return triples


def _hash_journeys(work: Path, triples: Sequence[Mapping[str, Any]]) -> str:
    """Hash of the descriptions, of pairs.parquet and of the prior images."""
    digest = hashlib.sha256(json.dumps(triples, sort_keys=True).encode())
    digest.update(file_hash(work / PAIRS_FILE).encode() if (work / PAIRS_FILE).is_file() else b"")
    for row in triples:
        digest.update(file_hash(work / row["prior_image"]).encode())
    return digest.hexdigest()


def _truth_used(
    truth: TrueCounterfactuals | None, work: Path, triples: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """How many of the journeys have a true counterfactual, and the hash of those."""
    if truth is None:
        return None
    keys = ["journey_id", "prior_dicom_id", "new_study_id"]
    pairs = read_table(work / PAIRS_FILE, columns=keys, made_by="register")
    chosen = pairs[pairs["journey_id"].isin({row["journey_id"] for row in triples})]
    rows = [dict(zip(keys, row)) for row in chosen[keys].itertuples(index=False)]
    hashes = [file_hash(truth.path(row)) for row in rows if truth.has(row)]
    return {"journeys": len(hashes), "hash": hashlib.sha256("".join(hashes).encode()).hexdigest()}
