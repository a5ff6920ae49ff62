"""Measure counterfactuals on real films against a known truth: side, severity, and the distance to it.

    python scripts/benchmarks/real_anatomy.py --onto WORK --films 60

Each film of WORK (a working folder with studies.parquet) that shows no finding is asked for one finding in three
severities; and, with the moderate one rendered, for its resolution. The truth is rendered on the film's own anatomy.

- side: the change of grey, with the finding's sign, is larger in the named lung than in the other;
- ordered: that change rises from small to moderate to large;
- inside, outside: PSNR to the truth where it differs from the prior and where it does not; a copy of the prior as well.

The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from biomedjourney_monai.cli.arguments import add_sampling_arguments, counterfactual_model
from biomedjourney_monai.errors import ImageError
from biomedjourney_monai.evaluation.judges.lung_outlines import load_lung_outlines
from biomedjourney_monai.evaluation.probes import Probe, choose_probe, rises
from biomedjourney_monai.files import read_table
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.onto import add_findings
from biomedjourney_monai.schema import FINDINGS, STUDIES_FILE, STUDY_COLUMNS
from biomedjourney_monai.training.data.onto_films import choose_films, place_film

CHANGED = 0.04
"""A pixel changes if the truth differs from the prior by more than this."""

SIDE_BAR, ORDER_BAR, INSIDE_BAR_DB, OUTSIDE_BAR_DB = 0.97, 0.90, 3.0, 35.0


@dataclass(frozen=True)
class Case:
    """A film's probe, the fields of its lungs (left, right; bool, shape (2, H, W)), and four priors and truths."""

    probe: Probe
    fields: np.ndarray
    priors: np.ndarray
    truths: np.ndarray

    @property
    def texts(self) -> tuple[str, ...]:
        """The four descriptions."""
        return (*self.probe.ladder, self.probe.undo)


def draw_cases(work: Path, films: int, *, split: str, size: int, seed: int, weights: Path | None) -> list[Case]:
    """Render the truths; films whose lungs cannot be outlined are counted and left out."""
    studies = read_table(work / STUDIES_FILE, columns=STUDY_COLUMNS, made_by="cohort")
    studies = studies[(studies["split"] == split) & (studies["No Finding"] == 1)]
    outlines, cases, left_out = load_lung_outlines(weights), [], Counter()
    for turn, study in enumerate(tqdm(choose_films(studies, films, seed), desc="render", unit="film")):
        try:
            film, chest = place_film(work, study, outlines, size=size, seed=seed + turn)
        except ImageError as error:
            left_out[error.reason] += 1
            continue
        probe = choose_probe(dict.fromkeys(FINDINGS, 0.0), turn=turn)
        shown = [
            add_findings(film, chest, FindingState().with_severity(probe.finding, probe.side, level))
            for level in (1, 2, 3)
        ]
        if not all(np.abs(picture - film).max() > CHANGED for picture in shown):
            left_out["finding changes nothing"] += 1
            continue
        priors, truths = np.stack([film, film, film, shown[1]]), np.stack([*shown, film])
        cases.append(Case(probe, chest.fields[::-1] > 0.5, priors, truths))
    for reason, count in left_out.items():
        print(f"left out: {count} films, {reason}")
    return cases


def measure(cases: list[Case], images: np.ndarray) -> dict[str, float]:
    """Score counterfactuals, shape (N, 4, H, W); "side" is NaN where no case has a side."""
    priors, truths = (np.stack([getattr(case, name) for case in cases]) for name in ("priors", "truths"))
    place = np.abs(truths - priors) > CHANGED
    sign = np.sign(np.where(place, truths - priors, 0).sum(axis=(2, 3)))  # (N, 4)
    change = (images - priors) * sign[:, :, None, None]
    sided = [n for n, case in enumerate(cases) if case.probe.side]
    correct = [side_is_correct(cases[n], change[n]) for n in sided]
    amounts = np.where(place[:, 2:3], change[:, :3], 0).sum(axis=(2, 3))  # (N, 3), where the largest changes
    inside, outside = psnr(images, truths, place), psnr(images, truths, ~place)
    copied = psnr(priors, truths, place)
    return {
        "films": len(cases),
        "side correct": float(np.mean(correct)) if correct else float("nan"),
        "ordered": float(rises(amounts.T).mean()),
        "inside, dB": float(inside.mean()),
        "inside, copy of the prior, dB": float(copied.mean()),
        "inside, gain, dB": float((inside - copied).mean()),
        "outside, dB": float(outside.mean()),
    }


def side_is_correct(case: Case, change: np.ndarray) -> np.ndarray:
    """Whether the named lung changes more, by request; bool, shape (4,)."""
    left, right = (change[:, field].mean(axis=1) for field in case.fields)
    return left > right if case.probe.side == "left" else right > left


def psnr(images: np.ndarray, truths: np.ndarray, place: np.ndarray) -> np.ndarray:
    """PSNR in dB in a place, at most 60; all of shape (N, 4, H, W), the result (N, 4)."""
    squared = np.where(place, np.square(images - truths), 0).sum(axis=(2, 3)) / np.maximum(place.sum(axis=(2, 3)), 1)
    return -10 * np.log10(np.maximum(squared, 1e-6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onto", type=Path, required=True, metavar="WORK", help="working folder of real films")
    parser.add_argument("--films", type=int, default=60, help="asked four times each (default: 60)")
    parser.add_argument("--split", default="test", help="of the films (default: test)")
    parser.add_argument("--judge-weights", type=Path, metavar="DIR", help="folder of lung_outlines.pt")
    parser.add_argument("--batch-size", type=int, default=16)
    add_sampling_arguments(parser)
    args = parser.parse_args()
    model = counterfactual_model(args)
    weights = args.judge_weights or model.config.models
    cases = draw_cases(args.onto, args.films, split=args.split, size=model.size, seed=args.seed, weights=weights)
    requests = [(case.priors[n], case.texts[n]) for case in cases for n in range(4)]
    parts = []
    with tqdm(total=len(requests), desc="sample", unit="image") as bar:
        for start in range(0, len(requests), args.batch_size):
            priors, texts = zip(*requests[start : start + args.batch_size])
            seeds = [args.seed + (start + n) // 4 for n in range(len(texts))]  # one noise for all requests of a film
            parts.append(model.draw(np.stack(priors), list(texts), seeds).images[:, 0].numpy())
            bar.update(len(texts))
    images = np.concatenate(parts).reshape(len(cases), 4, *requests[0][0].shape)
    found = np.array([case.probe.finding for case in cases])
    figures = {"all": measure(cases, images)}
    for finding in sorted(set(found)):
        chosen = np.flatnonzero(found == finding)
        figures[finding] = measure([cases[n] for n in chosen], images[chosen])
    for name, numbers in figures.items():
        print(name, *(f"{key} {value:.3f}" for key, value in numbers.items()), sep="; ")
    overall = figures["all"]
    bars = {
        f"side correct >= {SIDE_BAR}": overall["side correct"] >= SIDE_BAR,
        f"ordered >= {ORDER_BAR}": overall["ordered"] >= ORDER_BAR,
        f"inside: gain >= {INSIDE_BAR_DB} dB": overall["inside, gain, dB"] >= INSIDE_BAR_DB,
        f"outside >= {OUTSIDE_BAR_DB} dB": overall["outside, dB"] >= OUTSIDE_BAR_DB,
    }
    print(json.dumps({"figures": figures, "bars": bars}))


if __name__ == "__main__":
    main()
