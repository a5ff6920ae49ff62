"""Show one patient at several stages (rungs) of a disease, from one prior and one seed.

The rungs are the severities of one finding, or your own descriptions in their order. The output is a strip, an
animation, a NIfTI series, and the judge's scores of every rung, as JSON and below each picture. All rungs start from
the same noise, so that they differ by their descriptions alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.cli.arguments import (
    add_control_arguments,
    add_export_arguments,
    add_sampling_arguments,
    counterfactual_model,
    read_pseudonyms,
    warn,
)
from biomedjourney_monai.errors import BiomedJourneyError

if TYPE_CHECKING:
    import numpy as np

EXAMPLE = """biomedjourney ladder --prior chest.jpg --finding "left pleural effusion" --out ladder
  biomedjourney ladder --prior chest.jpg --descriptions "New mild edema." "Edema has resolved." --out ladder"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--prior", metavar="IMAGE", required=True, help="prior radiograph")
    rungs = parser.add_mutually_exclusive_group(required=True)
    rungs.add_argument("--finding", metavar="TEXT", help="its severities are the rungs, e.g. left pneumothorax")
    rungs.add_argument("--descriptions", metavar="TEXT", nargs="+", help="one for each rung")
    rungs.add_argument("--descriptions-file", metavar="FILE", help="a text file with one description in each line")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write")
    parser.add_argument("--dicom", action="store_true", help="also write the rungs as a DICOM series, to DIR/dicom")
    add_export_arguments(parser)
    add_control_arguments(parser)
    add_sampling_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    a = arguments
    if a.export and not a.dicom:
        raise BiomedJourneyError("--export writes DICOM", found="no --dicom", action="Pass --dicom too")
    model = counterfactual_model(a)
    from biomedjourney_monai.generation import ladder as ladders
    from biomedjourney_monai.generation.writer import PictureWriter
    from biomedjourney_monai.output_check import refuse_inputs, refuse_unwritable

    inputs = {"the prior": a.prior, "the mask": a.region, "the file of descriptions": a.descriptions_file}
    refuse_inputs(ladders.output_names(a.out), inputs)
    refuse_unwritable(a.out, folder=True)
    descriptions = rungs_of(a)
    rungs = ladders.check_ladder(model, a.prior, descriptions, seed=a.seed, region=a.region, force=a.force)
    for warning in (warning for rung in rungs for warning in rung.warnings):
        warn(warning)
    for line in (rung.understood for rung in rungs if rung.understood):
        print(line)
    writer = PictureWriter(rungs[0].prior, read_pseudonyms(a)) if a.dicom else None
    if writer is not None:
        for text in descriptions:
            writer.check("rung.dcm", text)
    score, judges = scorer_of(model.config.models, rungs[0].prior.image)
    ladder = ladders.make_ladder(model, rungs, score=score)
    out = Path(a.out)
    for warning in ladder.warnings:
        warn(warning)
    ladders.save_ladder(out, ladder, judges=judges, writer=writer)
    print("\n".join(ladders.ladder_lines(ladder)))
    print(f"wrote strip.png, ladder.gif, {ladders.SERIES_NAME} and ladder.json to {out}")
    if writer is not None:
        print(f"wrote a DICOM series of {len(descriptions)} to {out / 'dicom'}")


def scorer_of(models: Path, prior: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]:
    """The findings' probabilities of images (N, S, S) by the judges that know this prior, and the judges' provenance.

    Without such judges the probabilities are NaN, and a warning says so; also for findings that they do not know.
    """
    import numpy as np
    import torch

    from biomedjourney_monai.evaluation.judges.domain import judge_for
    from biomedjourney_monai.evaluation.judges.loading import load_judges_by_name
    from biomedjourney_monai.evaluation.judges.trusted import shown_pathology
    from biomedjourney_monai.schema import FINDINGS

    judges = judge_for(load_judges_by_name(models), prior)
    if judges is None:
        warn("no judges were trained on films like this prior: the rungs are not scored")
        return lambda squares: np.full((len(squares), len(FINDINGS)), np.nan), {}
    return lambda squares: shown_pathology(judges, torch.from_numpy(squares)[:, None]), judges.provenance()


def rungs_of(arguments: argparse.Namespace) -> list[str]:
    """The descriptions of the rungs.

    Raises:
        BiomedJourneyError: if there are none.
    """
    if arguments.finding is not None:
        from biomedjourney_monai.generation.ladder import severity_ladder

        return severity_ladder(arguments.finding)
    lines = arguments.descriptions
    if arguments.descriptions_file is not None:
        try:
            lines = Path(arguments.descriptions_file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BiomedJourneyError("a file of descriptions must be readable", found=type(error).__name__) from error
    descriptions = [line.strip() for line in lines if line.strip()]
    if not descriptions:
        raise BiomedJourneyError("a ladder needs descriptions", found="none")
    return descriptions
