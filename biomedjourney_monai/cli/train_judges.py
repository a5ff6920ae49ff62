"""Train the small judges that score rendered radiographs: a classifier (findings, group, age) and a segmenter.

Renders its own patients, which no cohort contains, trains on most of them and prints the judges' marks on the others.
Writes phantom_classifier.pt, phantom_segmenter.pt and phantom_judges.json. Same arguments, same weights.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

EXAMPLE = "biomedjourney train-judges --out bundle/models --seed 900001 --images 3200 --steps 1000"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--out", type=Path, default=Path("judges"), help="folder for the weights (default: judges)")
    parser.add_argument("--seed", type=int, default=900001, help="of the patients and of the training")
    parser.add_argument("--images", type=int, default=3200, help="patients to render, one image each (default: 3200)")
    parser.add_argument("--steps", type=int, default=1000, help="optimiser steps of the classifier (default: 1000)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that render (default: all cores)")


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    from biomedjourney_monai.training.judges.train import train_judges

    done = train_judges(
        arguments.out,
        seed=arguments.seed,
        images=arguments.images,
        steps=arguments.steps,
        processes=arguments.processes,
    )
    print("\n".join(f"{name:28} {value:.3f}" for name, value in done.marks.items()))
    print(f"trained on {done.trained_on} patients, marks on {done.held_out} others; wrote {done.folder}")
