"""Train the small judges that score rendered radiographs: a classifier (findings, group, age) and a segmenter.

Renders patients of its own for it, which no cohort holds, trains on most of them and prints the judges' marks on the
rest. Writes phantom_classifier.pt, phantom_segmenter.pt and phantom_judges.json. Same arguments, same weights.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

EXAMPLE = "biomedjourney train-judges --out bundle/models --seed 900001 --images 3200 --steps 1000"

HELD_OUT_SHARE = 0.15
SEGMENTER_SHARE = 0.4
"""The segmenter is done after this share of the classifier's steps."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("judges"), help="folder for the weights (default: judges)")
    parser.add_argument("--seed", type=int, default=900001, help="of the patients and of the training")
    parser.add_argument("--images", type=int, default=3200, help="patients to render, one image each (default: 3200)")
    parser.add_argument("--steps", type=int, default=1000, help="optimiser steps of the classifier (default: 1000)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="to render with (default: all)")


def run(args: argparse.Namespace) -> int:
    from biomedjourney_monai import __version__
    from biomedjourney_monai.errors import ConfigError
    from biomedjourney_monai.evaluation.judges.loading import load_judges
    from biomedjourney_monai.evaluation.judges.networks import JUDGE_SIZE
    from biomedjourney_monai.evaluation.judges.phantom import CLASSIFIER_FILE, SEGMENTER_FILE, save_weights
    from biomedjourney_monai.files import write_json
    from biomedjourney_monai.phantom.labelled import draw_labelled
    from biomedjourney_monai.training.judges.train import (
        LabelledImages,
        mark_judges,
        train_classifier,
        train_segmenter,
    )

    if args.images < 20 or args.steps < 1 or args.processes < 1:
        raise ConfigError(
            "--images must be >= 20, --steps and --processes >= 1",
            found=f"{args.images}, {args.steps} and {args.processes}",
        )
    drawn = draw_labelled(args.images, seed=args.seed, size=JUDGE_SIZE, processes=args.processes, with_masks=True)
    data = LabelledImages(drawn.images, drawn.labels, drawn.group, drawn.age, drawn.masks)
    held_out = max(1, round(HELD_OUT_SHARE * args.images))
    train, test = data.rows(slice(held_out, None)), data.rows(slice(held_out))
    segmenter_steps = max(1, round(SEGMENTER_SHARE * args.steps))
    save_weights(train_classifier(train, steps=args.steps, seed=args.seed), args.out / CLASSIFIER_FILE)
    save_weights(train_segmenter(train, steps=segmenter_steps, seed=args.seed), args.out / SEGMENTER_FILE)
    judges = load_judges(args.out)
    marks = mark_judges(judges, test)
    write_json(
        args.out / "phantom_judges.json",
        {
            "command": f"biomedjourney train-judges --seed {args.seed} --images {args.images} --steps {args.steps}",
            "version": __version__,
            "trained_on": len(train),
            "held_out": len(test),
            "held_out_marks": marks,
            "files": judges.provenance()["files"],
        },
    )
    print("\n".join(f"{name:28} {value:.3f}" for name, value in marks.items()))
    print(f"trained on {len(train)} patients, marks on {len(test)} others; wrote {args.out}")
    return 0
