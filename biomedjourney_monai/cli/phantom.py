"""Render a cohort of patients with a known truth: radiographs, reports and tables in the layout of MIMIC-CXR-JPG and
MIMIC-IV, with the errors of a real archive. planted.csv lists every planted error. The same seed gives the same files;
a stopped run resumes. With --sheet alone, only a contact sheet is drawn. With --onto, findings are rendered on the
films of a working folder instead, which makes a new working folder of journeys with a known truth.
"""

import argparse
from pathlib import Path

from biomedjourney_monai.cli.arguments import pick
from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.schema import SPLITS

EXAMPLE = "biomedjourney phantom --out phantom --patients 100 --seed 7 --truth"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--out", metavar="DIR", help="a new folder for the cohort")
    parser.add_argument("--patients", type=int, default=100, metavar="N", help="number of patients (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="of everything (default 0)")
    parser.add_argument("--size", type=int, metavar="PX", help="rows and columns (default 256; 128 with --onto)")
    parser.add_argument(
        "--truth",
        nargs="*",
        choices=SPLITS,
        metavar="SPLIT",
        help="also write the true counterfactuals of the patients of these splits (without a name: of test)",
    )
    parser.add_argument("--sheet", metavar="FILE", help="draw a contact sheet, eight patients by findings; PNG or JPEG")
    parser.add_argument("--format", choices=("jpg", "dicom"), default="jpg", help="of the images (default jpg)")
    parser.add_argument("--tables-only", action="store_true", help="write only the tables, without images and reports")
    parser.add_argument("--images", type=int, metavar="N", help="with --tables-only: number of images to list")
    parser.add_argument("--onto", metavar="WORK", help="render findings on the films of this working folder")
    parser.add_argument("--films", type=int, metavar="N", help="with --onto: films to use (default: all)")
    parser.add_argument("--cases", type=int, default=3, metavar="N", help="with --onto: journeys per film (default 3)")
    parser.add_argument("--judge-weights", metavar="DIR", help="with --onto: folder of lung_outlines.pt")
    parser.add_argument("--processes", type=int, metavar="N", help="that work at once (default: all cores)")


def run(arguments: argparse.Namespace) -> None:
    """Write the contact sheet, the cohort, or both."""
    if arguments.onto:
        return _run_onto(arguments)
    if not arguments.out and not arguments.sheet:
        raise ConfigError("phantom needs --out or --sheet", found="neither", action=f"Try: {EXAMPLE}")
    size = arguments.size or 256
    if arguments.sheet:
        from biomedjourney_monai.phantom.sheet import write_contact_sheet

        write_contact_sheet(arguments.sheet, seed=arguments.seed, size=size)
        print(f"contact sheet -> {Path(arguments.sheet)}")
    if arguments.images is not None and not arguments.tables_only:
        raise ConfigError("--images needs --tables-only", action="Set the size of a cohort with --patients")
    options = {"seed": arguments.seed, "size": size, "processes": arguments.processes}
    if arguments.out and arguments.tables_only:
        from biomedjourney_monai.phantom.cohort import MIMIC_IMAGES, write_tables_only

        images = MIMIC_IMAGES if arguments.images is None else arguments.images
        written = write_tables_only(arguments.out, images=images, **options)
        sizes = f"{written.patients} patients, {written.studies} studies, {written.images} images"
        print(f"tables of {sizes} -> {arguments.out}")
    elif arguments.out:
        from biomedjourney_monai.phantom.cohort import write_phantom_cohort

        truth = () if arguments.truth is None else arguments.truth or ("test",)
        options |= {"patients": arguments.patients, "truth": truth, "image_format": arguments.format}
        written = write_phantom_cohort(arguments.out, **options)
        print(
            f"{written.patients} patients, {written.studies} studies, {written.images} images; "
            f"{written.planted} planted faults, {written.counterfactuals} true counterfactuals -> {arguments.out}"
        )


def _run_onto(arguments: argparse.Namespace) -> None:
    if not arguments.out:
        raise ConfigError("--onto needs --out, a new working folder", found="none")
    from biomedjourney_monai.training.data.onto_films import write_onto

    written = write_onto(
        arguments.onto,
        arguments.out,
        size=arguments.size or 128,
        weights=arguments.judge_weights,
        **pick(arguments, "films cases seed processes"),
    )
    for reason, count in written.left_out.items():
        print(f"left out: {count} films, {reason}")
    print(f"{written.films} films, {written.journeys} journeys -> {written.folder}")
