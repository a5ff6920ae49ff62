"""Align each new image to its prior image and score the result.

Two uses. In a working folder (--work) every study becomes an image of one size and every journey a registered pair;
pairs below the score or outside sane limits are marked as dropped, with the reason. With --prior, --new and --out two
image files are registered, whatever their format and size.

Transforms are similarity, rigid or affine. A deformable one removes the very changes of disease that a model is to
learn, and is refused unless --accept-erased-disease is given.

A run that was stopped, however it was stopped, goes on where it was; a changed setting redoes only what depends on it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """biomedjourney register --work work --report
  biomedjourney register --work work --size 256 --check-views --calibrate
  biomedjourney register --work work --scheduler tcp://10.0.0.5:8786
  biomedjourney register --prior first.jpg --new later.png --out out.png"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work", default="work", help="working folder with journeys.parquet (default: work)")
    parser.add_argument("--prior", help="the earlier of two image files; needs --new and --out")
    parser.add_argument("--new", help="the later of two image files")
    parser.add_argument("--out", help="where the registered later image goes (PNG)")
    parser.add_argument("--size", type=int, default=128, help="side of the square images in pixels (default: 128)")
    parser.add_argument(
        "--transform",
        choices=["similarity", "rigid", "affine", "deformable", "none"],
        default="similarity",
        help="none leaves the new image where it is, to study what registration is worth (default: similarity)",
    )
    parser.add_argument("--toolkit", choices=["simpleitk", "elastix"], default="simpleitk", help="default: simpleitk")
    parser.add_argument(
        "--accept-erased-disease",
        action="store_true",
        help="allow --transform deformable, which undoes 56-98 %% of a heart's widening and up to 91 %% of an effusion",
    )
    parser.add_argument(
        "--min-score", type=float, default=None, help="gradient correlation that a pair must reach (default: 0.25)"
    )
    parser.add_argument(
        "--calibrate",
        nargs="?",
        type=float,
        const=5.0,
        metavar="PERCENTILE",
        help="set the threshold at a percentile of these pairs' own scores (default: 5)",
    )
    parser.add_argument("--check-views", action="store_true", help="leave out what is no upright frontal chest")
    parser.add_argument(
        "--check-mirrored", action="store_true", help="drop pairs that fit better mirrored; takes twice the time"
    )
    parser.add_argument("--report", action="store_true", help="write register_report.html: counts, scores, pairs")
    parser.add_argument("--processes", type=int, default=0, help="default: one for each core")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler, to use its workers instead")


def run(args: argparse.Namespace) -> None:
    from biomedjourney_monai.errors import ConfigError

    if not 32 <= args.size <= 2048:
        raise ConfigError("--size must be in [32, 2048]", found=str(args.size))
    _check_threshold(args)
    if args.processes < 0:
        raise ConfigError("--processes must be >= 1, or 0 for one per core", found=str(args.processes))
    if args.transform == "deformable":
        from biomedjourney_monai.preparation.registration.register import check_deformable

        check_deformable(args.toolkit, accepted=args.accept_erased_disease)
    given = [name for name in ("prior", "new", "out") if getattr(args, name)]
    if not given:
        _register_work(args)
    elif len(given) == 3:
        _register_files(args)
    else:
        raise ConfigError("--prior, --new and --out go together", found=f"only --{' and --'.join(given)}")


def _check_threshold(args: argparse.Namespace) -> None:
    from biomedjourney_monai.errors import ConfigError

    if args.min_score is not None and args.calibrate is not None:
        raise ConfigError("--min-score and --calibrate both set the threshold", action="Pass one of them")
    if args.min_score is not None and not -1 <= args.min_score <= 1:
        raise ConfigError("--min-score must be in [-1, 1]", found=str(args.min_score))
    if args.calibrate is not None and not 0 <= args.calibrate <= 50:
        raise ConfigError("--calibrate must be a percentile in [0, 50]", found=str(args.calibrate))


def _recipe(args: argparse.Namespace):
    from biomedjourney_monai.preparation.registration.recipe import PairRegistrar, StudyLoader

    registrar = PairRegistrar(
        transform=args.transform,
        toolkit=args.toolkit,
        check_mirrored=args.check_mirrored,
        accept_erased_disease=args.accept_erased_disease,
    )
    return StudyLoader(size=args.size, check_views=args.check_views), registrar


def _register_files(args: argparse.Namespace) -> None:
    from biomedjourney_monai.preparation.registration.register import MIN_SCORE, rejection
    from biomedjourney_monai.radiographs import save_png

    load, register = _recipe(args)
    (prior, prior_content), (new, new_content) = load(args.prior), load(args.new)
    result = register(prior, new, prior_content, new_content)
    save_png(args.out, result.image)
    reason = rejection(result, min_score=MIN_SCORE if args.min_score is None else args.min_score)
    print(
        f"gradient correlation {result.gradient_correlation:.3f}, scale {result.scale:.3f}, "
        f"rotation {result.rotation_degrees:.1f} degrees, shift {result.shift_x_px:.1f}, {result.shift_y_px:.1f} px, "
        f"overlap {result.overlap:.2f} -> {args.out}"
    )
    print(f"would be dropped: {reason}" if reason else "would be kept")


def _register_work(args: argparse.Namespace) -> None:
    from biomedjourney_monai.preparation.parallel import available_cores
    from biomedjourney_monai.preparation.registration.register import MIN_SCORE
    from biomedjourney_monai.preparation.registration.run import register_all, require_pairs
    from biomedjourney_monai.schema import PAIRS_FILE

    work = Path(args.work)
    finished = register_all(
        work,
        *_recipe(args),
        min_score=MIN_SCORE if args.min_score is None else args.min_score,
        calibrate=args.calibrate,
        processes=args.processes or available_cores(),
        scheduler=args.scheduler,
    )
    counts, images, pairs = finished.counts, finished.images, finished.registrations
    print(
        f"images: {images.done:,} done, {images.reused:,} found done, {counts['images_unreadable']:,} left out; "
        f"registrations: {pairs.done:,} done, {pairs.reused:,} found done"
    )
    listed = ", ".join(f"{reason} {count:,}" for reason, count in counts["dropped"].items()) or "none"
    if args.report:
        from biomedjourney_monai.preparation.quality.page import write_quality_page

        print(f"report -> {write_quality_page(work, finished.pairs, counts)}")
    require_pairs(finished)
    print(f"threshold {counts['min_score']:.3f}{' (calibrated)' if args.calibrate is not None else ''}")
    print(f"{counts['kept']:,} pairs kept, dropped: {listed} -> {work / PAIRS_FILE}")
    if counts["unreadable_between_two_readable"]:
        print(
            f"note: {counts['unreadable_between_two_readable']:,} images that cannot be used stand between two that "
            "can; `cohort --check-views` leaves such images out before studies are paired, and so joins the neighbours"
        )
