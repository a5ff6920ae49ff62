"""Show one patient at several rungs of a disease, from one prior at one seed.

The rungs are the severities of one finding, or descriptions of your own in their order. Written are a strip, an
animation, a NIfTI series and, as JSON and below each picture, what the judge says of every rung. All rungs start from
the same noise, so that they differ by their descriptions alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.cli.counterfactual_maker import CounterfactualMaker, Prior
from biomedjourney_monai.cli.picture_writer import PictureWriter, add_export_arguments, read_pseudonyms
from biomedjourney_monai.cli.sampling_arguments import add_control_arguments, add_sampling_arguments
from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.generation.provenance import region_name
from biomedjourney_monai.schema import FINDINGS, SEVERITY_WORDS

if TYPE_CHECKING:
    import numpy as np

EXAMPLE = (
    'biomedjourney ladder --prior chest.jpg --finding "left pleural effusion" --out ladder\n'
    '  biomedjourney ladder --prior chest.jpg --descriptions "New mild edema." "Edema has resolved." --out ladder'
)

SERIES_NAME = "ladder.nii.gz"
DICOM_FOLDER = "dicom"


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
    import torch

    from biomedjourney_monai.preparation.reports.statements import read_statements

    descriptions = rungs_of(arguments)
    maker = CounterfactualMaker(arguments)
    prior = maker.read_prior(arguments.prior)
    writer = dicom_writer(arguments, descriptions)
    region = maker.read_region(prior)
    overruled = {maker.check_description(text) for text in descriptions}
    images = [prior.image] + [_make(maker, prior, text, region) for text in descriptions]
    judges = maker.judges()
    scores = judges.score(torch.tensor(_stack(images))[:, None]).pathology.numpy()
    named = [finding for finding in FINDINGS if any(finding in read_statements(text) for text in descriptions)]
    facts = maker.metadata(prior, "several, in order of the rungs", arguments.seed, *sorted(overruled))
    if region is not None:
        facts["region"] = region_name(region)
    out = Path(arguments.out)
    marked = _write(out, prior, images, descriptions, scores, named, facts, judges.provenance())
    if writer is not None:
        write_dicom_series(out / DICOM_FOLDER, marked, descriptions, facts, writer)


def rungs_of(arguments: argparse.Namespace) -> list[str]:
    """The descriptions of the rungs.

    Raises:
        BiomedJourneyError: if there is none.
    """
    if arguments.finding is not None:
        return severity_ladder(arguments.finding)
    if arguments.descriptions_file is not None:
        try:
            lines = Path(arguments.descriptions_file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BiomedJourneyError("a file of descriptions must be readable", found=type(error).__name__) from error
    else:
        lines = arguments.descriptions
    descriptions = [line.strip() for line in lines if line.strip()]
    if not descriptions:
        raise BiomedJourneyError("a ladder needs descriptions", found="none")
    return descriptions


def severity_ladder(finding: str) -> list[str]:
    """Three descriptions of rising severity.

    Example:
        >>> severity_ladder("left pleural effusion")[0]
        'New small left pleural effusion.'

    Raises:
        BiomedJourneyError: if the text names none of the findings, or more than one.
    """
    from biomedjourney_monai.preparation.reports.statements import read_statements

    named = [label for label in read_statements(finding) if label in FINDINGS]
    if len(named) != 1:
        raise BiomedJourneyError(
            f"--finding must name one of {', '.join(FINDINGS)}, with its side",
            found=f"{len(named)} of them",
            action="For anything else pass --descriptions",
        )
    words = finding.strip().rstrip(".")
    return [f"New {severity} {words}." for severity in SEVERITY_WORDS[named[0]]]


def _make(maker: CounterfactualMaker, prior: Prior, text: str, region: Any) -> np.ndarray:
    return maker.make([prior], [text], [maker.arguments.seed], region=region).images[0, 0].cpu().numpy()


def _stack(images: list[np.ndarray]) -> np.ndarray:
    import numpy as np

    return np.stack(images)


def _write(
    out: Path,
    prior: Prior,
    images: list[np.ndarray],
    descriptions: list[str],
    scores: np.ndarray,
    named: list[str],
    facts: dict[str, Any],
    judges: dict[str, object],
) -> list[np.ndarray]:
    from biomedjourney_monai.files import write_json
    from biomedjourney_monai.radiographs import restore, save_png
    from biomedjourney_monai.radiographs.pictures.strips import Frame, draw_strip, save_gif

    frames = []
    for number, (image, score) in enumerate(zip(images, scores)):
        said = [f"{finding} {score[FINDINGS.index(finding)]:.2f}" for finding in named]
        words = "prior image" if number == 0 else descriptions[number - 1]
        picture = restore(image, prior.original_hw)
        frames.append(Frame(picture, (words, *said), is_synthetic=number > 0))
    save_png(out / "strip.png", draw_strip(frames), metadata=facts)
    save_gif(out / "ladder.gif", frames, metadata=facts)
    marked = [frame.marked() for frame in frames[1:]]
    write_series(out / SERIES_NAME, marked)
    rungs = [
        {"description": text, "scores": {finding: round(float(p), 4) for finding, p in zip(FINDINGS, score)}}
        for text, score in zip(["", *descriptions], scores)
    ]
    write_json(out / "ladder.json", {**facts, "judges": judges, "prior_scores": rungs[0]["scores"], "rungs": rungs[1:]})
    for text, score in zip(["(prior)", *descriptions], scores):
        print("  ".join(f"{finding} {score[FINDINGS.index(finding)]:.2f}" for finding in named) + f"  {text}")
    print(f"wrote strip.png, ladder.gif, {SERIES_NAME} and ladder.json to {out}")
    return marked


def write_series(path: Path, images: list[np.ndarray]) -> None:
    """Write marked images as a series, in the format that the file's suffix names."""
    from biomedjourney_monai.radiographs.write.nifti_series import SUFFIXES, save_nifti_series

    if path.name.endswith(SUFFIXES):
        save_nifti_series(path, images)
    else:
        raise BiomedJourneyError("a series must be NIfTI", found=path.suffix or "no suffix")


def dicom_writer(arguments: argparse.Namespace, descriptions: list[str]) -> PictureWriter | None:
    """What writes the DICOM series, if one is asked for.

    Raises:
        BiomedJourneyError: if it is not to be exported.
    """
    if not arguments.dicom:
        if arguments.export:
            raise BiomedJourneyError("--export writes DICOM", found="no --dicom", action="Pass --dicom too")
        return None
    writer = PictureWriter(arguments.prior, read_pseudonyms(arguments))
    for text in descriptions:
        writer.check("rung.dcm", text)
    return writer


def write_dicom_series(
    folder: Path, images: list[np.ndarray], descriptions: list[str], facts: dict[str, Any], writer: PictureWriter
) -> None:
    """Write marked images as one DICOM series, a file for each rung; files of an earlier ladder are removed."""
    series = {**facts, "rungs": descriptions}
    names = [f"{number:02d}.dcm" for number in range(1, len(images) + 1)]
    for number, (name, image, text) in enumerate(zip(names, images, descriptions), start=1):
        rung = {**facts, "progression_description": text}
        writer.write(folder / name, image, rung, number=number, series_facts=series)
    for path in folder.glob("[0-9][0-9].dcm"):
        if path.name not in names:
            path.unlink()
    print(f"wrote a DICOM series of {len(images)} to {folder}")
