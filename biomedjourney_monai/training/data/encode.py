"""Encode a working folder: write the latent cache that training reads."""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from biomedjourney_monai.configuration import read_key
from biomedjourney_monai.errors import ConfigError, SettingError, WeightsError
from biomedjourney_monai.files import file_hash, read_json_lines, write_json, write_json_lines, written_atomically
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.weights.model_file import load_tensors, save_tensors, weights_hash
from biomedjourney_monai.preparation.parallel import available_cores, map_in_processes
from biomedjourney_monai.schema import DUMMY_GREY, LATENTS_FOLDER, SINGLES_FILE, TRIPLES_FILE
from biomedjourney_monai.training.data.augmentation import Augmentation
from biomedjourney_monai.training.data.encode_shards import (
    EncodeTable,
    ShardWriter,
    autoencoder_file,
    cut_into_shards,
    load_autoencoder,
    load_text_encoder,
)
from biomedjourney_monai.training.data.latents import (
    ENCODING_FILE,
    ROWS_FILE,
    SINGLE_KEYS,
    TRIPLE_KEYS,
    ShardedArray,
    compute_scale_factor,
    encode_images,
)

VARIANTS, LIVE_VARIANTS = 4, 1_000_000
CHECKED_IMAGES = 16
"""Images whose hashes are kept, so that training notices a change."""

SCALE_IMAGES = 500
"""Images that the scale factor is computed from, at most."""


@dataclass(frozen=True)
class Encoded:
    """What `encode_examples` wrote: the latent cache, and the number of its images, texts and examples.

    Attributes:
        truncated_texts: texts that were longer than the text encoder reads, and were cut.
        unchanged_texts: sentences that say that nothing changes, for training pairs of one image.
        changed: triples whose description changes one of the five findings.
        scale_factor: the latent multiplier.
        copied_from: the model file whose autoencoder was copied into the working folder; None if it had its own.
    """

    folder: Path
    images: int
    variants: int
    texts: int
    truncated_texts: int
    unchanged_texts: int
    pretrain: int
    finetune: int
    changed: int
    scale_factor: float
    copied_from: Path | None = None


def encode_examples(
    work: str | Path = "work",
    model: ModelConfig | None = None,
    *,
    augment: str | None = None,
    variants: int | None = None,
    reproduce_paper_flip: bool = False,
    cache: bool = True,
    precision: str = "float16",
    batch_size: int = 64,
    seed: int = 0,
    processes: int = 1,
    scheduler: str | None = None,
) -> Encoded:
    """Encode the prepared images with the autoencoder, and descriptions and impressions with the text encoder.

    A folder without `runs/autoencoder.pt` gets a copy of the model's autoencoder. A stopped run continues.

    Args:
        work: working folder, with `singles.jsonl` and `triples.jsonl`.
        model: the networks; None for the shipped model.
        augment, seed, reproduce_paper_flip: see `Augmentation`; None: the overlay's `encode#augment`, or "none".
        variants: of each image, the first unchanged; None for 4 with an augmentation.
        cache: False encodes a sample only, and lets training encode each image when it needs it.
        precision, batch_size: of the cache, "float16" or "float32"; images per batch.
        processes, scheduler: see `map_in_processes`; 1 process uses all cores, or the GPU.

    Raises:
        BiomedJourneyError: if a setting, a table, an image or the model cannot be used.
    """
    _require_positive(batch_size=batch_size, processes=processes, variants=variants)
    work, model = Path(work), model or ModelConfig.find()
    augmentation = Augmentation(augment or _overlays_augmentation(model), seed, reproduce_paper_flip)
    count = _count_variants(augmentation, variants, cache=cache)
    singles = read_json_lines(work / SINGLES_FILE, made_by="describe", keys=SINGLE_KEYS)
    triples = read_json_lines(work / TRIPLES_FILE, made_by="describe", keys=TRIPLE_KEYS)
    table = EncodeTable(singles, triples, augmentation=augmentation)
    copied = _copy_autoencoder(model.weights, autoencoder_file(work))
    writer, encoding = _open_writer(work, model, augmentation, count, precision, batch_size)
    encoder = load_text_encoder(writer.model)
    truncated = sum(encoder.count_tokens(text) > encoder.context_length for text in table.texts)
    encoding |= {**_made_from(work, table.files), "cached": cache, "truncated_texts": truncated}
    encoding["unchanged_texts"] = table.unchanged_texts
    if cache:
        _write_cache(writer, table, encoding, processes=processes, scheduler=scheduler)
    else:
        _write_live(writer, table, encoding)
    return Encoded(
        folder=work / LATENTS_FOLDER,
        images=len(table.files),
        variants=count,
        texts=len(table.texts),
        truncated_texts=truncated,
        unchanged_texts=len(table.unchanged_texts),
        pretrain=len(table.rows) - len(triples),
        finetune=len(triples),
        changed=sum(row.changed is True for row in table.rows),
        scale_factor=encoding["scale_factor"],
        copied_from=copied,
    )


