"""Measure whether descriptions in radiologists' own words are drawn, and whether failures are warned of.

    python scripts/benchmarks/requests.py phrases.csv --steps 5

The table has the columns finding, style, change, severity and phrase; {side}, {Side}, {SIDE} and {L} in a phrase are
filled in. Each phrase is drawn on rendered patients without a finding. It counts as drawn if the judge sees the finding
in the half that was asked for and not in the other (a resolved finding: in neither), and no other finding that it did
not see before. `--verbatim` gives the text encoder the phrases as they are. `--calibrate` prints how often the
warning `nothing_changed` is given without a change, and for findings that are drawn.

The last line is JSON: {"figures": {...}, "bars": {...}}. About 6 minutes on one core for 100 phrases.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from laterality import draw_picture
from tqdm import tqdm

from biomedjourney_monai.cli.arguments import add_sampling_arguments, counterfactual_model
from biomedjourney_monai.clinic.web.page import all_suggestions
from biomedjourney_monai.evaluation.judges.drawn import judge_halves, warn_of_unseen
from biomedjourney_monai.evaluation.judges.loading import Judges, load_judges
from biomedjourney_monai.evaluation.metrics.sides import SEEN
from biomedjourney_monai.generation.effect import NOTHING_CHANGED
from biomedjourney_monai.generation.model import CounterfactualModel
from biomedjourney_monai.generation.request import Request
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import anatomy_of
from biomedjourney_monai.preparation.descriptions.request import read_request
from biomedjourney_monai.schema import FINDINGS

SEED, STREAM = 21, "requests"
UNSIDED = ("Cardiomegaly", "Edema")
DENIALS = (
    "No {}.",
    "There is no evidence of {}.",
    "{}: none.",
    "Negative for {}.",
    "No {} is identified.",
    "Without {}.",
    "There is no {} on either side.",
    "{} is absent.",
)
UNRELATED = (
    *(
        "New rib fracture on the left.",
        "Nodule in the right upper lobe.",
        "New endotracheal tube.",
        "Healed clavicle fracture.",
    ),
    *("Right PICC line.", "Mass in the left hilum.", "Scoliosis.", "Hiatal hernia."),
)
UNCHANGED = (
    *("No interval change.", "The chest is unchanged.", "Stable appearance of the chest."),
    *("No significant change since the prior radiograph.", "No acute cardiopulmonary process."),
)
"""Descriptions without change; the model gets them as they are."""


@dataclass(frozen=True)
class Case:
    """A phrase, and what is right."""

    group: str
    text: str
    finding: str
    side: str
    gone: bool


def read_phrases(path: Path) -> Iterator[Case]:
    """Fill in the sides by turns."""
    with path.open(newline="", encoding="utf-8") as stream:
        for number, row in enumerate(csv.DictReader(stream)):
            side = ("left", "right")[number % 2]
            letters = {"side": side, "Side": side.capitalize(), "SIDE": side.upper(), "L": side[0].upper()}
            letters |= {"LLL": f"{side[0].upper()}LL"}
            sided = "" if row["finding"] in UNSIDED else side
            yield Case(
                row["style"], row["phrase"].format(**letters), row["finding"], sided, row["change"] == "resolved"
            )


def draw_priors(count: int, *, size: int) -> list[np.ndarray]:
    """Render patients without a finding."""
    priors = []
    for index in range(count):
        patient = draw_patient(SEED, index, stream=STREAM)
        visit = replace(patient.visits[0], view_position="PA")
        priors.append(draw_picture(patient, visit, FindingState(), size=size, anatomy=anatomy_of(patient)))
    return priors


def judge(seen: dict[str, np.ndarray], case: Case) -> tuple[bool, bool]:
    """Whether the phrase was drawn, and whether another side or finding was."""
    others = [bool(seen[""][n] > SEEN >= seen["prior"][n]) for n, label in enumerate(FINDINGS) if label != case.finding]
    if not case.finding:
        return not any(others), any(others)
    halves = {side: seen[side][FINDINGS.index(case.finding)] > SEEN for side in ("left", "right", "")}
    if case.gone:
        return not any(halves.values()) and not any(others), any(others)
    extra = case.side in ("left", "right") and bool(halves["right" if case.side == "left" else "left"])
    return bool(halves[case.side]) and not extra and not any(others), extra


def draw(
    model: CounterfactualModel, judges: Judges, cases: list[Case], priors: list[np.ndarray], *, verbatim: bool
) -> dict[str, list[tuple[bool, bool, bool]]]:
    """Group → (drawn, other side or finding, warned) of each phrase on each prior."""
    outcomes: dict[str, list[tuple[bool, bool, bool]]] = defaultdict(list)
    for case in tqdm(cases, desc="sample", unit="phrase"):
        checked = [
            model.check(Request(prior, case.text, seed=seed, force=True, verbatim=verbatim))
            for seed, prior in enumerate(priors)
        ]
        failures = []
        for number, result in enumerate(model.run_together(checked)):
            square, prior = result.squares[0], checked[number].prior.image
            drawn, extra = judge(judge_halves(judges, prior, square), case)
            warned = bool(result.warnings or warn_of_unseen(judges, prior, square, case.text))
            outcomes[case.group].append((drawn, extra, warned))
            failures.append(not drawn)
        if any(failures):
            print(f"  {sum(failures)} of {len(failures)} failed: {case.finding}: {case.text} -> {checked[0].prompt}")
    return outcomes


def calibrate(model: CounterfactualModel, judges: Judges, priors: list[np.ndarray]) -> None:
    """Print how often `nothing_changed` is said: without a change, and of findings that are drawn."""
    model.reviewer = None
    findings = [one for one in all_suggestions() if one.change == "new"]
    flagged: dict[str, list[bool]] = defaultdict(list)
    for seed, prior in enumerate(tqdm(priors, desc="sample", unit="prior")):
        for number in range(3):
            text = UNCHANGED[(seed + number) % len(UNCHANGED)]
            checked = model.check(Request(prior, text, seed=seed, force=True))
            as_asked = replace(
                checked, description="New edema.", prompt=text
            )  # the warning is for requests of a change
            flagged["without change"].append(NOTHING_CHANGED in " ".join(model.run(as_asked).effect_warnings))
            asked = findings[(11 * seed + 5 * number) % len(findings)]
            checked = model.check(Request(prior, asked.sentence, seed=seed, force=True))
            result = model.run(checked)
            seen, column = judge_halves(judges, checked.prior.image, result.squares[0]), FINDINGS.index(asked.finding)
            if seen[""][column] > SEEN >= seen["prior"][column]:
                flagged["drawn findings"].append(NOTHING_CHANGED in " ".join(result.effect_warnings))
    for name, values in flagged.items():
        print(f"nothing_changed, {name}: {np.mean(values):.3f} of {len(values)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phrases", type=Path, nargs="?", help="CSV of phrases")
    parser.add_argument("--priors", type=int, default=3, help="patients for each phrase (default: 3)")
    parser.add_argument("--verbatim", action="store_true", help="give the text encoder the phrases as they are")
    parser.add_argument("--calibrate", action="store_true", help="measure the warning of no change, and stop")
    add_sampling_arguments(parser)
    args = parser.parse_args()
    model = counterfactual_model(args)
    priors = draw_priors(args.priors, size=model.size)
    if args.calibrate:
        calibrate(model, load_judges(model.config.models), priors)
        return
    judges = load_judges(model.config.models)
    cases = list(read_phrases(args.phrases))
    started = time.process_time()
    for case in cases:
        read_request.__wrapped__(case.text)
    per_request = 1000 * (time.process_time() - started) / len(cases)
    cases += [
        Case("denial", frame.format(name), "", "", False) for frame in DENIALS for name in map(str.lower, FINDINGS)
    ]
    cases += [Case("unrelated", text, "", "", False) for text in UNRELATED]
    outcomes = draw(model, judges, cases, priors, verbatim=args.verbatim)
    denied, unrelated = np.array(outcomes.pop("denial")), np.array(outcomes.pop("unrelated"))
    everything = np.array([row for rows in outcomes.values() for row in rows])
    figures = {style: float(np.mean([row[0] for row in rows])) for style, rows in outcomes.items()}
    failed = everything[~everything[:, 0]]
    figures |= {
        "all": float(everything[:, 0].mean()),
        "another side or finding": float(everything[:, 1].mean()),
        "failures warned of": float(failed[:, 2].mean()) if len(failed) else 1.0,
        "right ones warned of": float(everything[everything[:, 0], 2].mean()),
        "denials drawn": int((~denied[:, 0]).sum()),
        "unrelated drawn": int((~unrelated[:, 0]).sum()),
        "unrelated reported": float(unrelated[:, 2].mean()),
        "milliseconds to read a request": per_request,
    }
    styles = [figures[style] for style in outcomes]
    bars = {
        "all >= .85": figures["all"] >= 0.85,
        "no style under .70": min(styles) >= 0.70,
        "another side or finding <= .01": figures["another side or finding"] <= 0.01,
        "failures warned of >= .95": figures["failures warned of"] >= 0.95,
        "no denial drawn": figures["denials drawn"] == 0,
        "unrelated requests draw nothing and are reported": figures["unrelated drawn"] == 0
        and figures["unrelated reported"] == 1,
        "read in 5 ms": per_request < 5,
    }
    for name, value in figures.items():
        print(f"{name}: {value:.3f}")
    print(json.dumps({"figures": {name: round(value, 4) for name, value in figures.items()}, "bars": bars}))


if __name__ == "__main__":
    main()
