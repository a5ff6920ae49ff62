"""Encode the prepared images with the autoencoder, and descriptions and impressions with the text encoder.

Writes the latent cache that training reads. A working folder without its own autoencoder (`runs/autoencoder.pt`, which
train_autoencoder.yaml writes) gets a copy of the shipped model's. Several working folders are encoded alike, for a
mixture; those without an autoencoder get the others'.

A stopped run continues where it was. With --augment every image is encoded in several variants; the prior and the new
image of a journey are changed alike. With --no-cache nothing is encoded in advance: training encodes, and changes, each
image when it needs it.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from biomedjourney_monai.cli.arguments import add_model_arguments, add_works_argument, model_config, pick
from biomedjourney_monai.errors import SettingError

if TYPE_CHECKING:
    from biomedjourney_monai.training.data.encode import Encoded

EXAMPLE = """biomedjourney encode --work work
  biomedjourney encode --work work --augment crop --variants 8 --processes 2
  biomedjourney encode --work work --augment jitter --no-cache
  biomedjourney encode --work work_real --work work_rendered"""
VARIANTS = 4


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_works_argument(parser)
    parser.add_argument("--batch-size", type=int, default=64, help="images per batch (default: 64)")
    parser.add_argument(
        "--augment",
        choices=["none", "crop", "jitter"],
        help="further variants of every image: a random window of it, or a small rotation, shift, scaling and change "
        "of contrast and brightness (default: the overlay's encode#augment, or none)",
    )
    parser.add_argument(
        "--variants", type=int, metavar="K", help=f"of each image, with --augment (default: {VARIANTS})"
    )
    parser.add_argument(
        "--reproduce-paper-flip",
        action="store_true",
        help="mirror every other variant and swap left and right in its text, as the paper did; the heart is then on "
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
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler whose workers encode instead")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    from biomedjourney_monai.training.data.encode import encode_folders
    from biomedjourney_monai.training.data.folders import latent_caches
    from biomedjourney_monai.training.data.mixture import read_encoding

    works = arguments.work or ["work"]
    if arguments.reproduce_paper_flip:
        print(
            "note: mirrored chests have the heart on the wrong side, and a model trained on them no longer knows the "
            "patient's left; use this to compare with the paper, not for a model to keep"
        )
    try:
        encoded = encode_folders(
            works,
            model_config(arguments),
            cache=not arguments.no_cache,
            **pick(arguments, "augment variants reproduce_paper_flip precision batch_size seed processes scheduler"),
        )
    except SettingError as error:
        raise error.as_option() from None
    for work, done in zip(works, encoded):
        _print(work, done, live=arguments.no_cache)
    if len(encoded) > 1:
        print(f"scale factor of the mixture {read_encoding(latent_caches(works))['scale_factor']:.4f}")


def _print(work: str, done: Encoded, *, live: bool) -> None:
    if done.copied_from is not None:
        print(f"no {work}/runs/autoencoder.pt: copied the autoencoder of {done.copied_from}")
    print(
        f"{'looked at' if live else 'encoded'} {done.images} images"
        f"{f' in {done.variants} variants' if done.variants > 1 and not live else ''}"
        f" and {done.texts} texts ({done.truncated_texts} cut), {done.unchanged_texts} of them that nothing changes; "
        f"{done.pretrain} examples to pretrain, {done.finetune} to finetune ({done.changed} change a finding); "
        f"scale factor {done.scale_factor:.4f}; wrote {done.folder}"
    )
