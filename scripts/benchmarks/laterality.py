"""Measure whether "left effusion" raises the judge's score on the patient's left only, and "right" on the right.

    python scripts/benchmarks/laterality.py --priors 120

Each prior is a rendered patient without effusion. It is asked for an effusion on either side, in varying words. The
judge sees the prior with only the left, or only the right, half taken from the counterfactual, so that what it sees
more than in the prior comes from that half. A case passes if the score rises above one half on the named side, and on
the other side neither does that nor rises by more than --margin. The true counterfactual is scored in the same way and
shows the judge's own limit.

The last line is JSON: {"figures": {...}, "bars": {...}}. About 4 minutes on one core; --strip FILE writes some cases.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from biomedjourney_monai.cli.arguments import add_sampling_arguments, counterfactual_model
from biomedjourney_monai.diffusion.controls import AUTO
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.evaluation.metrics.sides import only_half
from biomedjourney_monai.evaluation.systems.asked_findings import SIDES
from biomedjourney_monai.phantom.anatomy import Anatomy
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.patients import Patient, Visit, draw_patient
from biomedjourney_monai.phantom.truth import anatomy_of, render_counterfactual
from biomedjourney_monai.radiographs import NOT_FOR_DIAGNOSIS, save_png, scale_intensity
from biomedjourney_monai.radiographs.pictures.strips import Frame, draw_strip
from biomedjourney_monai.schema import FINDINGS

STREAM, SEED = "laterality", 11
BAR = 0.98
EFFUSION = FINDINGS.index("Pleural Effusion")
SENTENCES = (
    ("New large {side} pleural effusion.", 3),
    ("New moderate {side} pleural effusion.", 2),
    ("Interval development of a large {side} effusion.", 3),
    ("There is now a moderate {side}-sided pleural effusion.", 2),
)
"""Texts with the severity, 0 to 3, that they tell of."""


@dataclass(frozen=True)
class Case:
    """A prior, what is asked for, and the true answer."""

    prior: np.ndarray
    side: str
    text: str
    truth: np.ndarray


def draw_picture(patient: Patient, visit: Visit, findings: FindingState, *, size: int, anatomy: Anatomy) -> np.ndarray:
    """The radiograph of a visit with other findings, as the model is given it: shape (size, size), 0 to 1."""
    image = render_counterfactual(patient, visit, findings, size=size, anatomy=anatomy).image
    return scale_intensity(image, np.ones_like(image, bool))


def draw_cases(priors: int, *, size: int) -> list[Case]:
    """Render patients without effusion, each with a request for either side."""
    cases = []
    for index in tqdm(range(priors), desc="render", unit="patient"):
        patient = draw_patient(SEED, index, stream=STREAM)
        visit = replace(patient.visits[0], view_position="PA")
        anatomy = anatomy_of(patient)
        findings = replace(visit.findings, effusion_left=0, effusion_right=0)
        picture = partial(draw_picture, patient, visit, size=size, anatomy=anatomy)
        prior = picture(findings)
        text, severity = SENTENCES[index % len(SENTENCES)]
        for side in SIDES:
            truth = picture(replace(findings, **{f"effusion_{side}": severity}))
            cases.append(Case(prior, side, text.format(side=side), truth))
    return cases


def score_halves(judges, images: np.ndarray, priors: np.ndarray) -> dict[str, np.ndarray]:
    """The judge's probability of an effusion by half, shape (N,) each, and of the prior."""

    def effusion(pictures: torch.Tensor) -> np.ndarray:
        return np.concatenate([judges.score(batch).pathology[:, EFFUSION].numpy() for batch in pictures.split(64)])

    after, before = (torch.from_numpy(np.ascontiguousarray(pixels))[:, None] for pixels in (images, priors))
    return {"prior": effusion(before), **{side: effusion(only_half(side, after, before)) for side in SIDES}}


