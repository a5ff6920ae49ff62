"""Train and score every cell of a grid with the same budget, and write one table.

The grid crosses the text (impression or progression description), registration (on or off), training stages (one or
two) and text encoders: the paper's Tables 2 and 5. It may also cross variants of networks and training. Cells share
common steps. Each step is a command of this program. A run that was killed continues where it stopped when the same
line is run again; after a setting is changed, only the steps that depend on it run again. A cell that fails is named at
the end and does not stop the others.
"""

import argparse
from pathlib import Path

EXAMPLE = (
    "biomedjourney ablation --config bundle/configs/ablation.yaml --out ablation\n"
    "  biomedjourney ablation --config bundle/configs/ablation.yaml --out ablation --plan\n"
    "  biomedjourney ablation --config bundle/configs/ablation.yaml --out ablation"
    " --cell progression-registered-2stage-small --again"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the grid, such as ablation.yaml")
    parser.add_argument("--out", type=Path, default=Path("ablation"), metavar="DIR", help="folder (default: ablation)")
    parser.add_argument("--bundle", metavar="DIR", help="the bundle's folder (default: the installed one)")
    parser.add_argument("--cell", action="append", default=[], metavar="NAME", help="only this cell; may be repeated")
    parser.add_argument("--again", action="store_true", help="run the named cells' own steps again")
    parser.add_argument("--plan", action="store_true", help="print the steps and which are done, and run none")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    from biomedjourney_monai.evaluation.ablation.run import list_steps, run_ablation

    where = {"out": arguments.out, "bundle": arguments.bundle, "cells": arguments.cell}
    if arguments.plan:
        print("\n".join(list_steps(arguments.config, **where)))
        return 0
    result = run_ablation(arguments.config, **where, again=arguments.again)
    print(result.table)
    print(f"wrote {result.file} and {result.table_file}")
    for name, reason in result.failed.items():
        print(f"no result: {name}: {reason}")
    return 1 if result.failed else 0
