"""Measure the time of an evaluation, and how its memory grows with the number of journeys.

    python scripts/benchmarks/evaluation.py

Renders journeys (prior, next image, true counterfactual, reports; not registered), puts an image of each into samples/,
and runs `biomedjourney evaluate` with the phantom judges, 2,000 bootstrap rounds and every metric that needs neither
further sampling nor training images; then again on a quarter of the journeys, for the memory.

The last line is JSON: {"figures": {...}, "bars": {...}}. About 5 minutes on two cores; --keep DIR keeps the folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biomedjourney_monai.files import write_json_lines
from biomedjourney_monai.phantom.mentions import chexpert_labels
from biomedjourney_monai.phantom.parallel import map_in_order
from biomedjourney_monai.phantom.patients import Patient, Visit, draw_patient
from biomedjourney_monai.phantom.reports import write_report
from biomedjourney_monai.phantom.seeds import derive_rng
from biomedjourney_monai.phantom.truth import anatomy_of, render_counterfactual, render_visit
from biomedjourney_monai.preparation.descriptions.rows import build_triples
from biomedjourney_monai.radiographs import save_png, scale_intensity
from biomedjourney_monai.schema import PAIR_COLUMNS

STREAM, SEED, SIZE = "evaluation", 31, 128
MOST_SECONDS, MOST_GROWTH_MB = 180, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journeys", type=int, default=500, help="scored (default: 500)")
    parser.add_argument("--bootstrap", type=int, default=2000, help="rounds (default: 2000)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write the working folder there, or use what is there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = args.keep or Path(temporary)
        if not (work / "triples.jsonl").exists():
            write_folder(work, journeys=args.journeys)
        whole = evaluate(work, bootstrap=args.bootstrap)
        quarter = evaluate(work, bootstrap=args.bootstrap, limit=args.journeys // 4)
    growth = whole["peak_mb"] - quarter["peak_mb"]
    figures = {
        "journeys": args.journeys,
        "bootstrap": args.bootstrap,
        "seconds": whole["seconds"],
        "peak memory, MB": whole["peak_mb"],
        "peak memory on a quarter, MB": quarter["peak_mb"],
        "growth, kB per journey": round(1000 * growth / (args.journeys - args.journeys // 4), 1),
    }
    bars = {
        f"seconds < {MOST_SECONDS}": whole["seconds"] < MOST_SECONDS,
        "500 journeys and 2000 rounds": args.journeys >= 500 and args.bootstrap >= 2000,
        f"growth < {MOST_GROWTH_MB} MB": growth < MOST_GROWTH_MB,
    }
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(json.dumps({"figures": figures, "bars": bars}))


def evaluate(work: Path, *, bootstrap: int, limit: int = 0) -> dict[str, float]:
    """Run the verb; seconds from start to end, and the most memory it had, in MB."""
    code = (
        "import sys, resource; from biomedjourney_monai.cli.main import main; status = main(sys.argv[1:]);"
        "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(status)"
    )
    words = ["evaluate", "--work", work, "--bootstrap", bootstrap, "--limit", limit, "--truth", work / "truth"]
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    peak = int(done.stdout.split("peak ")[-1])
    return {"seconds": round(seconds, 1), "peak_mb": round(peak / 1024, 1)}


def write_folder(work: Path, *, journeys: int) -> None:
    """Write what `register`, `describe` and `sample` would, for so many journeys."""
    rows: list[dict[str, Any]] = []
    tasks = ((str(work), index) for index in range(2 * journeys))
    for of_patient in map_in_order(write_patient, tasks, processes=None):
        rows += of_patient
        if len(rows) >= journeys:
            break
    rows = [row | {"journey_id": f"j{n:06}"} for n, row in enumerate(rows[:journeys])]
    pictures = np.stack([row.pop("picture") for row in rows]).astype(np.float16)
    pairs = pd.DataFrame(rows)
    pairs.to_parquet(work / "pairs.parquet")
    truth = pairs[["prior_dicom_id", "new_study_id"]].assign(file=pairs["prior_dicom_id"] + ".png")
    truth.to_csv(work / "truth" / "truth.csv", index=False)
    write_json_lines(work / "triples.jsonl", build_triples(pairs[list(PAIR_COLUMNS)]).rows)
    (work / "samples").mkdir()
    np.save(work / "samples" / "counterfactuals.npy", pictures)
    lines = [{"journey_id": row["journey_id"], "index": n, "model": "none"} for n, row in enumerate(rows)]
    write_json_lines(work / "samples" / "samples.jsonl", lines)


def write_patient(task: tuple[str, int]) -> list[dict[str, Any]]:
    """Render one patient's journeys; rows of pairs.parquet, each with a picture that stands in for a counterfactual."""
    work, index = Path(task[0]), task[1]
    patient = draw_patient(SEED, index, stream=STREAM)
    patient = replace(patient, visits=tuple(replace(visit, view_position="PA") for visit in patient.visits))
    anatomy = anatomy_of(patient)
    images, reports, previous = {}, {}, None
    for visit in patient.visits:
        images[visit.study_id] = _scaled(render_visit(patient, visit, size=SIZE, anatomy=anatomy).image)
        text = write_report(patient, visit, previous, derive_rng(SEED, STREAM, "report", visit.study_id))
        reports[visit.study_id] = work / "reports" / f"{visit.study_id}.txt"
        reports[visit.study_id].parent.mkdir(parents=True, exist_ok=True)
        reports[visit.study_id].write_text(text, encoding="utf-8")
        previous = visit
    rows = []
    for prior, new in pairwise(patient.visits):
        truth = render_counterfactual(patient, prior, new.findings, size=SIZE, with_masks=True, anatomy=anatomy)
        names = {"prior_image": f"images/{prior.study_id}.png", "new_image": f"images/{new.study_id}.png"}
        for name, visit in (("prior_image", prior), ("new_image", new)):
            save_png(work / names[name], images[visit.study_id])
        save_png(work / "truth" / f"d{prior.study_id}.png", truth.image)
        np.savez_compressed(work / "truth" / f"d{prior.study_id}.npz", masks=truth.masks)
        row = _row(patient, prior, new) | names
        row |= {"prior_report_path": str(reports[prior.study_id]), "new_report_path": str(reports[new.study_id])}
        rows.append(row | {"picture": 0.3 * images[prior.study_id] + 0.7 * _scaled(truth.image)})
    return rows


def _row(patient: Patient, prior: Visit, new: Visit) -> dict[str, Any]:
    labels = {
        f"{side}_{name}": np.nan if label is None else float(label)
        for side, visit in (("prior", prior), ("new", new))
        for name, label in chexpert_labels(visit.mentions, visit.devices).items()
    }
    who = {"subject_id": str(patient.subject_id), "sex": patient.sex, "race": patient.race, "split": "test"}
    age = float(patient.anchor_age)
    ids = {f"{side}_study_id": str(visit.study_id) for side, visit in (("prior", prior), ("new", new))}
    ids |= {f"{side}_dicom_id": f"d{visit.study_id}" for side, visit in (("prior", prior), ("new", new))}
    days = (new.time - prior.time).total_seconds() / 86400
    ages = {"anchor_age": age, "prior_age": age, "new_age": age, "days_between": days}
    return {**dict.fromkeys(PAIR_COLUMNS, ""), **labels, **who, **ids, **ages, "kept": True}


def _scaled(image: np.ndarray) -> np.ndarray:
    return scale_intensity(image, np.ones_like(image, bool))


if __name__ == "__main__":
    main()
