"""Train the small judges that score counterfactuals: a classifier (findings, sex or group, age), and a segmenter.

With --work: a classifier of a cohort's films, on its training patients, calibrated on its validation patients; prints
its performance on validation and test patients and writes NAME_classifier.pt, NAME_domain.pt and NAME_judges.json.
Without: classifier and segmenter of rendered radiographs, on patients that no cohort contains; writes
phantom_classifier.pt, phantom_domain.pt, phantom_segmenter.pt and phantom_judges.json. Same arguments, same weights.
"""

import argparse
import os
from pathlib import Path

from biomedjourney_monai.cli.arguments import pick

EXAMPLE = "biomedjourney train-judges --work work --out bundle/models --name my_site"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--work", type=Path, help="working folder of a cohort (default: render patients)")
    parser.add_argument(
        "--tell-from", type=Path, metavar="WORK", help="without --work: films to tell rendered images from"
    )
    parser.add_argument("--name", default="films", help="with --work: of the judges (default: films)")
    parser.add_argument("--out", type=Path, default=Path("judges"), help="folder for the weights (default: judges)")
    parser.add_argument("--seed", type=int, default=900001, help="of the rendered patients and of the training")
    parser.add_argument("--images", type=int, default=3200, help="patients to render, one image each (default: 3200)")
    parser.add_argument("--steps", type=int, help="of the classifier (default: 2500 with --work, otherwise 1000)")
    parser.add_argument(
        "--imagenet", type=Path, metavar="FILE", help="with --work: weights to start from, see how-to/evaluate.md"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that read or render (default: all)")


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    if arguments.work is not None:
        _train_on_cohort(arguments)
        return
    from biomedjourney_monai.training.judges.train import train_judges

    steps = 1000 if arguments.steps is None else arguments.steps
    options = pick(arguments, "seed images processes")
    done = train_judges(arguments.out, steps=steps, films_of=arguments.tell_from, **options)
    print("\n".join(f"{name:28} {value:.3f}" for name, value in done.marks.items()))
    print(f"trained on {done.trained_on} patients, marks on {done.held_out} others; wrote {done.folder}")


def _train_on_cohort(arguments: argparse.Namespace) -> None:
    from biomedjourney_monai.preparation.rejections import list_reasons
    from biomedjourney_monai.training.judges.cohort import train_cohort_judges

    steps = 2500 if arguments.steps is None else arguments.steps
    options = pick(arguments, "name seed imagenet processes")
    done = train_cohort_judges(arguments.work, arguments.out, steps=steps, **options)
    validate, test = (done.facts["performance"][split] for split in ("validate", "test"))
    print(f"{'':32} {'validate':>9} {'test':>9}")
    for mark, value in validate.items():
        print(f"{mark:32} {value:9.3f} " + (f"{test[mark]:9.3f}" if mark in test else f"{'-':>9}"))
    counts = ", ".join(f"{split} {count:,}" for split, count in done.facts["films"].items())
    print(f"films: {counts}; unreadable: {list_reasons(done.unreadable)}; wrote {done.folder}")