def _overlays_augmentation(model: ModelConfig) -> str:
    return (read_key(model.overlay, "encode", "augment") if model.overlay else None) or "none"


def _require_positive(**numbers: int | None) -> None:
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise SettingError(name, "must be >= 1", found=str(value))


def encode_folders(works: Sequence[str | Path], model: ModelConfig | None = None, **settings: Any) -> list[Encoded]:
    """Encode working folders that are to be mixed, all with one autoencoder.

    A folder without an autoencoder gets a copy of that of the first folder that has one, else of the model's.

    Args:
        works: working folders.
        model, **settings: of `encode_examples`.

    Raises:
        BiomedJourneyError: if the folders have different autoencoders, or as `encode_examples`.
    """
    for work in works[1:]:  # before any is written to; the first is checked below
        read_json_lines(Path(work) / SINGLES_FILE, made_by="describe", keys=SINGLE_KEYS)
    files = {Path(work): autoencoder_file(Path(work)) for work in works}
    own = {work: file for work, file in files.items() if file.is_file()}
    hashes = {work: weights_hash(file) for work, file in own.items()}
    if len(set(hashes.values())) > 1:
        raise WeightsError(
            "the folders of a mixture must have one autoencoder",
            found=", ".join(f"{digest[:12]} in {work}" for work, digest in hashes.items()),
            action="Copy one folder's runs/autoencoder.pt to the others",
        )
    for work, file in files.items():
        if own and work not in own and work.is_dir():
            with written_atomically(file) as temporary:
                shutil.copyfile(next(iter(own.values())), temporary)
    return [encode_examples(work, model, **settings) for work in works]


def _count_variants(augmentation: Augmentation, variants: int | None, *, cache: bool) -> int:
    if variants is not None and not augmentation.changes:
        raise ConfigError("--variants needs changes that differ", found="none", action="Pass --augment crop or jitter")
    if variants is not None and not cache:
        raise ConfigError("--no-cache draws a new change each time", found="--variants", action="Pass one of them")
    if not augmentation.changes:
        return 1
    if not cache:
        return LIVE_VARIANTS
    return VARIANTS if variants is None else variants


def _copy_autoencoder(model: Path, to: Path) -> Path | None:
    """Copy the autoencoder of a model file, unless there is one already; returns the model file that was copied."""
    if to.is_file():
        return None
    state, info = load_tensors(model)
    prefix = "autoencoder."
    part = {key.removeprefix(prefix): value.float() for key, value in state.items() if key.startswith(prefix)}
    if not part:
        raise WeightsError(f"{model} must hold an autoencoder", found="none", action="Pass --model FILE")
    save_tensors(to, part, info={"copied_from": model.name, **info})
    return model