def measure(scores: dict[str, np.ndarray], sides: np.ndarray, *, margin: float) -> dict[str, float]:
    """Rates over cases, by the side that was asked for."""
    figures = {}
    for side, other in (SIDES, SIDES[::-1]):
        asked = sides == side
        named, opposite, before = scores[side][asked], scores[other][asked], scores["prior"][asked]
        raised = (named > 0.5) & (named > before)
        spared = (opposite - before <= margin) & ((opposite <= 0.5) | (before > 0.5))
        figures |= {
            f"{side}: raised on the {side}": float(raised.mean()),
            f"{side}: not raised on the {other}": float(spared.mean()),
            f"{side}: both": float((raised & spared).mean()),
            f"{side}: mean rise on the {side}": float((named - before).mean()),
            f"{side}: mean rise on the {other}": float((opposite - before).mean()),
        }
    return {name: round(value, 4) for name, value in figures.items()}


def change_by_side(images: np.ndarray, priors: np.ndarray, sides: np.ndarray) -> float:
    """The share of the squared change that lies on the side that was asked for, averaged over cases."""
    change = (images - priors) ** 2
    middle = images.shape[2] // 2
    left = change[:, :, middle:].sum(axis=(1, 2))
    named = np.where(sides == "left", left, change.sum(axis=(1, 2)) - left)
    return round(float((named / change.sum(axis=(1, 2))).mean()), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--priors", type=int, default=120, help="patients, each asked for both sides (default: 120)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--margin", type=float, default=0.1, help="largest rise on the other side that still passes")
    parser.add_argument("--region", choices=(AUTO,), help="confine the change to where the description acts")
    parser.add_argument("--strip", type=Path, help="write prior, counterfactual and truth of the worst cases")
    add_sampling_arguments(parser)
    args = parser.parse_args()
    model = counterfactual_model(args)
    judges = load_judges(model.config.models)
    cases = draw_cases(args.priors, size=model.size)
    priors, truths = (np.stack([getattr(case, name) for case in cases]) for name in ("prior", "truth"))
    sides = np.array([case.side for case in cases])
    parts = []
    with tqdm(total=len(cases), desc="sample", unit="image") as bar:
        for start in range(0, len(cases), args.batch_size):
            batch = slice(start, start + args.batch_size)
            texts = [case.text for case in cases[batch]]
            seeds = [args.seed + start + n for n in range(len(texts))]
            parts.append(model.draw(priors[batch], texts, seeds, region=args.region).images[:, 0].numpy())
            bar.update(len(texts))
    images = np.concatenate(parts)
    scores = score_halves(judges, images, priors)
    figures = {"counterfactual": measure(scores, sides, margin=args.margin)}
    texts = np.array([case.text.replace(case.side, "{side}") for case in cases])
    for sentence, _ in SENTENCES:
        chosen = texts == sentence
        rates = measure({key: value[chosen] for key, value in scores.items()}, sides[chosen], margin=args.margin)
        figures[f"counterfactual, {sentence}"] = {name: rates[name] for name in rates if name.endswith("both")}
    figures["truth"] = measure(score_halves(judges, truths, priors), sides, margin=args.margin)
    figures["counterfactual"]["change on the named side"] = change_by_side(images, priors, sides)
    figures["truth"]["change on the named side"] = change_by_side(truths, priors, sides)
    for name, numbers in figures.items():
        print(name, f"({args.priors} priors, {len(cases)} requests)")
        for key, value in numbers.items():
            print(f"  {key}: {value}")
    if args.strip:
        write_strip(args.strip, cases, images, scores)
    bars = {f"{side}: rate >= {BAR}": figures["counterfactual"][f"{side}: both"] >= BAR for side in SIDES}
    bars["at least 100 priors"] = args.priors >= 100
    print(json.dumps({"figures": figures, "bars": bars}))


def write_strip(path: Path, cases: list[Case], images: np.ndarray, scores: dict[str, np.ndarray]) -> None:
    """The four requests with the least difference between the sides."""
    sides = np.array([case.side for case in cases])
    gap = np.where(sides == "left", 1, -1) * (scores["left"] - scores["right"])
    frames = []
    for n in np.argsort(gap)[:4]:
        said = f"left {scores['left'][n]:.2f}, right {scores['right'][n]:.2f}, prior {scores['prior'][n]:.2f}"
        frames.append(Frame(cases[n].prior, (f"asked: {cases[n].side}",), is_synthetic=False))
        frames += [Frame(images[n], (said,)), Frame(cases[n].truth, ("truth",))]
    save_png(path, draw_strip(frames), metadata={"Comment": NOT_FOR_DIAGNOSIS})


if __name__ == "__main__":
    main()
