"""Probes: sample a model further to see its composition, reversibility, ladders of severity and diversity.

What is measured, and its source, is in `metrics.probes`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas
import torch
from torch import Tensor
from tqdm import tqdm

from biomedjourney_monai.diffusion.controls import generate as draw
from biomedjourney_monai.diffusion.sampler import CounterfactualSampler
from biomedjourney_monai.diffusion.settings import SamplingSettings
from biomedjourney_monai.errors import TableError
from biomedjourney_monai.evaluation.journeys import EvaluationSettings
from biomedjourney_monai.evaluation.judges.scores import Judges
from biomedjourney_monai.evaluation.metrics.measure import Scored
from biomedjourney_monai.evaluation.metrics.probes import NULL_STEPS, PROBE_MEASURES, mean_ms_ssim
from biomedjourney_monai.evaluation.metrics.statistic import Summary, as_numbers, draw_patient_weights
from biomedjourney_monai.evaluation.metrics.target_change import target_region
from biomedjourney_monai.evaluation.systems.asked_findings import SIDED, SIDES, WHOLE, is_absent, prior_labels_of
from biomedjourney_monai.evaluation.systems.scoring import records
from biomedjourney_monai.files import read_json_lines, read_table
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.generator import LatentSampler
from biomedjourney_monai.networks.weights.model_file import weights_hash
from biomedjourney_monai.radiographs.read.prepared import read_square_images
from biomedjourney_monai.schema import FINDINGS, PAIR_COLUMNS, PAIRS_FILE, SEVERITY_WORDS, TRIPLES_FILE

Generate = Callable[[Tensor, Sequence[str], Sequence[int]], Tensor]
"""Prior images (B, 1, H, W) in [0, 1], descriptions and seeds -> counterfactuals, same shape."""

UNCHANGED = (
    "No interval change.",
    "No significant change since the prior study.",
    "Stable appearance of the chest.",
    "The chest is unchanged.",
)
"""What reports say where nothing changes. Unlike the empty description, which guidance subtracts, they are texts as any
other."""

NAMES = {"Edema": "pulmonary edema"}
SEEN = 0.5
LADDER_COLUMNS = (
    *(f"{name} overall" for name in ("ladder_judge", "ladder_change", "ladder_change_at", "reversibility_error")),
    *(f"reversibility_recovered {part}" for part in ("overall", *FINDINGS)),
)
"""Columns that are unknown where every finding is present in the prior."""


@dataclass(frozen=True)
class Probe:
    """A finding that the prior does not show, its side (or WHOLE), three severities in words, and its resolution."""

    finding: str
    side: str
    ladder: tuple[str, ...]
    undo: str


def choose_probe(prior_labels: Mapping[str, float], *, turn: int) -> Probe | None:
    """Choose the finding to ask for: the first, from the `turn`-th on, that the prior does not show; None for none."""
    for step in range(len(FINDINGS)):
        finding = FINDINGS[(turn + step) % len(FINDINGS)]
        if is_absent(prior_labels[finding]):
            side = SIDES[turn % 2] if finding in SIDED else WHOLE
            name = f"{side} ".lstrip() + NAMES.get(finding, finding.lower())
            ladder = tuple(f"New {word} {name}." for word in SEVERITY_WORDS[finding])
            return Probe(finding, side, ladder, f"The {name} has resolved.")
    return None


def run_probes(
    images: Tensor,
    rows: Sequence[Mapping[str, Any]],
    descriptions: Sequence[str],
    generate: Generate,
    judges: Judges,
    *,
    freely: Generate | None = None,
    seed: int = 0,
    samples: int = 3,
    turn: int = 0,
) -> pandas.DataFrame:
    """Sample and measure one batch of prior images, shape (B, 1, H, W), in [0, 1].

    `descriptions` and `samples` >= 2 are for the diversity; `freely` generates without keep_unchanged; `seed` and
    `turn` are those of the first journey, the following ones have the following numbers.

    Returns:
        B rows, and a column for each measure of `PROBE_MEASURES` and part; NaN where a probe does not apply.
    """
    if samples < 2:
        raise ValueError(f"samples must be >= 2; found {samples}.")
    count = len(images)
    seeds = [seed + n for n in range(count)]
    drift, current = [], images
    for _ in range(NULL_STEPS):
        current = generate(current, [""] * count, seeds)
        drift.append(_distance(current, images))
    columns = {f"composition_drift after {n + 1}": values for n, values in enumerate(drift)}
    columns["composition_drift overall"] = drift[0]
    columns |= _leave_unchanged(images, seeds, generate, freely or generate, judges, turn=turn)
    again = [generate(images, list(descriptions), [s + 10_007 * k for s in seeds]) for k in range(samples)]
    columns["diversity_ms_ssim overall"] = mean_ms_ssim(again)
    probes = [choose_probe(prior_labels_of(row), turn=turn + n) for n, row in enumerate(rows)]
    asked = {n: probe for n, probe in enumerate(probes) if probe is not None}
    table = pandas.DataFrame(columns | {name: np.full(count, np.nan) for name in LADDER_COLUMNS})
    if asked:
        places = list(asked)
        values = _ladder_and_back(images[places], list(asked.values()), [seeds[n] for n in places], generate, judges)
        for name, value in values.items():
            table.loc[places, name] = value.astype(np.float64)
    return table


def _leave_unchanged(
    images: Tensor, seeds: Sequence[int], generate: Generate, freely: Generate, judges: Judges, *, turn: int
) -> dict[str, np.ndarray]:
    """Follow a sentence without change, with the settings given and without keep_unchanged."""
    texts = [UNCHANGED[(turn + n) % len(UNCHANGED)] for n in range(len(images))]
    kept, redrawn = generate(images, texts, seeds), freely(images, texts, seeds)
    before, after = (judges.score(each.clamp(0, 1)).pathology.double().numpy() > SEEN for each in (images, kept))
    counts = before.sum(axis=1)
    shares = np.where(counts > 0, (before & after).sum(axis=1) / np.maximum(counts, 1), np.nan)
    return {
        "no_change_drift overall": _distance(kept, images),
        "no_change_drift redrawn": _distance(redrawn, images),
        "no_change_findings overall": shares,
    }


def _ladder_and_back(
    images: Tensor, probes: Sequence[Probe], seeds: Sequence[int], generate: Generate, judges: Judges
) -> dict[str, np.ndarray]:
    """Three severities from one noise; then the moderate one undone."""
    rungs = [generate(images, [probe.ladder[step] for probe in probes], seeds) for step in range(3)]
    back = generate(rungs[1], [probe.undo for probe in probes], seeds)
    place = np.arange(len(probes)), [FINDINGS.index(probe.finding) for probe in probes]
    scores = [judges.score(rung.clamp(0, 1)) for rung in (*rungs, images)]
    seen = np.stack([score.pathology.numpy()[place] for score in scores[:3]])  # (3, B)
    after = judges.score(back.clamp(0, 1)).pathology.numpy()[place]
    change = np.stack([_distance(rung, images) for rung in rungs])
    structures = torch.stack([score.structures for score in scores]).any(dim=0).numpy()  # of the prior or of any rung
    change_at = np.stack([_change_at(rung, images, structures, probes) for rung in rungs])
    recovered = np.where(seen[1] > SEEN, after <= SEEN, np.nan)
    asked_for = np.array([probe.finding for probe in probes])
    by_finding = {f: np.where(asked_for == f, recovered, np.nan) for f in FINDINGS}
    return {
        "ladder_judge overall": rises(seen),
        "ladder_change overall": rises(change),
        "ladder_change_at overall": np.where(np.isfinite(change_at).all(axis=0), rises(change_at), np.nan),
        "reversibility_error overall": _distance(back, images),
        "reversibility_recovered overall": recovered,
        **{f"reversibility_recovered {finding}": values for finding, values in by_finding.items()},
    }


def rises(values: np.ndarray) -> np.ndarray:
    """Whether values of shape (rungs, B) rise at every step, bool, shape (B,)."""
    return np.asarray((np.diff(values, axis=0) > 0).all(axis=0))


def _change_at(images: Tensor, priors: Tensor, structures: np.ndarray, probes: Sequence[Probe]) -> np.ndarray:
    """Mean absolute change at the anatomy of each probe's finding, shape (B,); NaN where none is seen."""
    values = np.full(len(probes), np.nan)
    change = (images - priors).abs()[:, 0].double().numpy()  # (B, H, W)
    for n, probe in enumerate(probes):
        at = target_region(structures[n], [(probe.finding, probe.side)])
        if at.any():
            values[n] = change[n][at].mean()
    return values


