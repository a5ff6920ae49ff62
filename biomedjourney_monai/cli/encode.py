"""Encode the prepared images with the autoencoder, and descriptions and impressions with the text encoder.

Writes the latent cache that training reads. Without an autoencoder of its own (`runs/autoencoder.pt` in the working
folder, which train_autoencoder.yaml writes) it takes the shipped model's and puts a copy there.

A run that was stopped goes on where it was. With --augment every image is encoded in several variants, changed alike
for the prior and the new image of a journey; with --no-cache nothing is encoded beforehand, and training encodes, and
changes, each image when it needs it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.cli.bundle_model import (
    add_model_arguments,
    bundle_folder,
    image_size,
    model_file,
)
from biomedjourney_monai.errors import ConfigError, WeightsError
from biomedjourney_monai.schema import LATENTS_FOLDER, SINGLES_FILE, TRIPLES_FILE
from biomedjourney_monai.training.data.encode_shards import (
    ShardWriter,
    cut_into_shards,
    load_autoencoder,
    load_text_encoder,
)
from biomedjourney_monai.training.data.encode_table import Table

if TYPE_CHECKING:
    from biomedjourney_monai.training.data.augmentation import Augmentation

EXAMPLE = """biomedjourney encode --work work
  biomedjourney encode --work work --augment crop --variants 8 --processes 2
  biomedjourney encode --work work --augment jitter --no-cache"""
VARIANTS, LIVE_VARIANTS = 4, 1_000_000
CHECKED_IMAGES = 16
SCALE_IMAGES = 500


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--work", default="work", metavar="DIR", help="working folder (default: work)")
    parser.add_argument("--batch-size", type=int, default=64, help="images per batch (default: 64)")
    parser.add_argument(
        "--augment",
        choices=["none", "crop", "jitter"],
        default="none",
        help="further variants of every image: a random window of it, or a small turn, shift, scaling and change of "
        "contrast and brightness (default: none)",
    )
    parser.add_argument(
        "--variants", type=int, metavar="K", help=f"of each image, with --augment (default: {VARIANTS})"
    )
    parser.add_argument(
        "--reproduce-paper-flip",
        action="store_true",
        help="mirror every other variant and swap left and right in its text, as the paper did; the heart then lies on "
        "the wrong side, and left no longer means the patient's left",
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="let training encode images and texts when it needs them"
    )
    parser.add_argument(
        "--precision", choices=["float16", "float32"], default="float16", help="of the cache (default: float16)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of --augment's changes (default: 0)")
    parser.add_argument(
        "--processes", type=int, default=1, help="that encode (default: 1, which uses all cores, or the GPU)"
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler, to use its workers instead")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    from biomedjourney_monai.files import read_json_lines
    from biomedjourney_monai.networks.weights.model_file import weights_hash
    from biomedjourney_monai.training.data.latents import SINGLE_KEYS, TRIPLE_KEYS

    augmentation, variants = _changes(arguments)
    work = Path(arguments.work)
    singles = read_json_lines(work / SINGLES_FILE, made_by="describe", keys=SINGLE_KEYS)
    triples = read_json_lines(work / TRIPLES_FILE, made_by="describe", keys=TRIPLE_KEYS)
    weights = work / "runs" / "autoencoder.pt"
    overlay = str(Path(arguments.overlay).resolve()) if arguments.overlay else None
    text_encoder = str(Path(arguments.text_encoder).resolve()) if arguments.text_encoder else None
    bundle = str(bundle_folder(arguments).resolve())
    networks = (("bundle", bundle), ("overlay", overlay), ("text_encoder", text_encoder))
    if not weights.is_file():
        _copy_shipped_autoencoder(model_file(arguments), weights)
    autoencoder = load_autoencoder(networks, str(weights), weights_hash(weights))
    encoder = load_text_encoder(networks)
    size = image_size(arguments)
    latent, about = _probe(autoencoder, size)
    writer = ShardWriter(
        work=str(work.resolve()),
        folder=str((work / LATENTS_FOLDER).resolve()),
        networks=networks,
        autoencoder_hash=weights_hash(weights),
        text_encoder_hash=encoder.weights_hash,
        size=size,
        factor=size // latent,
        variants=variants,
        augmentation=augmentation,
        precision=arguments.precision,
        batch_size=arguments.batch_size,
    )
    table = Table(singles, triples, augmentation=augmentation)
    encoding = about | _made_from(work, table) | _described(writer, arguments)
    truncated = sum(encoder.count_tokens(text) > encoder.context_length for text in table.texts)
    encoding["truncated_texts"] = truncated
    write = _write_live if arguments.no_cache else _write_cache
    encoding = write(writer, table, encoding, arguments)
    print(
        f"{'looked at' if arguments.no_cache else 'encoded'} {len(table.files)} images"
        f"{f' in {variants} variants' if variants > 1 and not arguments.no_cache else ''}"
        f" and {len(table.texts)} texts ({truncated} cut); "
        f"{sum(row.stage == 'pretrain' for row in table.rows)} examples to pretrain, {len(triples)} to finetune; "
        f"scale factor {encoding['scale_factor']:.4f}; wrote {work / LATENTS_FOLDER}"
    )


def _changes(arguments: argparse.Namespace) -> tuple[Augmentation, int]:
    """How images are changed, and how many variants there are."""
    from biomedjourney_monai.training.data.augmentation import Augmentation

    for name in ("batch_size", "processes", "variants"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be >= 1", found=str(value))
    augmentation = Augmentation(arguments.augment, arguments.seed, arguments.reproduce_paper_flip)
    if not augmentation.changes:
        if arguments.variants is not None:
            raise ConfigError(
                "--variants needs changes that differ", found="none", action="Pass --augment crop or jitter"
            )
        return augmentation, 1
    if augmentation.reproduce_paper_flip:
        print(
            "note: mirrored chests have the heart on the wrong side, and what is trained on them no longer knows the "
            "patient's left; use this to compare with the paper, not for a model to keep"
        )
    if arguments.no_cache:
        if arguments.variants is not None:
            raise ConfigError("--no-cache draws a new change each time", found="--variants", action="Pass one of them")
        return augmentation, LIVE_VARIANTS
    return augmentation, VARIANTS if arguments.variants is None else arguments.variants


def _probe(autoencoder: Any, size: int) -> tuple[int, dict[str, Any]]:
    """Side of a latent, and what training must know of the autoencoder."""
    import numpy as np

    from biomedjourney_monai.schema import DUMMY_GREY
    from biomedjourney_monai.training.data.latents import encode_images

    dummy, _ = encode_images(autoencoder, [np.full((size, size), DUMMY_GREY, np.float32)])
    weight = getattr(autoencoder, "component_weight", None)
    return dummy.shape[-1], {
        "dummy_prior": [float(value) for value in dummy[0].mean(axis=(1, 2))],
        "channel_weight": [1.0] * dummy.shape[1] if weight is None else [float(value) for value in weight],
    }


def _made_from(work: Path, table: Table) -> dict[str, Any]:
    """By what training notices that the tables or the images are others by now."""
    from biomedjourney_monai.files import file_hash

    step = max(1, len(table.files) // CHECKED_IMAGES)
    names = [SINGLES_FILE, TRIPLES_FILE, *table.files[::step][:CHECKED_IMAGES]]
    return {"made_from": {name: file_hash(work / name) for name in names if (work / name).is_file()}}


def _described(writer: ShardWriter, arguments: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "autoencoder": writer.autoencoder_hash,
        "text_encoder": writer.text_encoder_hash,
        "cached": not arguments.no_cache,
        "variants": writer.variants,
        "augmentation": asdict(writer.augmentation),
        "mirrored": writer.augmentation.reproduce_paper_flip,
        "image_size": writer.size,
        "precision": writer.precision,
    }


def _write_cache(
    writer: ShardWriter, table: Table, encoding: dict[str, Any], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Encode all, then write what joins the parts; the rows come last, and what belongs to no part goes."""
    from dataclasses import replace

    import numpy as np

    from biomedjourney_monai.files import write_json, write_json_lines
    from biomedjourney_monai.preparation.parallel import available_cores, map_in_processes
    from biomedjourney_monai.training.data.latents import ENCODING_FILE, ROWS_FILE, compute_scale_factor
    from biomedjourney_monai.training.data.shards import ShardedArray

    folder = Path(writer.folder)
    (folder / ROWS_FILE).unlink(missing_ok=True)
    parts = [("images", table.images), ("masks", table.masks), ("texts", table.texts)]
    shards = [shard for kind, entries in parts for shard in cut_into_shards(kind, entries)]
    if arguments.processes > 1:
        writer = replace(writer, threads=max(1, available_cores() // arguments.processes))
    spread = {"processes": arguments.processes, "scheduler": arguments.scheduler, "chunk": 1}
    names: dict[str, list[str]] = {}
    for written in map_in_processes(writer, shards, title="encode", unit="shard", **spread):
        for array, name in written.items():
            names.setdefault(array, []).append(name)
    mean, log_variance = (ShardedArray(folder, names[array]) for array in ("mean", "log_variance"))
    places = range(0, len(mean), writer.variants * max(1, len(table.images) // SCALE_IMAGES))
    sample = (np.stack([moments[place] for place in places]) for moments in (mean, log_variance))
    encoding = {**encoding, "scale_factor": compute_scale_factor(*sample), "shards": names}
    write_json(folder / ENCODING_FILE, encoding)
    write_json_lines(folder / ROWS_FILE, [vars(row) for row in table.rows])
    _remove_others(folder, {name for part in names.values() for name in part})
    return encoding


def _write_live(
    writer: ShardWriter, table: Table, encoding: dict[str, Any], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Encode a sample, for the scale factor, and write what training must know."""
    from biomedjourney_monai.cli.bundle_model import read_square_images
    from biomedjourney_monai.files import write_json
    from biomedjourney_monai.training.data.latents import ENCODING_FILE, ROWS_FILE, compute_scale_factor, encode_images

    work, folder = Path(writer.work), Path(writer.folder)
    autoencoder = load_autoencoder(writer.networks, str(work / "runs" / "autoencoder.pt"), writer.autoencoder_hash)
    files = table.files[:: max(1, len(table.files) // SCALE_IMAGES)]
    images = (read_square_images(work, [file], size=writer.size)[0] for file in files)
    moments = encode_images(autoencoder, images, batch_size=writer.batch_size, precision=writer.precision)
    encoding = {**encoding, "scale_factor": compute_scale_factor(*moments)}
    (folder / ROWS_FILE).unlink(missing_ok=True)
    write_json(folder / ENCODING_FILE, encoding)
    _remove_others(folder, set())
    return encoding


def _remove_others(folder: Path, names: Iterable[str]) -> None:
    for path in folder.glob("*.npy"):
        if path.name not in names:
            path.unlink()


def _copy_shipped_autoencoder(model: Path, to: Path) -> None:
    from biomedjourney_monai.networks.weights.model_file import load_tensors, save_tensors

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
