"""Probe a model on the journeys of a working folder: the section `probes` of metrics.json."""

from collections.abc import Sequence
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
from biomedjourney_monai.evaluation.metrics.bootstrap import draw_patient_weights
from biomedjourney_monai.evaluation.metrics.statistic import as_numbers
from biomedjourney_monai.evaluation.probes import run_probes, summarise_probes
from biomedjourney_monai.evaluation.systems.scoring import records
from biomedjourney_monai.files import read_json_lines, read_table
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.generator import LatentSampler
from biomedjourney_monai.networks.weights.model_file import weights_hash
from biomedjourney_monai.radiographs.read.prepared import read_square_images
from biomedjourney_monai.schema import PAIR_COLUMNS, PAIRS_FILE, TRIPLES_FILE

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
    weights = draw_patient_weights(
        journeys["subject_id"].to_numpy(),
        replicates=settings.bootstrap,
        generator=np.random.default_rng(settings.seed),
    )
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
