"""Encode the prepared images with the autoencoder, and descriptions and impressions with the text encoder.

Writes the latent cache that training reads. Without an autoencoder of its own (`runs/autoencoder.pt` in the working
folder, which train_autoencoder.yaml writes) it takes the shipped model's and puts a copy there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from biomedjourney_monai.cli.bundle_model import add_model_arguments, bundle_folder, model_file
from biomedjourney_monai.schema import LATENTS_FOLDER, SINGLES_FILE, TRIPLES_FILE

EXAMPLE = "biomedjourney encode --work work"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--work", default="work", metavar="DIR", help="working folder (default: work)")
    parser.add_argument("--batch-size", type=int, default=64, help="images per batch (default: 64)")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    import numpy as np
    from tqdm import tqdm

    from biomedjourney_monai.configuration import compose
    from biomedjourney_monai.files import read_json_lines
    from biomedjourney_monai.networks.weights import load_into, load_tensors, weights_hash
    from biomedjourney_monai.radiographs import read_mask, read_png
    from biomedjourney_monai.training.latents import (
        DUMMY_GREY,
        LatentCache,
        LatentRow,
        compute_scale_factor,
        encode_images,
        valid_at_latent_resolution,
    )

    work = Path(arguments.work)
    singles = read_json_lines(work / SINGLES_FILE, made_by="describe")
    triples = read_json_lines(work / TRIPLES_FILE, made_by="describe")
    root = bundle_folder(arguments)
    parser = compose(root / "configs" / "common.yaml", {"bundle_root": str(root)})
    autoencoder = parser.get_parsed_content("autoencoder").eval()
    weights = work / "runs" / "autoencoder.pt"
    if not weights.is_file():
        _copy_shipped_autoencoder(model_file(arguments), weights)
    load_into(autoencoder, load_tensors(weights)[0])

    paths = list(
        dict.fromkeys(
            [row["image"] for row in singles] + [row[key] for row in triples for key in ("prior_image", "new_image")]
        )
    )
    place = {path: index for index, path in enumerate(paths)}
    mean, log_variance = encode_images(
        autoencoder, (read_png(work / path) for path in paths), count=len(paths), batch_size=arguments.batch_size
    )
    texts = list(
        dict.fromkeys([row["impression"] for row in singles] + [row["progression_description"] for row in triples])
    )
    encoder = parser.get_parsed_content("text_encoder")
    states = np.stack(
        [encoder.encode([text])[0].numpy().astype(np.float16) for text in tqdm(texts, desc="encode texts", unit="text")]
    )
    text_place = {text: index for index, text in enumerate(texts)}
    factor = read_png(work / paths[0]).shape[0] // mean.shape[-1]
    valid = np.stack(
        [valid_at_latent_resolution(read_mask(work / row["valid_mask"]), factor=factor) for row in triples]
    )
    rows = [
        LatentRow("pretrain", row["split"], place[row["image"]], -1, -1, text_place[row["impression"]])
        for row in singles
        if row["impression"]
    ] + [
        LatentRow(
            "finetune",
            row["split"],
            place[row["new_image"]],
            place[row["prior_image"]],
            index,
            text_place[row["progression_description"]],
        )
        for index, row in enumerate(triples)
    ]
    grey = np.full(read_png(work / paths[0]).shape, DUMMY_GREY, np.float32)
    dummy, _ = encode_images(autoencoder, [grey], count=1)
    weight = getattr(autoencoder, "component_weight", None)
    encoding = {
        "autoencoder": weights_hash(weights),
        "text_encoder": encoder.weights_hash,
        "scale_factor": compute_scale_factor(mean, log_variance),
        "dummy_prior": [float(value) for value in dummy[0].mean(axis=(1, 2))],
        "channel_weight": [1.0] * mean.shape[1] if weight is None else [float(value) for value in weight],
        "truncated_texts": encoder.truncated,
    }
    LatentCache.write(
        work / LATENTS_FOLDER,
        mean=mean,
        log_variance=log_variance,
        valid=valid,
        text_states=states,
        rows=rows,
        encoding=encoding,
    )
    print(
        f"encoded {len(paths)} images and {len(texts)} texts ({encoder.truncated} cut); "
        f"{sum(row.stage == 'pretrain' for row in rows)} examples to pretrain, {len(triples)} to finetune; "
        f"scale factor {encoding['scale_factor']:.4f}; wrote {work / LATENTS_FOLDER}"
    )


def _copy_shipped_autoencoder(model: Path, to: Path) -> None:
    from biomedjourney_monai.networks.weights import load_tensors, save_tensors

    state, info = load_tensors(model)
    part = {
        key.removeprefix("autoencoder."): value.float()
        for key, value in state.items()
        if key.startswith("autoencoder.")
    }
    save_tensors(to, part, info={"copied_from": model.name, **info})
    print(f"no {to}: copied the autoencoder of {model}")
