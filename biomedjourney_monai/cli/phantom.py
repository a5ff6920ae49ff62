"""Render a cohort of patients with a known truth: radiographs, reports and tables in the layout of MIMIC-CXR-JPG and
MIMIC-IV, untidy as an archive is. planted.csv lists every planted fault. The same seed gives the same files; a second
run goes on where the first stopped. With --sheet alone, only a contact sheet is drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.schema import SPLITS

EXAMPLE = "biomedjourney phantom --out phantom --patients 100 --seed 7 --truth"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--out", metavar="DIR", help="a new folder for the cohort")
    parser.add_argument("--patients", type=int, default=100, metavar="N", help="how many patients (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="of everything (default 0)")
    parser.add_argument("--size", type=int, default=256, metavar="PX", help="rows and columns (default 256)")
    parser.add_argument(
        "--truth",
        nargs="*",
        choices=SPLITS,
        metavar="SPLIT",
        help="also write the true counterfactuals of the patients of these splits (without a name: of test)",
    )
    parser.add_argument("--sheet", metavar="FILE", help="draw a contact sheet, eight patients by findings; PNG or JPEG")
    parser.add_argument("--format", choices=("jpg", "dicom"), default="jpg", help="of the images (default jpg)")
    parser.add_argument("--tables-only", action="store_true", help="write the tables alone, without images and reports")
    parser.add_argument("--images", type=int, metavar="N", help="with --tables-only: how many images to list")
    parser.add_argument("--processes", type=int, metavar="N", help="how many work at once (default: all cores)")


def run(arguments: argparse.Namespace) -> int:
    """Write the cohort, the contact sheet, or both."""
    if not arguments.out and not arguments.sheet:
        raise ConfigError("phantom needs --out or --sheet", found="neither", action=f"Try: {EXAMPLE}")
    if arguments.sheet:
        _draw_sheet(Path(arguments.sheet), seed=arguments.seed, size=arguments.size)
    if arguments.images is not None and not arguments.tables_only:
        raise ConfigError("--images goes with --tables-only", action="Set the size of a cohort with --patients")
    if arguments.out and arguments.tables_only:
        _write_tables(arguments)
    elif arguments.out:
        from biomedjourney_monai.phantom.cohort import write_cohort

        summary = write_cohort(
            arguments.out,
            patients=arguments.patients,
            seed=arguments.seed,
            size=arguments.size,
            processes=arguments.processes,
            truth=() if arguments.truth is None else arguments.truth or ("test",),
            image_format=arguments.format,
        )
        print(
            f"{summary.patients} patients, {summary.studies} studies, {summary.images} images; "
            f"{summary.planted} planted faults, {summary.counterfactuals} true counterfactuals -> {arguments.out}"
        )
    return 0


def _write_tables(arguments: argparse.Namespace) -> None:
    from biomedjourney_monai.phantom.tables_only import MIMIC_IMAGES, write_tables_only

    images = MIMIC_IMAGES if arguments.images is None else arguments.images
    summary = write_tables_only(
        arguments.out, images=images, seed=arguments.seed, size=arguments.size, processes=arguments.processes
    )
    print(
        f"tables of {summary.patients} patients, {summary.studies} studies, {summary.images} images -> {arguments.out}"
    )


def _draw_sheet(path: Path, *, seed: int, size: int) -> None:
    import cv2

    from biomedjourney_monai.files import written_atomically
    from biomedjourney_monai.phantom.sheet import contact_sheet

    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ConfigError("--sheet must name a PNG or JPEG file", found=path.suffix or "no suffix")
    with written_atomically(path) as temporary:
        cv2.imwrite(str(temporary), contact_sheet(8, seed, size), [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(f"contact sheet -> {path}")
