"""Make counterfactual radiographs.

The input is one image (JPEG, PNG, NIfTI or DICOM, any size) with your own description, a list of such requests in a CSV
file, or all test journeys of a working folder. Every picture is marked as synthetic in its pixels and metadata. A prior
that is lateral, mirrored, inverted, rotated or not a chest, and a description that is too long, are refused; --force
overrules, and the metadata record it. An interrupted run resumes where it stopped.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from biomedjourney_monai.cli.arguments import (
    add_control_arguments,
    add_export_arguments,
    add_sampling_arguments,
    counterfactual_model,
    pick,
    read_pseudonyms,
    require_at_least_one,
    sampling_settings,
    warn,
)
from biomedjourney_monai.cli.fast_import import import_monai_quickly
from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.schema import SPLITS

if TYPE_CHECKING:
    from biomedjourney_monai.generation.result import Result

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
    one.add_argument("--description", metavar="TEXT", help="how the disease progresses")
    one.add_argument(
        "--out", metavar="FILE", help="PNG, NIfTI (.nii.gz) or DICOM (.dcm) to write, at the prior's own size"
    )
    one.add_argument(
        "--samples",
        type=int,
        metavar="K",
        help="draw K samples with consecutive seeds from --seed on; also writes mean, standard deviation and judges'"
        " scores",
    )
    batch = parser.add_argument_group("a list of requests")
    columns = "with the columns prior, description and out, and optionally seed and region; paths are relative to it"
    batch.add_argument("--csv", metavar="FILE", help=columns)
    batch.add_argument("--anywhere", action="store_true", help="allow rows to write outside the list's folder")
    many = parser.add_argument_group("all journeys of a working folder")
    many.add_argument("--work", metavar="DIR", help="working folder")
    many.add_argument("--split", choices=SPLITS, default="test", help="journeys to sample (default: test)")
    many.add_argument("--limit", type=int, metavar="N", help="only the first N journeys")
    many.add_argument(
        "--system",
        metavar="NAME",
        help="write to baselines/NAME/ instead of samples/, for `evaluate` to score with the model; letters, digits"
        " and - _ .",
    )
    many.add_argument(
        "--text-only",
        action="store_true",
        help="with --system: use the constant grey of stage 1 as the prior, and the new report's impression as the"
        " text, as in a text-to-image model; no pixels of a prior are kept (--keep-unchanged 0)",
    )
    many.add_argument(
        "--prompt-prefix",
        metavar="TEXT",
        default="",
        help='with --text-only: words before each text; the paper gave Stable Diffusion "a photo of chest x-ray"',
    )
    many.add_argument("--batch-size", type=int, default=16, help="images in one batch (default: 16)")
    add_export_arguments(parser)
    add_control_arguments(parser)
    add_sampling_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    given = [name for name in ("prior", "csv", "work") if getattr(arguments, name) is not None]
    _check_combination(arguments, given)
    sampling_settings(arguments)
    require_at_least_one(arguments, "batch_size", "limit", "samples")
    {"prior": _sample_one, "csv": _sample_list, "work": _sample_journeys}[given[0]](arguments)


def _check_combination(arguments: argparse.Namespace, given: list[str]) -> None:
    """Refuse arguments that do not belong together."""
    if len(given) != 1:
        raise BiomedJourneyError(
            "sample takes one image, one working folder or one list of requests",
            found=" and ".join(f"--{name}" for name in given) or "none of them",
            action="Pass --prior IMAGE --description TEXT --out FILE, or --work DIR, or --csv FILE",
        )
    if given != ["prior"] and (arguments.samples or arguments.out or arguments.description):
        raise BiomedJourneyError(
            "--samples, --out and --description go with one image", found=f"--{given[0]}", action="Pass --prior IMAGE"
        )
    if given != ["work"] and (arguments.system is not None or arguments.text_only):
        raise BiomedJourneyError("--system and --text-only go with --work", found=f"--{given[0]}")
    if arguments.text_only and arguments.system is None:
        rule, action = "--text-only makes a baseline, not the model's samples", "Add --system text-only"
        raise BiomedJourneyError(rule, found="no --system", action=action)
    if arguments.prompt_prefix and not arguments.text_only:
        raise BiomedJourneyError("--prompt-prefix goes with --text-only", found="no --text-only")
    if arguments.text_only and arguments.keep_unchanged:
        found = f"--keep-unchanged {arguments.keep_unchanged:g}"
        rule, action = "--text-only has no prior whose pixels could be kept", "Leave --keep-unchanged out"
        raise BiomedJourneyError(rule, found=found, action=action)
    if given != ["csv"] and arguments.anywhere:
        raise BiomedJourneyError("--anywhere goes with --csv", found=f"--{given[0]}")
    if given == ["work"] and arguments.export:
        raise BiomedJourneyError("--export goes with --prior or --csv", found="--work")


def _sample_one(arguments: argparse.Namespace) -> None:
    if arguments.description is None or not arguments.out:
        raise BiomedJourneyError(
            "one image needs a description and a file to write",
            found="--description or --out missing",
            action="Pass --description TEXT --out FILE",
        )
    import_monai_quickly(arguments)
    from biomedjourney_monai.generation.request import Request
    from biomedjourney_monai.generation.sample_files import output_names, save_beside
    from biomedjourney_monai.generation.writer import PictureWriter, check_suffix
    from biomedjourney_monai.output_check import refuse_inputs, refuse_unwritable

    check_suffix(arguments.out)
    files = output_names(arguments.out, samples=arguments.samples or 1, has_region=arguments.region is not None)
    refuse_inputs(files, {"the prior": arguments.prior, "the mask": arguments.region})
    refuse_unwritable(arguments.out)
    pseudonyms = read_pseudonyms(arguments)
    PictureWriter(arguments.prior, pseudonyms).check(arguments.out, arguments.description)
    model = counterfactual_model(arguments)
    settings = {"samples": arguments.samples or 1, **pick(arguments, "seed region force")}
    checked = model.check(Request(arguments.prior, arguments.description, **settings))
    for warning in checked.warnings:
        warn(warning)
    if checked.understood:
        print(checked.understood)
    result = model.run(checked, batch_size=arguments.batch_size, progress=True)
    for warning in result.effect_warnings:
        warn(warning)
    written = result.save(arguments.out, pseudonyms=pseudonyms) + save_beside(arguments.out, result)
    names = [path.name for path in written[1:]] + _save_agreement(arguments, result)
    height, width = result.prior.original_hw
    print(f"wrote {arguments.out} ({width}×{height}, generated at {model.size}×{model.size})")
    if names:
        print(f"beside it: {', '.join(names)}")


def _save_agreement(arguments: argparse.Namespace, result: Result) -> list[str]:
    """Write and print the judges' agreement over several samples."""
    if len(result.squares) == 1:
        return []
    import torch

    from biomedjourney_monai.cli.arguments import model_config
    from biomedjourney_monai.evaluation.judges.domain import judge_for
    from biomedjourney_monai.evaluation.judges.loading import load_judges_by_name
    from biomedjourney_monai.evaluation.judges.trusted import agreement_of, shown_pathology
    from biomedjourney_monai.generation.sample_files import save_agreement

    judges = judge_for(load_judges_by_name(model_config(arguments).models), result.prior.image)
    findings: dict[str, dict[str, float]] = {}
    provenance: dict[str, object] = {}
    if judges is None:
        warn("no judges were trained on films like this prior: the samples' findings are not counted")
    else:
        seen = shown_pathology(judges, torch.from_numpy(result.squares)[:, None])
        findings = {name: row for name, row in agreement_of(seen).items() if name in judges.trusted}
        provenance = judges.provenance()
        print(f"judges: {provenance['name']}")
    file = save_agreement(arguments.out, result, findings=findings, judges=provenance)
    for finding, numbers in findings.items():
        print(f"{finding:18} {numbers['mean']:.2f} ± {numbers['deviation']:.2f}, {numbers['agreement']:.0%} agree")
    return [file.name]


