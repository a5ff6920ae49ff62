"""Make counterfactual radiographs.

Of one image (JPEG, PNG, NIfTI or DICOM, any size) with a description of your own, of a list of such requests in a CSV
file, or of every test journey of a working folder. Every picture is marked as synthetic, in its pixels and in its
metadata. A prior that is lateral, mirrored, inverted, turned or no chest, and a description that is too long, are
refused; --force overrules, and the metadata say so. An interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse

from biomedjourney_monai.cli.picture_writer import add_export_arguments
from biomedjourney_monai.cli.sampling_arguments import (
    add_control_arguments,
    add_sampling_arguments,
    check_sampling_arguments,
    require_at_least_one,
)
from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.schema import SPLITS

EXAMPLE = (
    'biomedjourney sample --prior chest.jpg --description "New large left pleural effusion." --out counterfactual.png\n'
    '  biomedjourney sample --prior chest.dcm --description "New mild cardiomegaly." --out counterfactual.dcm\n'
    '  biomedjourney sample --prior chest.jpg --description "The left pneumothorax has resolved." --out better.png'
    " --region auto --samples 8\n"
    "  biomedjourney sample --csv requests.csv\n"
    "  biomedjourney sample --work work --split test\n"
    "  biomedjourney sample --work work --system text-only --text-only\n"
    "  biomedjourney sample --work work --system instruct-pix2pix --model ip2p.pt --overlay bundle/configs/sd15.yaml"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    one = parser.add_argument_group("one image")
    one.add_argument("--prior", metavar="IMAGE", help="prior radiograph")
    one.add_argument("--description", metavar="TEXT", help="how the disease goes on")
    one.add_argument("--out", metavar="FILE", help="PNG or DICOM (.dcm) to write, at the prior's own size")
    one.add_argument(
        "--samples",
        type=int,
        metavar="K",
        help="draw K samples with the seeds from --seed on; beside each other, their mean, their standard deviation and"
        " what the judges say of them",
    )
    batch = parser.add_argument_group("a list of requests")
    batch.add_argument(
        "--csv",
        metavar="FILE",
        help="with the columns prior, description and out, and seed and region if you like; paths from its folder",
    )
    many = parser.add_argument_group("all journeys of a working folder")
    many.add_argument("--work", metavar="DIR", help="working folder")
    many.add_argument("--split", choices=SPLITS, default="test", help="journeys to sample (default: test)")
    many.add_argument("--limit", type=int, metavar="N", help="only the first N journeys")
    many.add_argument(
        "--system",
        metavar="NAME",
        help="write to baselines/NAME/ instead of samples/, for `evaluate` to score beside the model; any letters,"
        " digits and - _ .",
    )
    many.add_argument(
        "--text-only",
        action="store_true",
        help="with --system: give no prior image but the constant grey of stage 1, and the new report's impression as"
        " the text, as a model from text to image works; nothing of a prior is kept (--keep-unchanged 0)",
    )
    many.add_argument("--batch-size", type=int, default=16, help="images at once (default: 16)")
    add_export_arguments(parser)
    add_control_arguments(parser)
    add_sampling_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    given = [name for name in ("prior", "csv", "work") if getattr(arguments, name) is not None]
    if len(given) != 1:
        raise BiomedJourneyError(
            "sample takes one image or one working folder, or one list of requests",
            found=" and ".join(f"--{name}" for name in given) or "none of them",
            action="Pass --prior IMAGE --description TEXT --out FILE, or --work DIR, or --csv FILE",
        )
    check_sampling_arguments(arguments)
    require_at_least_one(arguments, "batch_size", "limit", "samples")
    if given != ["prior"] and (arguments.samples or arguments.out or arguments.description):
        raise BiomedJourneyError(
            "--samples, --out and --description go with one image", found=f"--{given[0]}", action="Pass --prior IMAGE"
        )
    if given != ["work"] and (arguments.system is not None or arguments.text_only):
        raise BiomedJourneyError("--system and --text-only go with --work", found=f"--{given[0]}")
    if arguments.text_only and arguments.system is None:
        raise BiomedJourneyError(
            "--text-only makes a baseline, not the model's samples",
            found="no --system",
            action="Add --system text-only",
        )
    if arguments.text_only:
        _keep_nothing(arguments)
    if given == ["work"] and arguments.export:
        raise BiomedJourneyError("--export goes with --prior or --csv", found="--work")
    if given == ["prior"]:
        from biomedjourney_monai.cli.sample_one import sample_one

        sample_one(arguments)
    elif given == ["csv"]:
        from biomedjourney_monai.cli.sample_list import sample_list

        sample_list(arguments)
    else:
        from biomedjourney_monai.cli.sample_journeys import sample_journeys

        sample_journeys(arguments)


def _keep_nothing(arguments: argparse.Namespace) -> None:
    """Switch `keep_unchanged` off: it would put the grey of stage 1 into the picture."""
    if arguments.keep_unchanged:
        raise BiomedJourneyError(
            "--text-only has no prior whose pixels could be kept",
            found=f"--keep-unchanged {arguments.keep_unchanged:g}",
            action="Leave --keep-unchanged out",
        )
    arguments.keep_unchanged = 0.0
