"""Train the outlines of lung fields and heart, which work in rendered and in real films.

Renders varied films of its own patients and trains on them; with --onto, films of a working folder's training patients
continue the training, by the consensus of several views of each. Writes lung_outlines.pt and lung_outlines.json.
"""

import argparse
from pathlib import Path

from biomedjourney_monai.cli.arguments import pick

EXAMPLE = "biomedjourney train-outlines --out bundle/models --onto work"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--out", type=Path, default=Path("judges"), help="folder for the weights (default: judges)")
    parser.add_argument("--seed", type=int, default=900100, help="of the films and of the training")
    parser.add_argument("--images", type=int, default=2000, help="films to render (default: 2000)")
    parser.add_argument("--steps", type=int, default=1500, help="optimiser steps on them (default: 1500)")
    parser.add_argument("--onto", type=Path, metavar="WORK", help="working folder of real films (default: none)")
    parser.add_argument("--films", type=int, default=2000, help="of it, at most (default: 2000)")
    parser.add_argument("--real-steps", type=int, default=1000, help="optimiser steps with them (default: 1000)")
    parser.add_argument("--processes", type=int, help="that render (default: all cores)")


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    from biomedjourney_monai.training.judges.lung_outlines import train_outlines

    options = pick(arguments, "seed images steps films real_steps processes")
    done = train_outlines(arguments.out, real=arguments.onto, **options)
    print("\n".join(f"dice {name:18} {value:.3f}" for name, value in done.marks.items()))
    print(f"trained on {done.rendered} rendered and {done.real} real films; wrote {done.file}")
