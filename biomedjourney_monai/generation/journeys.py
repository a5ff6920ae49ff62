"""Counterfactuals of all journeys of a working folder, in `samples/`, or for a baseline in `baselines/NAME/`.

An interrupted run is resumed; files of earlier runs are removed.
"""

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from biomedjourney_monai.errors import BiomedJourneyError, ConfigError
from biomedjourney_monai.files import read_json_lines, write_json_lines, written_atomically
from biomedjourney_monai.generation.model import BATCH_SIZE, CounterfactualModel
from biomedjourney_monai.output_check import refuse_unwritable
from biomedjourney_monai.radiographs import mark_synthetic, save_png
from biomedjourney_monai.radiographs.read.prepared import read_square_images
from biomedjourney_monai.schema import BASELINES_FOLDER, DUMMY_GREY, SAMPLES_FOLDER, TRIPLES_FILE

UNFINISHED = ".unfinished"
"""Folder of finished batches, each named by the hash of its settings, descriptions, seeds and priors."""


@dataclass(frozen=True)
class SampledJourneys:
    """The folder that was written, the number of pictures, and the number of truncated descriptions."""

    folder: Path
    count: int
    truncated: int


def sample_journeys(
    model: CounterfactualModel,
    work: str | Path,
    *,
    split: str = "test",
    limit: int | None = None,
    system: str | None = None,
    text_only: bool = False,
    prompt_prefix: str = "",
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    region: str | None = None,
) -> SampledJourneys:
    """Sample the journeys of a split.

    Args:
        work: working folder.
        split: "train", "validate" or "test".
        limit: number of journeys to sample, from the first on.
        system: a baseline's name; None for the model's own samples.
        text_only: use the constant grey of stage 1 as the prior, and the new report's impression as the text.
        prompt_prefix: words before each impression, with `text_only`, as Stable Diffusion needs them.
        batch_size: images in one batch.
        seed: of the first journey's noise; the others have consecutive seeds.
        region: None, or "auto" for where the description acts.

    Raises:
        BiomedJourneyError: if the folder holds no such journeys, or the region is a mask.
    """
    if region not in (None, "auto"):
        raise BiomedJourneyError("a working folder takes --region auto", found="a mask", action="Use --csv for masks")
    work = Path(work)
    folder = _samples_folder(work, system)
    refuse_unwritable(folder, name="the folder of samples", folder=True)
    triples = _read_triples(work, split=split, limit=limit, prefix=prompt_prefix if text_only else None)
    shared = model.provenance() | ({} if region is None else {"region": region})
    shared |= {"prior": "none"} if text_only else {}
    images: list[np.ndarray] = []
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(triples), desc="sample", unit="image") as bar:
        for start in range(0, len(triples), batch_size):
            batch = triples[start : start + batch_size]
            seeds = [seed + start + offset for offset in range(len(batch))]
            if text_only:
                priors = np.full((len(batch), model.size, model.size), DUMMY_GREY, np.float32)
            else:
                priors = read_square_images(work, [row["prior_image"] for row in batch], size=model.size)
            images.append(_sample_batch(folder / UNFINISHED, batch, priors, seeds, model, shared, region))
            for row, own_seed in zip(batch, seeds, strict=True):
                facts = {**shared, "progression_description": row["progression_description"], "seed": own_seed}
                file = f"{folder.relative_to(work).as_posix()}/{row['journey_id']}.png"
                rows.append({"journey_id": row["journey_id"], "file": file, "index": len(rows), **facts})
            bar.update(len(batch))
    _publish(work, folder, np.concatenate(images), rows)
    return SampledJourneys(folder, len(rows), model.generator.text_encoder.truncated)


def _samples_folder(work: Path, system: str | None) -> Path:
    if system is None:
        return work / SAMPLES_FOLDER
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", system):
        raise ConfigError("--system must consist of letters, digits and - _ .", found=repr(system)[:40])
    return work / BASELINES_FOLDER / system


def _read_triples(work: Path, *, split: str, limit: int | None, prefix: str | None) -> list[dict[str, Any]]:
    keys = ("journey_id", "split", "prior_image", "progression_description")
    rows = read_json_lines(work / TRIPLES_FILE, made_by="describe", keys=keys)
    triples = [row for row in rows if row["split"] == split][:limit]
    if not triples:
        raise BiomedJourneyError(f"{work / TRIPLES_FILE} must hold journeys of split {split}", found="none")
    if prefix is not None:  # text only; a journey without an impression keeps its description
        key = "progression_description"
        triples = [{**row, key: f"{prefix} {row.get('new_impression') or row[key]}".strip()} for row in triples]
    return triples


def _sample_batch(
    unfinished: Path,
    batch: list[dict[str, Any]],
    priors: np.ndarray,
    seeds: list[int],
    model: CounterfactualModel,
    shared: dict[str, Any],
    region: str | None,
) -> np.ndarray:
    """Sample a batch, or read what an interrupted run wrote of it; float16, shape (B, S, S)."""
    descriptions = [row["progression_description"] for row in batch]
    made_of = json.dumps([shared, descriptions, seeds], sort_keys=True).encode() + priors.tobytes()
    file = unfinished / f"{hashlib.sha256(made_of).hexdigest()}.npy"
    if file.is_file():
        return np.load(file, allow_pickle=False)
    generated = model.draw(priors, descriptions, seeds, region=region)
    pixels = generated.images[:, 0].cpu().numpy().astype(np.float16)
    with written_atomically(file) as temporary:
        np.save(temporary, pixels)
    return pixels


def _publish(work: Path, folder: Path, pixels: np.ndarray, rows: list[dict[str, Any]]) -> None:
    """Replace the folder's content by the new run."""
    (folder / "samples.jsonl").unlink(missing_ok=True)  # a folder without it is unfinished
    for row, image in zip(rows, pixels, strict=True):
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
