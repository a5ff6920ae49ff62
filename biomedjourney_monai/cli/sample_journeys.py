"""All journeys of a working folder: an interrupted run goes on, and nothing of an earlier run stays in the folder.

The model's go to `samples/`, a baseline's to `baselines/NAME/`, in the same form.
"""

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
    folder = samples_folder(work, arguments.system)
    triples = _read_triples(work, arguments)
    maker = CounterfactualMaker(arguments)
    provenance = maker.provenance() | ({"prior": "none"} if arguments.text_only else {})
    unfinished = folder / UNFINISHED
    images, rows = [], []
    with tqdm(total=len(triples), desc="sample", unit="image") as bar:
        for start in range(0, len(triples), arguments.batch_size):
            batch = triples[start : start + arguments.batch_size]
            seeds = [arguments.seed + start + offset for offset in range(len(batch))]
            images.append(_sample_batch(work, unfinished, batch, seeds, maker, provenance))
            for row, seed in zip(batch, seeds):
                facts = {**provenance, "progression_description": row["progression_description"], "seed": seed}
                file = f"{folder.relative_to(work).as_posix()}/{row['journey_id']}.png"
                rows.append({"journey_id": row["journey_id"], "file": file, "index": len(rows), **facts})
            bar.update(len(batch))
    _publish(work, folder, np.concatenate(images), rows)
    if maker.generator.text_encoder.truncated:
        cut = maker.generator.text_encoder.truncated
        print(f"warning: {cut} descriptions were longer than the text encoder's context and were cut", file=sys.stderr)
    print(f"sampled {len(rows)} counterfactuals; wrote {folder}")


def samples_folder(work: Path, system: str | None) -> Path:
    """Where a system's samples go.

    Raises:
        ConfigError: if the name is no plain word.
    """
    import re

    from biomedjourney_monai.errors import ConfigError
    from biomedjourney_monai.evaluation.systems.sources import BASELINES_FOLDER

    if system is None:
        return work / SAMPLES_FOLDER
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", system):
        raise ConfigError("--system must be letters, digits and - _ . alone", found="another name")
    return work / BASELINES_FOLDER / system


def _read_triples(work: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from biomedjourney_monai.files import read_json_lines

    keys = ("journey_id", "split", "prior_image", "progression_description")
    rows = read_json_lines(work / TRIPLES_FILE, made_by="describe", keys=keys)
    triples = [row for row in rows if row["split"] == arguments.split][: arguments.limit]
    if not triples:
        raise BiomedJourneyError(f"{work / TRIPLES_FILE} must hold journeys of split {arguments.split}", found="none")
    if arguments.text_only:
        triples = [_with_impression(row) for row in triples]
    return triples


def _with_impression(row: dict[str, Any]) -> dict[str, Any]:
    """Let the new report's impression stand for the description; where there is none, the description stays."""
    return {**row, "progression_description": row.get("new_impression") or row["progression_description"]}


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

    if maker.arguments.text_only:
        from biomedjourney_monai.training.data.latents import DUMMY_GREY

        priors = np.full((len(batch), maker.size, maker.size), DUMMY_GREY, np.float32)
    else:
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


def _publish(work: Path, folder: Path, pixels: np.ndarray, rows: list[dict[str, Any]]) -> None:
    """Replace what the folder holds by the new run."""
    import numpy as np

    from biomedjourney_monai.files import write_json_lines, written_atomically
    from biomedjourney_monai.radiographs import mark_synthetic, save_png

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