def _sample_list(arguments: argparse.Namespace) -> None:
    model = counterfactual_model(arguments)
    from biomedjourney_monai.generation.outcomes import KEPT, MADE, count_outcomes
    from biomedjourney_monai.generation.request_list import generate_list

    settings = {**pick(arguments, "seed region force anywhere batch_size"), "pseudonyms": read_pseudonyms(arguments)}
    result = generate_list(model, arguments.csv, **settings, warn=warn)
    good, count, refused = count_outcomes(result.outcomes, (MADE, KEPT))
    print(f"{good[MADE]} made, {good[KEPT]} kept, {count} refused" + (f": {refused}" if refused else ""))
    if good[MADE]:
        print(f"{good[MADE] / result.seconds:.2f} images/s")
    if not any(good.values()):
        action = "Look at the results beside the list"
        raise BiomedJourneyError("a row of the list must be usable", found=refused, action=action)
    print(f"wrote {result.file.name} beside the list")


def _sample_journeys(arguments: argparse.Namespace) -> None:
    model = counterfactual_model(arguments, **({"keep_unchanged": 0.0} if arguments.text_only else {}))
    from biomedjourney_monai.generation.journeys import sample_journeys

    names = "split limit system text_only prompt_prefix batch_size seed region"
    sampled = sample_journeys(model, arguments.work, **pick(arguments, names))
    if sampled.truncated:
        warn(f"{sampled.truncated} descriptions were longer than the text encoder's context and were truncated")
    print(f"sampled {sampled.count} counterfactuals; wrote {sampled.folder}")
