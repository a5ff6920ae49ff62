"""Sample what the probes ask for with the bundle's model, and measure it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from biomedjourney_monai.evaluation.judges.loading import Judges

PROBE_SAMPLES = 3


def probe(args: argparse.Namespace, judges: Judges) -> dict[str, Any]:
    """Probe the model on the first `--probes` journeys of the split: content for metrics.json.

    Raises:
        BiomedJourneyError: if the model, the descriptions or a prior image cannot be used.
    """
    import numpy as np
    import torch
    from tqdm import tqdm

    from biomedjourney_monai.cli.bundle_model import load_generator, model_file, read_square_images
    from biomedjourney_monai.evaluation.metrics.bootstrap import draw_patient_weights
    from biomedjourney_monai.evaluation.probes import run_probes, summarise_probes
    from biomedjourney_monai.evaluation.summary import as_numbers
    from biomedjourney_monai.networks.weights.model_file import weights_hash

    journeys = _journeys(args)
    generator = load_generator(args, steps=args.steps)

    def generate(priors: Tensor, descriptions: Sequence[str], seeds: Sequence[int]) -> Tensor:
        return generator(priors, list(descriptions), seeds=list(seeds)).cpu()

    size, values = _side(args), []
    for start in tqdm(range(0, len(journeys), args.probe_batch), desc="probes", unit="batch"):
        rows = journeys[start : start + args.probe_batch]
        images = read_square_images(args.work, [row["prior_image"] for row in rows], size=size)
        texts = [row["progression_description"] for row in rows]
        settings = {"seed": args.seed + start, "samples": PROBE_SAMPLES, "turn": start}
        values.append(run_probes(torch.from_numpy(images)[:, None], rows, texts, generate, judges, **settings))
    weights = draw_patient_weights(
        np.array([row["subject_id"] for row in journeys]),
        replicates=args.bootstrap,
        generator=np.random.default_rng(args.seed),
    )
    return {
        "journeys": len(journeys),
        "samples": PROBE_SAMPLES,
        "model": weights_hash(model_file(args)),
        "metrics": as_numbers(summarise_probes(np.concatenate(values), weights=weights)),
    }


def _side(args: argparse.Namespace) -> int:
    from biomedjourney_monai.cli.bundle_model import image_size

    return image_size(args)


def _journeys(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of pairs.parquet with their descriptions."""
    from biomedjourney_monai.errors import TableError
    from biomedjourney_monai.files import read_json_lines, read_table
    from biomedjourney_monai.schema import PAIR_COLUMNS, PAIRS_FILE, TRIPLES_FILE

    keys = ("journey_id", "progression_description")
    texts = read_json_lines(Path(args.work) / TRIPLES_FILE, made_by="describe", keys=keys)
    by_journey = {row["journey_id"]: row["progression_description"] for row in texts}
    pairs = read_table(Path(args.work) / PAIRS_FILE, columns=PAIR_COLUMNS, made_by="register")
    chosen = pairs[(pairs["split"] == args.split) & pairs["kept"].astype(bool) & pairs["journey_id"].isin(by_journey)]
    if chosen.empty:
        raise TableError(f"there must be described journeys in the split {args.split!r} to probe", found="none")
    rows = chosen.head(args.probes).to_dict("records")
    return [{**row, "progression_description": by_journey[row["journey_id"]]} for row in rows]