def _open_writer(
    work: Path, model: ModelConfig, augmentation: Augmentation, variants: int, precision: str, batch_size: int
) -> tuple[ShardWriter, dict[str, Any]]:
    """Load the networks; returns what encodes with them, and what training must know of them."""
    model = replace(
        model,
        bundle=model.bundle.resolve(),
        overlay=model.overlay and model.overlay.resolve(),
        text_encoder=model.text_encoder and model.text_encoder.resolve(),
    )
    size, digest = model.image_size, weights_hash(autoencoder_file(work))
    autoencoder = load_autoencoder(model, str(autoencoder_file(work.resolve())), digest)
    dummy, _ = encode_images(autoencoder, [np.full((size, size), DUMMY_GREY, np.float32)])  # (1, C, h, w)
    weight = getattr(autoencoder, "component_weight", None)
    writer = ShardWriter(
        work=work.resolve(),
        folder=(work / LATENTS_FOLDER).resolve(),
        model=model,
        autoencoder_hash=digest,
        text_encoder_hash=load_text_encoder(model).weights_hash,
        size=size,
        factor=size // dummy.shape[-1],
        variants=variants,
        augmentation=augmentation,
        precision=precision,
        batch_size=batch_size,
    )
    return writer, {
        "dummy_prior": [float(value) for value in dummy[0].mean(axis=(1, 2))],
        "channel_weight": [1.0] * dummy.shape[1] if weight is None else [float(value) for value in weight],
        "autoencoder": digest,
        "text_encoder": writer.text_encoder_hash,
        "variants": variants,
        "augmentation": asdict(augmentation),
        "mirrored": augmentation.reproduce_paper_flip,
        "image_size": size,
        "precision": precision,
    }


def _made_from(work: Path, files: Sequence[str]) -> dict[str, Any]:
    """Hashes by which training notices that the tables or the images have changed."""
    step = max(1, len(files) // CHECKED_IMAGES)
    names = [SINGLES_FILE, TRIPLES_FILE, *files[::step][:CHECKED_IMAGES]]
    return {"made_from": {name: file_hash(work / name) for name in names if (work / name).is_file()}}


def _write_cache(
    writer: ShardWriter, table: EncodeTable, encoding: dict[str, Any], *, processes: int, scheduler: str | None
) -> None:
    """Encode everything, then write what joins the parts, the rows last, and remove files that belong to no part."""
    (writer.folder / ROWS_FILE).unlink(missing_ok=True)
    parts: dict[str, Sequence[Any]] = {kind: list(getattr(table, kind)) for kind in ("images", "masks", "texts")}
    shards = [shard for kind, entries in parts.items() for shard in cut_into_shards(kind, entries)]
    if processes > 1:
        writer = replace(writer, threads=max(1, available_cores() // processes))
    names: dict[str, list[str]] = {}
    for written in map_in_processes(
        writer, shards, title="encode", unit="shard", processes=processes, scheduler=scheduler, chunk=1
    ):
        for array, name in written.items():
            names.setdefault(array, []).append(name)
    mean, log_variance = (ShardedArray(writer.folder, names[array]) for array in ("mean", "log_variance"))
    places = range(0, len(mean), writer.variants * max(1, len(table.images) // SCALE_IMAGES))
    sample = (np.stack([array[place] for place in places]) for array in (mean, log_variance))
    encoding |= {"scale_factor": compute_scale_factor(*sample), "shards": names}
    write_json(writer.folder / ENCODING_FILE, encoding)
    write_json_lines(writer.folder / ROWS_FILE, [vars(row) for row in table.rows])
    _remove_others(writer.folder, {name for part in names.values() for name in part})


def _write_live(writer: ShardWriter, table: EncodeTable, encoding: dict[str, Any]) -> None:
    """Encode a sample, for the scale factor, and write what training must know."""
    files = table.files[:: max(1, len(table.files) // SCALE_IMAGES)]
    images = (writer.read_image(file) for file in files)
    moments = encode_images(writer.load_autoencoder(), images, batch_size=writer.batch_size, precision=writer.precision)
    encoding["scale_factor"] = compute_scale_factor(*moments)
    (writer.folder / ROWS_FILE).unlink(missing_ok=True)
    write_json(writer.folder / ENCODING_FILE, encoding)
    _remove_others(writer.folder, ())


def _remove_others(folder: Path, names: Collection[str]) -> None:
    for path in folder.glob("*.npy"):
        if path.name not in names:
            path.unlink()
