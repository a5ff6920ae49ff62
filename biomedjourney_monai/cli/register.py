"""Align each new image to its prior image and score the result.

Two uses. In a working folder (--work) every study becomes an image of one size and every journey a registered pair;
pairs below the score or outside the limits are marked as dropped, with the reason. With --prior, --new and --out two
image files are registered, of any format and size.

Transforms are similarity, rigid or affine. A deformable one removes the very changes of disease that a model must
learn, and is refused unless --accept-erased-disease is given.

A stopped run resumes where it was; a changed setting repeats only what depends on it.
"""

import argparse
from pathlib import Path
from typing import Any

from biomedjourney_monai.cli.arguments import pick

EXAMPLE = """biomedjourney register --work work --report
  biomedjourney register --work work --size 256 --check-views --calibrate
  biomedjourney register --work work --scheduler tcp://10.0.0.5:8786
  biomedjourney register --prior first.jpg --new later.png --out out.png"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--work", default="work", help="working folder with journeys.parquet (default: work)")
    parser.add_argument("--prior", help="the earlier of two image files; needs --new and --out")
    parser.add_argument("--new", help="the later of two image files")
    parser.add_argument("--out", help="file for the registered later image (PNG)")
    parser.add_argument("--size", type=int, default=128, help="side of the square images in pixels (default: 128)")
    parser.add_argument(
        "--transform",
        choices=["similarity", "rigid", "affine", "deformable", "none"],
        default="similarity",
        help="none leaves the new image in place, to measure what registration gains (default: similarity)",
    )
    parser.add_argument("--toolkit", choices=["simpleitk", "elastix"], default="simpleitk", help="default: simpleitk")
    parser.add_argument(
        "--accept-erased-disease",
        action="store_true",
        help="allow --transform deformable, which undoes 56-98 %% of a heart's widening and up to 91 %% of an effusion",
    )
    parser.add_argument("--min-score", type=float, help="gradient correlation that a pair must reach (default: 0.25)")
    parser.add_argument(
        "--calibrate",
        nargs="?",
        type=float,
        const=5.0,
        metavar="PERCENTILE",
        help="set the threshold at a percentile of these pairs' own scores (without a number: 5)",
    )
    parser.add_argument(
        "--check-views", action="store_true", help="leave out what is not an upright frontal chest film"
    )
    parser.add_argument(
        "--check-mirrored", action="store_true", help="drop pairs that fit better mirrored; takes twice the time"
    )
    parser.add_argument("--report", action="store_true", help="write register_report.html: counts, scores, pairs")
    parser.add_argument("--processes", type=int, default=0, help="default: one for each core")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler, to use its workers instead")


def run(arguments: argparse.Namespace) -> None:
    """Register the working folder's pairs, or two files."""
    from biomedjourney_monai.errors import ConfigError

    settings = pick(arguments, "size transform toolkit accept_erased_disease min_score check_views check_mirrored")
    given = [name for name in ("prior", "new", "out") if getattr(arguments, name)]
    if not given:
        _register_work(arguments, settings)
    elif len(given) < 3:
        raise ConfigError("--prior, --new and --out go together", found=f"only --{' and --'.join(given)}")
    elif arguments.calibrate is not None:
        raise ConfigError(
            "--calibrate needs the pairs of a working folder", found="two files", action="Use --min-score"
        )
    else:
        _register_files(arguments, settings)


def _register_files(arguments: argparse.Namespace, settings: dict[str, Any]) -> None:
    from biomedjourney_monai.preparation.registration.run import register_files

    result, reason = register_files(arguments.prior, arguments.new, arguments.out, **settings)
    print(
        f"gradient correlation {result.gradient_correlation:.3f}, scale {result.scale:.3f}, "
        f"rotation {result.rotation_degrees:.1f} degrees, shift {result.shift_x_px:.1f}, {result.shift_y_px:.1f} px, "
        f"overlap {result.overlap:.2f} -> {arguments.out}"
    )
    print(f"would be dropped: {reason}" if reason else "would be kept")


def _register_work(arguments: argparse.Namespace, settings: dict[str, Any]) -> None:
    from biomedjourney_monai.preparation.registration.run import register_pairs, require_pairs
    from biomedjourney_monai.preparation.rejections import list_reasons
    from biomedjourney_monai.schema import PAIRS_FILE

    registered = register_pairs(arguments.work, **settings, **pick(arguments, "calibrate report processes scheduler"))
    counts = registered.counts
    print(
        f"images: {registered.images_done:,} done, {registered.images_reused:,} found done, "
        f"{counts['images_unreadable']:,} left out; "
        f"registrations: {registered.pairs_done:,} done, {registered.pairs_reused:,} found done"
    )
    if registered.report:
        print(f"report -> {registered.report}")
    require_pairs(registered)
    print(f"threshold {counts['min_score']:.3f}{' (calibrated)' if arguments.calibrate is not None else ''}")
    dropped = list_reasons(counts["dropped"])
    print(f"{counts['kept']:,} pairs kept, dropped: {dropped} -> {Path(arguments.work) / PAIRS_FILE}")
    if counts["unreadable_between_two_readable"]:
        print(
            f"note: {counts['unreadable_between_two_readable']:,} images that cannot be used stand between two that "
            "can; `cohort --check-views` leaves such images out before studies are paired, and so joins the neighbours"
        )
