"""Average one ablation over its training seeds: every cell, and the effect of every switch.

    python scripts/average_seeds.py switches-0 switches-1 switches-2 --csv switches.csv

Each folder is one of `biomedjourney ablation`, of one configuration with another seed. Prints two Markdown tables: each
cell's mean over the seeds, with the lowest and highest; and the mean of each switch's paired effect, with every seed's
own, which is marked * where its interval over patients is clear of zero.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas

from biomedjourney_monai.errors import BiomedJourneyError, TableError
from biomedjourney_monai.files import read_json, written_atomically

SHOWN = {"pathology_auroc": "findings", "changed_auroc": "changed findings", "race_auroc": "group", "age_r": "age r"}
SHOWN |= {"dice_reference": "Dice", "cmig": "CMIG"}
FILE = "ablation.json"


def read_ablations(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The numbers of each folder.

    Raises:
        TableError: if one is not finished, differs from the first in more than the seed, or has its seed.
    """
    found = [read_json(folder / FILE, made_by="ablation") for folder in folders]
    for folder, ablation in zip(folders, found):
        if any("cmig" not in cell.get("metrics", {}) for cell in ablation["cells"]):
            raise TableError("every cell must be finished", found=f"an open cell in {folder.name}")
        if {**ablation["settings"], "seed": 0} != {**found[0]["settings"], "seed": 0}:
            raise TableError("all folders must be of one configuration", found=f"other settings in {folder.name}")
    if len({ablation["settings"]["seed"] for ablation in found}) < len(found):
        raise TableError("every folder must have a seed of its own", found="the same seed twice")
    return found


def rows_of(ablations: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """One row for each seed, cell or switch, and metric: kind, name, seed, metric, value, low, high."""
    rows = []
    for ablation in ablations:
        named = [("cell", cell["name"], cell["metrics"]) for cell in ablation["cells"]]
        named += [("baseline", name, metrics) for name, metrics in ablation["baselines"].items()]
        named += [
            ("switch", f"{effect['axis']}: {effect['from']} → {effect['to']}", effect["metrics"])
            for effect in ablation["effects"]
        ]
        for kind, name, metrics in named:
            for metric in SHOWN:
                if metrics.get(metric, {}).get("value") is not None:
                    numbers = {key: metrics[metric][key] for key in ("value", "low", "high")}
                    rows.append(
                        {"kind": kind, "name": name, "seed": ablation["settings"]["seed"], "metric": metric, **numbers}
                    )
    return pandas.DataFrame(rows)


def spread(rows: pandas.DataFrame) -> str:
    """Mean, lowest and highest over the seeds."""
    return f"{rows['value'].mean():.3f} ({rows['value'].min():.3f} to {rows['value'].max():.3f})"


def effects(rows: pandas.DataFrame) -> str:
    """The mean, and each seed's effect."""
    own = [f"{row.value:+.3f}{'*' if row.low > 0 or row.high < 0 else ''}" for row in rows.itertuples()]
    return f"{rows['value'].mean():+.3f} ({', '.join(own)})"


def markdown(rows: pandas.DataFrame, kinds: Iterable[str], cell: Callable[[pandas.DataFrame], str]) -> str:
    """A table with a line for each name of these kinds, and a column for each metric that they have."""
    of = rows[rows["kind"].isin(list(kinds))]
    metrics = [metric for metric in SHOWN if (of["metric"] == metric).any()]
    lines = [["", *(SHOWN[metric] for metric in metrics)], ["---"] * (1 + len(metrics))]
    for name, own in of.groupby("name", sort=False):
        lines.append([str(name), *(cell(own[own["metric"] == metric]) for metric in metrics)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Read, average and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="folders of the ablations, one for each seed")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write every seed's numbers, with intervals")
    arguments = parser.parse_args(argv)
    try:
        ablations = read_ablations(arguments.folders)
        rows = rows_of(ablations)
        print(markdown(rows, ("cell", "baseline"), spread), markdown(rows, ("switch",), effects), sep="\n\n")
        if arguments.csv is not None:
            with written_atomically(arguments.csv) as temporary:
                rows.to_csv(temporary, index=False, float_format="%.3f", lineterminator="\n")
    except BiomedJourneyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    first = ablations[0]
    print(f"\n{len(ablations)} seeds, {first['journeys']} journeys of {first['patients']} patients in the first")
    return 0


if __name__ == "__main__":
    sys.exit(main())
