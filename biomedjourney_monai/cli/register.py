"""Align each new image to its prior image and score the result.

Two uses. In a working folder (--work) every study becomes an image of one size and every journey a registered pair;
pairs below the score or outside sane limits are marked as dropped, with the reason. With --prior, --new and --out two
image files are registered, whatever their format and size.

Transforms are similarity, rigid or affine. Deformable registration is not offered: it removes the very changes of
disease that a model is to learn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = "biomedjourney register --work work\n  biomedjourney register --prior first.jpg --new later.png --out out.png"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work", default="work", help="working folder with journeys.parquet (default: work)")
    parser.add_argument("--prior", help="the earlier of two image files; needs --new and --out")
    parser.add_argument("--new", help="the later of two image files")
    parser.add_argument("--out", help="where the registered later image goes (PNG)")
    parser.add_argument("--size", type=int, default=128, help="side of the square images in pixels (default: 128)")
    parser.add_argument(
        "--transform",
        choices=["similarity", "rigid", "affine", "none"],
        default="similarity",
        help="none leaves the new image where it is, to study what registration is worth (default: similarity)",
    )
    parser.add_argument("--toolkit", choices=["simpleitk", "elastix"], default="simpleitk", help="default: simpleitk")
    parser.add_argument(
        "--min-score", type=float, default=0.25, help="gradient correlation that a pair must reach (default: 0.25)"
    )
    parser.add_argument("--processes", type=int, default=0, help="default: one for each core")


def run(args: argparse.Namespace) -> None:
    from biomedjourney_monai.errors import ConfigError

    if not 32 <= args.size <= 2048:
        raise ConfigError("--size must be in [32, 2048]", found=str(args.size))
    if not -1 <= args.min_score <= 1:
        raise ConfigError("--min-score must be in [-1, 1]", found=str(args.min_score))
    if args.processes < 0:
        raise ConfigError("--processes must be >= 1, or 0 for one per core", found=str(args.processes))
    given = [name for name in ("prior", "new", "out") if getattr(args, name)]
    if not given:
        _register_work(args)
    elif len(given) == 3:
        _register_files(args)
    else:
        raise ConfigError("--prior, --new and --out go together", found=f"only --{' and --'.join(given)}")


def _register_files(args: argparse.Namespace) -> None:
    from biomedjourney_monai.preparation.registration import register, rejection
    from biomedjourney_monai.radiographs import load_with_content, save_png

    prior, prior_content = load_with_content(args.prior, size=args.size)
    new, new_content = load_with_content(args.new, size=args.size)
    result = register(prior, new, prior_content, new_content, transform=args.transform, toolkit=args.toolkit)
    save_png(args.out, result.image)
    reason = rejection(result, min_score=args.min_score)
    print(
        f"gradient correlation {result.gradient_correlation:.3f}, scale {result.scale:.3f}, "
        f"rotation {result.rotation_degrees:.1f} degrees, shift {result.shift_x_px:.1f}, {result.shift_y_px:.1f} px, "
        f"overlap {result.overlap:.2f} -> {args.out}"
    )
    print(f"would be dropped: {reason}" if reason else "would be kept")


def _register_work(args: argparse.Namespace) -> None:
    import time

    from biomedjourney_monai.errors import TableError
    from biomedjourney_monai.files import read_table, write_json, write_table
    from biomedjourney_monai.preparation.pairs import RegistrationSettings, convert_studies, register_journeys
    from biomedjourney_monai.preparation.parallel import available_cores
    from biomedjourney_monai.schema import JOURNEY_COLUMNS, JOURNEYS_FILE, PAIRS_FILE, STUDIES_FILE, STUDY_COLUMNS

    work, processes = Path(args.work), args.processes or available_cores()
    studies = read_table(work / STUDIES_FILE, columns=STUDY_COLUMNS, made_by="cohort")
    journeys = read_table(work / JOURNEYS_FILE, columns=JOURNEY_COLUMNS, made_by="journeys")
    start = time.monotonic()
    contents = convert_studies(studies, work, size=args.size, processes=processes)
    converted = time.monotonic()
    settings = RegistrationSettings(transform=args.transform, toolkit=args.toolkit, min_score=args.min_score)
    pairs = register_journeys(journeys, contents, work, size=args.size, processes=processes, settings=settings)
    registered = time.monotonic()

    write_table(work / PAIRS_FILE, pairs)
    drops = pairs.loc[~pairs["kept"], "drop_reason"].value_counts().to_dict()
    unreadable = sum(content.box is None for content in contents.values())
    kept = int(pairs["kept"].sum())
    by_split = pairs.loc[pairs["kept"], "split"].value_counts().sort_index().to_dict()
    counts = {"kept": kept, "kept_by_split": by_split, "dropped": drops, "images_unreadable": unreadable}
    write_json(work / "register_drops.json", counts)
    print(
        f"{len(studies):,} images in {converted - start:.1f} s, {len(pairs):,} pairs in {registered - converted:.1f} s"
        f" with {processes} processes; {unreadable:,} images unreadable"
    )
    listed = ", ".join(f"{reason} {count:,}" for reason, count in drops.items()) or "none"
    print(f"{kept:,} pairs kept, dropped: {listed} -> {work / PAIRS_FILE}")
    if not kept:
        raise TableError("some pairs must be kept", found=f"dropped: {listed}", action="Check the images, --min-score")
