"""A severity ladder: one patient at several stages of a disease, from one prior and one seed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.files import write_json
from biomedjourney_monai.generation.detail import NONE
from biomedjourney_monai.generation.finish import full_size, full_size_prior
from biomedjourney_monai.generation.model import CounterfactualModel
from biomedjourney_monai.generation.prior import Prior
from biomedjourney_monai.generation.provenance import document
from biomedjourney_monai.generation.request import Checked, Request
from biomedjourney_monai.generation.writer import PictureWriter
from biomedjourney_monai.preparation.reports.statements import read_statements
from biomedjourney_monai.radiographs import save_png
from biomedjourney_monai.radiographs.pictures.strips import Frame, draw_strip, save_gif
from biomedjourney_monai.radiographs.write.nifti import save_nifti_series
from biomedjourney_monai.schema import FINDINGS, SEVERITY_WORDS

SERIES_NAME = "ladder.nii.gz"
DICOM_NAMES = "[0-9][0-9].dcm"


@dataclass(frozen=True)
class Ladder:
    """The rungs of one ladder.

    Attributes:
        prior: the prior radiograph.
        descriptions: one for each of N rungs.
        squares: prior and rungs at the model's size, float32 in [0, 1], shape (N + 1, S, S).
        scores: the judge's probability of each finding in them, shape (N + 1, 5); NaN where none is known.
        named: the findings that the descriptions name.
        facts: metadata of the whole ladder.
        documents: metadata of each rung.
        warnings: what was found after generation, for the user.
    """

    prior: Prior
    descriptions: tuple[str, ...]
    squares: np.ndarray
    scores: np.ndarray
    named: tuple[str, ...]
    facts: dict[str, Any]
    documents: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...] = ()


def severity_ladder(finding: str) -> list[str]:
    """Three descriptions of rising severity.

    Example:
        >>> severity_ladder("left pleural effusion")[0]
        'New small left pleural effusion.'

    Raises:
        BiomedJourneyError: if the text names none of the findings, or more than one.
    """
    named = [label for label in read_statements(finding) if label in FINDINGS]
    if len(named) != 1:
        raise BiomedJourneyError(
            f"--finding must name one of {', '.join(FINDINGS)}, with its side",
            found=f"{len(named)} of them",
            action="Pass --descriptions for other findings",
        )
    words = finding.strip().rstrip(".")
    return [f"New {severity} {words}." for severity in SEVERITY_WORDS[named[0]]]


def check_ladder(
    model: CounterfactualModel,
    prior: str | Path | np.ndarray,
    descriptions: Sequence[str],
    *,
    seed: int = 0,
    region: str | Path | np.ndarray | None = None,
    force: bool = False,
) -> list[Checked]:
    """Check every rung; see `CounterfactualModel.check`."""
    first = model.check(Request(prior, descriptions[0], seed=seed, region=region, force=force))
    others = [Request(first.prior, text, seed=seed, region=region, force=force) for text in descriptions[1:]]
    return [first, *map(model.check, others)]


def make_ladder(
    model: CounterfactualModel, rungs: Sequence[Checked], *, score: Callable[[np.ndarray], np.ndarray]
) -> Ladder:
    """Generate each rung of `check_ladder` from the same noise, and score it.

    `score` maps images, shape (N, S, S), to the judge's probabilities, shape (N, 5).
    """
    prior, texts = rungs[0].prior, tuple(rung.description for rung in rungs)
    results = [model.run(rung) for rung in rungs]
    squares = np.stack([prior.image, *(result.squares[0] for result in results)])
    named = tuple(finding for finding in FINDINGS if any(finding in read_statements(text) for text in texts))
    codes = rungs[0].overruled[:-1] + tuple(sorted({rung.overruled[-1] for rung in rungs}))
    facts = document(
        model.provenance(),
        description="several, in order of the rungs",
        seed=rungs[0].seeds[0],
        prior=prior.image,
        region=rungs[0].region,
        overruled=codes,
        detail=model.detail if prior.has_film else NONE,
    )
    warnings = tuple(f"rung {n}: {text}" for n, result in enumerate(results, 1) for text in result.effect_warnings)
    documents = tuple(result.documents[0] for result in results)
    return Ladder(prior, texts, squares, score(squares), named, facts, documents, warnings)


def output_names(folder: str | Path) -> list[Path]:
    """The files that a ladder writes to a folder, and those in it that it replaces or removes."""
    names = ("strip.png", "ladder.gif", SERIES_NAME, "ladder.json")
    return [*(Path(folder) / name for name in names), *(Path(folder) / "dicom").glob(DICOM_NAMES)]


def save_ladder(
    folder: str | Path, ladder: Ladder, *, judges: Mapping[str, Any], writer: PictureWriter | None = None
) -> None:
    """Write strip.png, ladder.gif, ladder.nii.gz and ladder.json, and with a writer a DICOM series to `dicom`.

    `judges` is the judge's provenance.
    """
    out, frames, detail = Path(folder), [], str(ladder.facts.get("detail", NONE))
    prior = full_size_prior(ladder.prior, detail=detail)
    for number, (square, score) in enumerate(zip(ladder.squares, ladder.scores, strict=True)):
        words = ladder.descriptions[number - 1] if number else "prior image"
        caption = (words, *_scores_in_words(ladder, score))
        picture = full_size(square, ladder.prior, detail=detail) if number else prior
        frames.append(Frame(picture, caption, is_synthetic=number > 0))
    save_png(out / "strip.png", draw_strip(frames), metadata=ladder.facts)
    save_gif(out / "ladder.gif", frames, metadata=ladder.facts)
    marked = [frame.marked() for frame in frames[1:]]
    save_nifti_series(out / SERIES_NAME, marked)
    scores = [{finding: round(float(p), 4) for finding, p in zip(FINDINGS, score)} for score in ladder.scores]
    rungs = [
        {"description": text, "scores": score, **_prompt(made)}
        for text, score, made in zip(ladder.descriptions, scores[1:], ladder.documents, strict=True)
    ]
    content = {**ladder.facts, "judges": judges, "prior_scores": scores[0], "rungs": rungs}
    write_json(out / "ladder.json", content)
    if writer is not None:
        _write_dicom_series(out / "dicom", marked, ladder, writer)


def ladder_lines(ladder: Ladder) -> list[str]:
    """A line for the prior and each rung: the judge's probabilities of the named findings, and the description."""
    texts = ["(prior)", *ladder.descriptions]
    return ["  ".join(_scores_in_words(ladder, score)) + f"  {text}" for text, score in zip(texts, ladder.scores)]


def _prompt(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the text encoder got, where it differs from the description."""
    return {name: document[name] for name in ("prompt", "drawn") if name in document}


def _scores_in_words(ladder: Ladder, score: np.ndarray) -> list[str]:
    named = {finding: score[FINDINGS.index(finding)] for finding in ladder.named}
    return [f"{finding} {value:.2f}" for finding, value in named.items() if not np.isnan(value)]


def _write_dicom_series(folder: Path, images: Sequence[np.ndarray], ladder: Ladder, writer: PictureWriter) -> None:
    """Write marked images as one DICOM series, a file for each rung; files of an earlier ladder are removed."""
    series = {**ladder.facts, "rungs": list(ladder.descriptions)}
    names = [f"{number:02d}.dcm" for number in range(1, len(images) + 1)]
    for number, (name, image, made) in enumerate(zip(names, images, ladder.documents, strict=True), start=1):
        facts = {**ladder.facts, "progression_description": made["progression_description"], **_prompt(made)}
        writer.write(folder / name, image, facts, number=number, series_facts=series)
    for path in folder.glob(DICOM_NAMES):
        if path.name not in names:
            path.unlink()
