"""Encode the prepared images with the autoencoder, and descriptions and impressions with the text encoder.

Writes the latent cache that training reads. Without an autoencoder of its own (`runs/autoencoder.pt` in the working
folder, which train_autoencoder.yaml writes) it takes the shipped model's and puts a copy there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.cli.bundle_model import (
    add_model_arguments,
    compose_networks,
    image_size,
    model_file,
    read_square_images,
)
from biomedjourney_monai.errors import ConfigError, WeightsError
from biomedjourney_monai.schema import LATENTS_FOLDER, SINGLES_FILE, TRIPLES_FILE

if TYPE_CHECKING:
    import numpy as np

    from biomedjourney_monai.training.latents import LatentRow

SINGLE_KEYS = ("image", "split", "impression")
IMAGE_KEYS = ("prior_image", "new_image")
TRIPLE_KEYS = (*IMAGE_KEYS, "split", "valid_mask", "progression_description")

EXAMPLE = "biomedjourney encode --work work"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--work", default="work", metavar="DIR", help="working folder (default: work)")
    parser.add_argument("--batch-size", type=int, default=64, help="images per batch (default: 64)")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    from biomedjourney_monai.files import read_json_lines
    from biomedjourney_monai.networks.weights import weights_hash
    from biomedjourney_monai.training.latents import LatentCache

    if arguments.batch_size < 1:
        raise ConfigError("--batch-size must be >= 1", found=str(arguments.batch_size))
    work = Path(arguments.work)
    singles = read_json_lines(work / SINGLES_FILE, made_by="describe", keys=SINGLE_KEYS)
    triples = read_json_lines(work / TRIPLES_FILE, made_by="describe", keys=TRIPLE_KEYS)
    size, parser = image_size(arguments), compose_networks(arguments)
    weights = work / "runs" / "autoencoder.pt"
    autoencoder = _load_autoencoder(parser, weights, model_file(arguments))
    encoder = parser.get_parsed_content("text_encoder").to(_device())

    images = _in_order([row["image"] for row in singles] + [row[key] for row in triples for key in IMAGE_KEYS])
    texts = _in_order([row["impression"] for row in singles] + [row["progression_description"] for row in triples])
    mean, log_variance, encoding = _encode_images(
        autoencoder, work, list(images), size=size, batch_size=arguments.batch_size
    )
    encoding |= {"autoencoder": weights_hash(weights), "text_encoder": encoder.weights_hash}
    states = _encode_texts(encoder, list(texts))
    rows = _rows(singles, triples, images, texts)
    LatentCache.write(
        work / LATENTS_FOLDER,
        mean=mean,
        log_variance=log_variance,
        valid=_valid_masks(work, [row["valid_mask"] for row in triples], size=size, factor=size // mean.shape[-1]),
        text_states=states,
        rows=rows,
        encoding={**encoding, "truncated_texts": encoder.truncated},
    )
    print(
        f"encoded {len(images)} images and {len(texts)} texts ({encoder.truncated} cut); "
        f"{sum(row.stage == 'pretrain' for row in rows)} examples to pretrain, {len(triples)} to finetune; "
        f"scale factor {encoding['scale_factor']:.4f}; wrote {work / LATENTS_FOLDER}"
    )


def _in_order(names: list[str]) -> dict[str, int]:
    """Each name once, with its place."""
    return {name: place for place, name in enumerate(dict.fromkeys(names))}


def _encode_images(
    autoencoder: Any, work: Path, files: list[str], *, size: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Posterior mean and log-variance, and what training must know of them."""
    import numpy as np

    from biomedjourney_monai.training.latents import DUMMY_GREY, compute_scale_factor, encode_images

    images = (read_square_images(work, [file], size=size)[0] for file in files)
    mean, log_variance = encode_images(autoencoder, images, count=len(files), batch_size=batch_size)
    dummy, _ = encode_images(autoencoder, [np.full((size, size), DUMMY_GREY, np.float32)], count=1)
    weight = getattr(autoencoder, "component_weight", None)
    encoding = {
        "scale_factor": compute_scale_factor(mean, log_variance),
        "dummy_prior": [float(value) for value in dummy[0].mean(axis=(1, 2))],
        "channel_weight": [1.0] * mean.shape[1] if weight is None else [float(value) for value in weight],
    }
    return mean, log_variance, encoding


def _encode_texts(encoder: Any, texts: list[str]) -> np.ndarray:
    """Token states, float16, shape (N, L, W)."""
    import numpy as np
    from tqdm import tqdm

    bar = tqdm(texts, desc="encode texts", unit="text")
    return np.stack([encoder.encode([text])[0].cpu().numpy().astype(np.float16) for text in bar])


def _valid_masks(work: Path, files: list[str], *, size: int, factor: int) -> np.ndarray:
    """Bool, shape (N, h, w)."""
    import numpy as np

    from biomedjourney_monai.training.latents import valid_at_latent_resolution

    masks = (read_square_images(work, [file], size=size)[0] > 0.5 for file in files)
    return np.stack([valid_at_latent_resolution(mask, factor=factor) for mask in masks])


def _rows(singles: list[dict], triples: list[dict], images: dict[str, int], texts: dict[str, int]) -> list[LatentRow]:
    from biomedjourney_monai.training.latents import LatentRow

    pretrain = [
        LatentRow("pretrain", row["split"], images[row["image"]], -1, -1, texts[row["impression"]])
        for row in singles
        if row["impression"]
    ]
    return pretrain + [
        LatentRow(
            "finetune",
            row["split"],
            new=images[row["new_image"]],
            prior=images[row["prior_image"]],
            valid=index,
            text=texts[row["progression_description"]],
            journey_id=row.get("journey_id", ""),
        )
        for index, row in enumerate(triples)
    ]


def _load_autoencoder(parser: Any, weights: Path, model: Path) -> Any:
    from biomedjourney_monai.networks.weights import load_into, load_tensors

    autoencoder = parser.get_parsed_content("autoencoder").eval().to(_device())
    if not weights.is_file():
        _copy_shipped_autoencoder(model, weights)
    return load_into(autoencoder, load_tensors(weights)[0])


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _copy_shipped_autoencoder(model: Path, to: Path) -> None:
    from biomedjourney_monai.networks.weights import load_tensors, save_tensors

    state, info = load_tensors(model)
    part = {
        key.removeprefix("autoencoder."): value.float()
        for key, value in state.items()
        if key.startswith("autoencoder.")
    }
    if not part:
        raise WeightsError(f"{model} must hold an autoencoder", found="none", action="Pass --model FILE")
    save_tensors(to, part, info={"copied_from": model.name, **info})
    print(f"no {to}: copied the autoencoder of {model}")
