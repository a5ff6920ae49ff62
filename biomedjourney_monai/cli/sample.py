"""Make counterfactual radiographs.

Either of one image (JPEG, PNG, NIfTI or DICOM, any size) with a description of your own, or of every test journey of a
working folder. Every picture is marked as synthetic, in its pixels and in its metadata.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from biomedjourney_monai.cli.bundle_model import (
    add_model_arguments,
    image_size,
    load_generator,
    model_file,
    read_square_images,
)
from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.schema import SAMPLES_FOLDER, SPLITS, TRIPLES_FILE

EXAMPLE = (
    'biomedjourney sample --prior chest.jpg --description "New large left pleural effusion." --out counterfactual.png\n'
    "  biomedjourney sample --work work --split test"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    one = parser.add_argument_group("one image")
    one.add_argument("--prior", metavar="IMAGE", help="prior radiograph")
    one.add_argument("--description", metavar="TEXT", help="how the disease goes on")
    one.add_argument("--out", metavar="FILE", help="PNG to write, at the prior's own size")
    many = parser.add_argument_group("all journeys of a working folder")
    many.add_argument("--work", metavar="DIR", help="working folder")
    many.add_argument("--split", choices=SPLITS, default="test", help="journeys to sample (default: test)")
    many.add_argument("--limit", type=int, metavar="N", help="only the first N journeys")
    many.add_argument("--batch-size", type=int, default=16, help="journeys at once (default: 16)")
    sampler = parser.add_argument_group("sampling (defaults: the sampler section of common.yaml)")
    sampler.add_argument("--text-guidance-scale", type=float, metavar="S", help="pull toward the description")
    sampler.add_argument("--image-guidance-scale", type=float, metavar="S", help="pull toward the prior image")
    sampler.add_argument("--steps", type=int, metavar="N", help="denoising steps")
    sampler.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    sampler.add_argument("--autocast", action="store_true", default=None, help="denoise in bfloat16")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    if (arguments.work is None) == (arguments.prior is None):
        raise BiomedJourneyError(
            "sample takes one image or one working folder",
            found="both" if arguments.work else "neither",
            action="Pass --prior IMAGE --description TEXT --out FILE, or --work DIR",
        )
    if arguments.work is None:
        _sample_one(arguments)
    else:
        _sample_journeys(arguments)


def _generator(arguments: argparse.Namespace, **more: Any) -> Any:
    _require_in_range(arguments)
    return load_generator(
        arguments,
        steps=arguments.steps,
        text_guidance_scale=arguments.text_guidance_scale,
        image_guidance_scale=arguments.image_guidance_scale,
        autocast=arguments.autocast,
        **more,
    )


def _require_in_range(arguments: argparse.Namespace) -> None:
    if arguments.steps is not None and not 1 <= arguments.steps <= 1000:
        raise BiomedJourneyError("--steps must be in [1, 1000]", found=str(arguments.steps))
    if arguments.batch_size < 1:
        raise BiomedJourneyError("--batch-size must be >= 1", found=str(arguments.batch_size))
    if arguments.limit is not None and arguments.limit < 1:
        raise BiomedJourneyError("--limit must be >= 1", found=str(arguments.limit))
    for name in ("text_guidance_scale", "image_guidance_scale"):
        scale = getattr(arguments, name)
        if scale is not None and not math.isfinite(scale):
            raise BiomedJourneyError(f"--{name.replace('_', '-')} must be a finite number", found=str(scale))
    if not 0 <= arguments.seed < 2**63:
        raise BiomedJourneyError("--seed must be a non-negative 64-bit integer", found=str(arguments.seed))


def _sample_one(arguments: argparse.Namespace) -> None:
    if not arguments.description or not arguments.description.strip() or not arguments.out:
        raise BiomedJourneyError(
            "one image needs a description and a file to write",
            found="--description or --out missing or empty",
            action="Pass --description TEXT --out FILE",
        )
    if Path(arguments.out).suffix.lower() != ".png":
        raise BiomedJourneyError("--out must be a PNG file", found=Path(arguments.out).suffix or "no suffix")
    import torch

    from biomedjourney_monai.radiographs import load_radiograph, mark_synthetic, original_size, restore, save_png

    size = image_size(arguments)
    prior = load_radiograph(arguments.prior, size=size)
    generator = _generator(arguments)
    image = generator(torch.from_numpy(prior)[None, None], arguments.description, seeds=[arguments.seed])[0, 0].numpy()
    height, width = original_size(arguments.prior)
    picture = mark_synthetic(restore(image, (height, width)))
    save_png(
        arguments.out,
        picture,
        metadata={
            **_provenance(arguments, generator),
            "progression_description": arguments.description,
            "seed": arguments.seed,
        },
    )
    print(f"wrote {arguments.out} ({width}×{height}, generated at {size}×{size})")


def _sample_journeys(arguments: argparse.Namespace) -> None:
    import numpy as np
    import torch
    from tqdm import tqdm

    from biomedjourney_monai.files import read_json_lines, write_json_lines, written_atomically
    from biomedjourney_monai.radiographs import mark_synthetic, save_png

    work = Path(arguments.work)
    keys = ("journey_id", "split", "prior_image", "progression_description")
    rows = read_json_lines(work / TRIPLES_FILE, made_by="describe", keys=keys)
    triples = [row for row in rows if row["split"] == arguments.split][: arguments.limit]
    if not triples:
        raise BiomedJourneyError(f"{work / TRIPLES_FILE} must hold journeys of split {arguments.split}", found="none")
    size = image_size(arguments)
    generator = _generator(arguments)
    provenance = _provenance(arguments, generator)
    images, rows = [], []
    with tqdm(total=len(triples), desc="sample", unit="image") as bar:
        for start in range(0, len(triples), arguments.batch_size):
            batch = triples[start : start + arguments.batch_size]
            priors = torch.from_numpy(read_square_images(work, [row["prior_image"] for row in batch], size=size))
            seeds = [arguments.seed + start + offset for offset in range(len(batch))]
            descriptions = [row["progression_description"] for row in batch]
            images.append(generator(priors[:, None], descriptions, seeds=seeds)[:, 0].numpy())
            for row, image, seed in zip(batch, images[-1], seeds):
                file = f"{SAMPLES_FOLDER}/{row['journey_id']}.png"
                metadata = {**provenance, "progression_description": row["progression_description"], "seed": seed}
                save_png(work / file, mark_synthetic(image), metadata=metadata)
                rows.append({"journey_id": row["journey_id"], "file": file, "index": len(rows), **metadata})
            bar.update(len(batch))
    with written_atomically(work / SAMPLES_FOLDER / "counterfactuals.npy") as temporary:
        np.save(temporary, np.concatenate(images).astype(np.float16))
    write_json_lines(work / SAMPLES_FOLDER / "samples.jsonl", rows)
    print(f"sampled {len(rows)} counterfactuals; wrote {work / SAMPLES_FOLDER}")


def _provenance(arguments: argparse.Namespace, generator: Any) -> dict[str, Any]:
    """What made the pictures, for their metadata."""
    from biomedjourney_monai import __version__
    from biomedjourney_monai.networks.weights import weights_hash
    from biomedjourney_monai.radiographs import NOT_FOR_DIAGNOSIS

    sampler = generator.sampler
    return {
        "Comment": NOT_FOR_DIAGNOSIS,
        "Software": f"biomedjourney_monai {__version__}",
        "model": weights_hash(model_file(arguments)),
        "steps": sampler.steps,
        "text_guidance_scale": sampler.text_guidance_scale,
        "image_guidance_scale": sampler.image_guidance_scale,
    }