def _distance(images: Tensor, others: Tensor) -> np.ndarray:
    return (images - others).abs().double().mean(dim=(1, 2, 3)).numpy()


def summarise_probes(table: pandas.DataFrame, *, weights: np.ndarray) -> Summary:
    """Average the probes' columns.

    Args:
        table: rows of `run_probes`, all batches.
        weights: of `draw_patient_weights`, shape (1 + R, N).
    """
    scored = Scored(table, None, weights)
    return {measure.key: scored.statistics(measure) for measure in PROBE_MEASURES}


PROBE_SAMPLES = 3
"""Seeds per journey for the diversity."""


def probe_journeys(
    work: Path,
    judges: Judges,
    settings: EvaluationSettings,
    model: ModelConfig | None,
    count: int,
    batch: int,
    steps: int | None,
    precision: str | None,
) -> dict[str, Any]:
    """Probe the model on the first `count` described journeys of the split: the section `probes` of metrics.json.

    Raises:
        TableError: if there is no described journey in the split.
        ImageError: if a prior image cannot be used.
        WeightsError: if the weights are missing or do not fit.
    """
    model = model or ModelConfig.find()
    journeys, descriptions = _described_journeys(work, settings.split, count)
    generator = model.load_generator(precision=precision, steps=steps)

    def generate(priors: Tensor, texts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        return generator(priors, list(texts), seeds=list(seeds)).cpu()

    sampler = cast(CounterfactualSampler, generator.sampler).with_settings(SamplingSettings(keep_unchanged=0.0))
    redrawing = cast(LatentSampler, sampler)

    def freely(priors: Tensor, texts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        return draw(generator, priors, list(texts), seeds=list(seeds), sampler=redrawing).images.cpu()

    size, tables = model.image_size, []
    for start in tqdm(range(0, len(journeys), batch), desc="probes", unit="batch"):
        rows = journeys.iloc[start : start + batch]
        images = torch.from_numpy(read_square_images(work, list(rows["prior_image"]), size=size))[:, None]
        texts = descriptions[start : start + batch]
        tables.append(
            run_probes(
                images,
                records(rows),
                texts,
                generate,
                judges,
                freely=freely,
                seed=settings.seed + start,
                samples=PROBE_SAMPLES,
                turn=start,
            )
        )
    weights = draw_patient_weights(journeys["subject_id"], replicates=settings.bootstrap, seed=settings.seed)
    return {
        "journeys": len(journeys),
        "samples": PROBE_SAMPLES,
        "model": weights_hash(model.weights),
        "metrics": as_numbers(summarise_probes(pandas.concat(tables), weights=weights)),
    }


def _described_journeys(work: Path, split: str, count: int) -> tuple[pandas.DataFrame, list[str]]:
    """Rows of pairs.parquet, and their descriptions."""
    keys = ("journey_id", "progression_description")
    by_journey = {
        row["journey_id"]: str(row["progression_description"])
        for row in read_json_lines(work / TRIPLES_FILE, made_by="describe", keys=keys)
    }
    pairs = read_table(work / PAIRS_FILE, columns=PAIR_COLUMNS, made_by="register")
    chosen = pairs[(pairs["split"] == split) & pairs["kept"].astype(bool) & pairs["journey_id"].isin(set(by_journey))]
    if chosen.empty:
        raise TableError(
            f"there must be described journeys in the split {split!r} to probe",
            found=f"{len(by_journey)} descriptions, none of a kept journey of the split",
        )
    chosen = chosen.head(count)
    return chosen, [by_journey[journey] for journey in chosen["journey_id"]]
