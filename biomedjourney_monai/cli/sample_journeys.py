"""All journeys of a working folder: an interrupted run goes on, and nothing of an earlier run stays in `samples/`."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.cli.bundle_model import read_square_images
from biomedjourney_monai.cli.counterfactual_maker import CounterfactualMaker
from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.schema import SAMPLES_FOLDER, TRIPLES_FILE

if TYPE_CHECKING:
    import numpy as np

UNFINISHED = ".unfinished"
"""Folder of the batches that are done, each under the hash of all that made it."""


def sample_journeys(arguments: argparse.Namespace) -> None:
    """Sample the journeys of `--split`."""
    import numpy as np
    from tqdm import tqdm

    if arguments.region not in (None, "auto"):
        raise BiomedJourneyError("a working folder takes --region auto", found="a mask", action="Use --csv for masks")
    work = Path(arguments.work)
    triples = _read_triples(work, arguments)
    maker = CounterfactualMaker(arguments)
    provenance = maker.provenance()
    unfinished = work / SAMPLES_FOLDER / UNFINISHED
    images, rows = [], []
    with tqdm(total=len(triples), desc="sample", unit="image") as bar:
        for start in range(0, len(triples), arguments.batch_size):
            batch = triples[start : start + arguments.batch_size]
            seeds = [arguments.seed + start + offset for offset in range(len(batch))]
            images.append(_sample_batch(work, unfinished, batch, seeds, maker, provenance))
            for row, seed in zip(batch, seeds):
                facts = {**provenance, "progression_description": row["progression_description"], "seed": seed}
                file = f"{SAMPLES_FOLDER}/{row['journey_id']}.png"
                rows.append({"journey_id": row["journey_id"], "file": file, "index": len(rows), **facts})
            bar.update(len(batch))
    _publish(work, np.concatenate(images), rows)
    if maker.generator.text_encoder.truncated:
        cut = maker.generator.text_encoder.truncated
        print(f"warning: {cut} descriptions were longer than the text encoder's context and were cut", file=sys.stderr)
    print(f"sampled {len(rows)} counterfactuals; wrote {work / SAMPLES_FOLDER}")


def _read_triples(work: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from biomedjourney_monai.files import read_json_lines

    keys = ("journey_id", "split", "prior_image", "progression_description")
    rows = read_json_lines(work / TRIPLES_FILE, made_by="describe", keys=keys)
    triples = [row for row in rows if row["split"] == arguments.split][: arguments.limit]
    if not triples:
        raise BiomedJourneyError(f"{work / TRIPLES_FILE} must hold journeys of split {arguments.split}", found="none")
    return triples


def _sample_batch(
    work: Path,
    unfinished: Path,
    batch: list[dict[str, Any]],
    seeds: list[int],
    maker: CounterfactualMaker,
    provenance: dict[str, Any],
) -> np.ndarray:
    """Sample a batch, or take what an interrupted run left of it; float16, shape (B, S, S)."""
    import numpy as np
    import torch

    from biomedjourney_monai.diffusion.controls import make
    from biomedjourney_monai.files import written_atomically

    priors = read_square_images(work, [row["prior_image"] for row in batch], size=maker.size)
    descriptions = [row["progression_description"] for row in batch]
    made_of = json.dumps([provenance, descriptions, seeds], sort_keys=True).encode() + priors.tobytes()
    file = unfinished / f"{hashlib.sha256(made_of).hexdigest()}.npy"
    if file.is_file():
        return np.load(file, allow_pickle=False)
    region = maker.arguments.region
    made = make(maker.generator, torch.from_numpy(priors)[:, None], descriptions, seeds=seeds, region=region)
    pixels = made.images[:, 0].cpu().numpy().astype(np.float16)
    with written_atomically(file) as temporary:
        np.save(temporary, pixels)
    return pixels


def _publish(work: Path, pixels: np.ndarray, rows: list[dict[str, Any]]) -> None:
    """Replace what `samples/` holds by the new run."""
    import numpy as np

    from biomedjourney_monai.files import write_json_lines, written_atomically
    from biomedjourney_monai.radiographs import mark_synthetic, save_png

    folder = work / SAMPLES_FOLDER
    (folder / "samples.jsonl").unlink(missing_ok=True)  # from here to its return the folder belongs to no run
    for row, image in zip(rows, pixels):
        facts = {key: value for key, value in row.items() if key not in ("journey_id", "file", "index")}
        save_png(work / row["file"], mark_synthetic(image.astype(np.float32)), metadata=facts)
    current = {Path(row["file"]).name for row in rows}
    for path in folder.glob("*.png"):
        if path.name not in current:
            path.unlink()
    with written_atomically(folder / "counterfactuals.npy") as temporary:
        np.save(temporary, pixels)
    write_json_lines(folder / "samples.jsonl", rows)
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
