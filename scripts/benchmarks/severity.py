"""Measure whether "small", "moderate" and "large" give rising findings of the right size.

    python scripts/benchmarks/severity.py --priors 100

Each prior is a rendered patient who lacks one finding; it is asked for that finding in three severities, from the same
noise. The description also mentions what stays, as descriptions of journeys do; --only-what-is-new omits that. The
renderer draws the same three, which shows the limit of each measure:

- ordered by change: the whole image differs from the prior more with each severity;
- ordered in place: the same, only where the renderer's largest differs from the prior by more than .08;
- ordered by the judge: its probability of the finding rises twice;
- nearest: which of the three true images is nearest there, by requested severity.

The last line is JSON: {"figures": {...}, "bars": {...}}. About 2 minutes on one core; --strip FILE writes some cases.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from laterality import draw_picture
from tqdm import tqdm

from biomedjourney_monai.cli.arguments import add_sampling_arguments, counterfactual_model
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.evaluation.judges.scores import Judges
from biomedjourney_monai.evaluation.metrics.truth_error import CHANGED
from biomedjourney_monai.evaluation.probes import NAMES, Probe, choose_probe, rises
from biomedjourney_monai.evaluation.systems.asked_findings import SIDED, SIDES, WHOLE
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import anatomy_of
from biomedjourney_monai.radiographs import NOT_FOR_DIAGNOSIS, save_png
from biomedjourney_monai.radiographs.pictures.strips import Frame, draw_strip
from biomedjourney_monai.schema import FINDINGS, SEVERITY_WORDS

STREAM, SEED = "severity", 12
BAR = 0.95


@dataclass(frozen=True)
class Case:
    """A prior, a finding that it lacks, sentences on what it has, and the three true pictures, shape (3, H, W)."""

    prior: np.ndarray
    probe: Probe
    stays: str
    truths: np.ndarray


def draw_cases(priors: int, *, size: int) -> list[Case]:
    """Render patients with whatever they have, each with one finding more; findings and sides take turns."""
    cases: list[Case] = []
    for index in tqdm(range(priors), desc="render", unit="patient"):
        patient = draw_patient(SEED, index, stream=STREAM)
        visit = replace(patient.visits[0], view_position="PA")
        anatomy, findings = anatomy_of(patient), visit.findings
        probe = choose_probe(findings.labels(), turn=index)
        if probe is None:
            continue
        picture = partial(draw_picture, patient, visit, size=size, anatomy=anatomy)
        wanted = [findings.with_severity(probe.finding, probe.side, severity) for severity in (1, 2, 3)]
        truths = np.stack([picture(state) for state in wanted])
        cases.append(Case(picture(findings), probe, say_what_stays(findings), truths))
    return cases


def say_what_stays(findings: FindingState) -> str:
    """A sentence for each finding and side that is there, with its severity."""
    sentences = []
    for finding in FINDINGS:
        for side in SIDES if finding in SIDED else (WHOLE,):
            severity = findings.severity(finding, side or None)
            if severity:
                words = (SEVERITY_WORDS[finding][severity - 1], side, NAMES.get(finding, finding.lower()))
                sentences.append(f" Unchanged {' '.join(word for word in words if word)}.")
    return "".join(sentences)


def measure(rungs: np.ndarray, cases: list[Case], judges: Judges) -> dict[str, np.ndarray]:
    """Every measure by case: bool, shape (N,); `nearest` int, shape (N, 3).

    Args:
        rungs: three pictures of each case, shape (N, 3, H, W).
    """
    priors, truths = np.stack([case.prior for case in cases])[:, None], np.stack([case.truths for case in cases])
    change = np.abs(rungs - priors)
    place = np.abs(truths[:, 2:] - priors) > CHANGED  # (N, 1, H, W)
    columns = [FINDINGS.index(case.probe.finding) for case in cases]
    seen = np.stack(
        [judges.score(torch.from_numpy(three)[:, None]).pathology[:, k].numpy() for three, k in zip(rungs, columns)]
    )
    error = np.where(place[:, None], (rungs[:, :, None] - truths[:, None]) ** 2, 0).sum(axis=(3, 4))  # (N, asked, true)
    return {
        "ordered by change": rises(change.mean(axis=(2, 3)).T),
        "ordered in place": rises(np.where(place, change, 0).sum(axis=(2, 3)).T),
        "ordered by the judge": rises(seen.T),
        "nearest": error.argmin(axis=2),
    }


def summarise(measured: dict[str, np.ndarray], chosen: np.ndarray) -> dict[str, object]:
    """Rates over the chosen cases; `nearest` as three rows, one for each severity asked for."""
    figures: dict[str, object] = {
        name: round(float(values[chosen].mean()), 4) for name, values in measured.items() if name != "nearest"
    }
    nearest = measured["nearest"][chosen]
    figures["nearest is the one asked for"] = round(float((nearest == np.arange(3)).mean()), 4)
    figures["nearest by asked"] = [[round(float((nearest[:, k] == j).mean()), 3) for j in range(3)] for k in range(3)]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--priors", type=int, default=100, help="patients, each asked for one finding (default: 100)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--only-what-is-new", action="store_true", help="do not mention what stays")
    parser.add_argument("--strip", type=Path, help="write prior, three counterfactuals and three truths of some cases")
    add_sampling_arguments(parser)
    args = parser.parse_args()
    model = counterfactual_model(args)
    judges = load_judges(model.config.models)
    cases = draw_cases(args.priors, size=model.size)
    priors = np.stack([case.prior for case in cases])
    rungs = np.empty((len(cases), 3, *priors.shape[1:]), np.float32)
    with tqdm(total=3 * len(cases), desc="sample", unit="image") as bar:
        for start in range(0, len(cases), args.batch_size):
            batch = slice(start, start + args.batch_size)
            seeds = [args.seed + start + n for n in range(len(cases[batch]))]
            for step in range(3):
                texts = [
                    case.probe.ladder[step] + ("" if args.only_what_is_new else case.stays) for case in cases[batch]
                ]
                rungs[batch, step] = model.draw(priors[batch], texts, seeds).images[:, 0].numpy()
                bar.update(len(texts))
    measured = {
        "counterfactual": measure(rungs, cases, judges),
        "truth": measure(np.stack([case.truths for case in cases]), cases, judges),
    }
    figures = {name: summarise(values, np.ones(len(cases), bool)) for name, values in measured.items()}
    found = np.array([case.probe.finding for case in cases])
    for finding in FINDINGS:
        figures[f"counterfactual, {finding}"] = summarise(measured["counterfactual"], found == finding)
    for name, numbers in figures.items():
        print(name, f"({len(cases)} priors)" if "," not in name else f"({int((found == name.split(', ')[1]).sum())})")
        for key, value in numbers.items():
            print(f"  {key}: {value}")
    if args.strip:
        write_strip(args.strip, cases, rungs)
    bars = {f"ordered by change in {BAR:.0%}": figures["counterfactual"]["ordered by change"] >= BAR}
    print(json.dumps({"figures": figures, "bars": bars}))


def write_strip(path: Path, cases: list[Case], rungs: np.ndarray, *, count: int = 5) -> None:
    """The first case of each finding: prior, three counterfactuals, three truths."""
    rows, shown = [], set()
    for case, three in zip(cases, rungs):
        if case.probe.finding in shown or len(shown) == count:
            continue
        shown.add(case.probe.finding)
        frames = [Frame(case.prior, ("prior",), is_synthetic=False)]
        frames += [Frame(image, (text,)) for image, text in zip(three, case.probe.ladder)]
        frames += [Frame(image, ("truth",)) for image in case.truths]
        rows.append(draw_strip(frames))
    height = max(row.shape[0] for row in rows)
    save_png(
        path,
        np.vstack([np.pad(row, ((0, height - len(row)), (0, 0))) for row in rows]),
        metadata={"Comment": NOT_FOR_DIAGNOSIS},
    )


if __name__ == "__main__":
    main()
