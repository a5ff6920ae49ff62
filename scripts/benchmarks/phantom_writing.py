"""Measure the time and memory of writing the phantom (about ten minutes).

    python scripts/benchmarks/phantom_writing.py

Runs `biomedjourney phantom` for tables of MIMIC-CXR-JPG's length and for a cohort of 5,000 patients at 256 px, and
observes the command with all its processes. The bar on time is wall-clock time on an idle machine; processor time is
printed too. Memory is the proportional set size (PSS), swapped pages included, so that what processes share counts
once. The files are removed at the end. The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

TABLES_BAR_SECONDS = 60.0
MEMORY_BAR_MIB = 2048.0
WATCH_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Cost:
    """What one command took."""

    seconds: float
    processor_seconds: float
    peak_mib: float
    images: int


def main() -> None:
    """Run both commands, print, and say whether the bars are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=377_110, help="rows of the tables (default 377110)")
    parser.add_argument("--patients", type=int, default=5000, help="patients of the cohort; 0 leaves it out")
    parser.add_argument("--size", type=int, default=256, help="pixels per side (default 256)")
    parser.add_argument("--processes", type=int, default=psutil.cpu_count(), help="default: all cores")
    parser.add_argument("--within", metavar="DIR", help="a folder on a disk with room (5,000 patients: 300 MB)")
    args = parser.parse_args()
    figures, bars = {}, {}
    common = ("--seed", "1", "--processes", str(args.processes))
    tables = watch(("--tables-only", "--images", str(args.images), *common), within=args.within)
    figures |= {"tables_images": tables.images, "tables_seconds": tables.seconds}
    figures |= {"tables_processor_seconds": tables.processor_seconds, "tables_peak_mib": tables.peak_mib}
    bars["tables in under a minute"] = tables.seconds < TABLES_BAR_SECONDS
    if args.patients:
        asked = ("--patients", str(args.patients), "--size", str(args.size), "--truth", *common)
        cohort = watch(asked, within=args.within)
        figures |= {"cohort_images": cohort.images, "cohort_seconds": cohort.seconds}
        figures |= {"cohort_processor_seconds": cohort.processor_seconds, "cohort_peak_mib": cohort.peak_mib}
        figures |= {"cohort_images_per_processor_second": cohort.images / cohort.processor_seconds}
        bars["a cohort in 2 GB of memory"] = cohort.peak_mib < MEMORY_BAR_MIB
    figures["processes"] = args.processes
    for name, value in figures.items():
        print(f"{name:36s} {value:12,.1f}")
    print(json.dumps({"figures": {k: round(v, 2) for k, v in figures.items()}, "bars": bars}))


def watch(arguments: tuple[str, ...], *, within: str | None) -> Cost:
    """Run `biomedjourney phantom` with these arguments into a temporary folder.

    Raises:
        RuntimeError: if the command fails.
    """
    with tempfile.TemporaryDirectory(dir=within) as folder:
        command = [
            sys.executable,
            "-m",
            "biomedjourney_monai.cli.main",
            "phantom",
            "--out",
            str(Path(folder) / "cohort"),
        ]
        started, used, peak = time.perf_counter(), processor_seconds(), 0.0
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)
        while process.poll() is None:
            peak = max(peak, memory_mib(process.pid))
            time.sleep(WATCH_EVERY_SECONDS)
        seconds = time.perf_counter() - started
        said = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"the command ended with status {process.returncode}")
    return Cost(seconds, processor_seconds() - used, peak, int(re.search(r"(\d+) images", said).group(1)))


def processor_seconds() -> float:
    """Return the processor time of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory_mib(pid: int) -> float:
    """Return the proportional set size of a process and all its children, swapped pages included."""
    total = 0
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return 0.0
    for process in family:
        try:
            memory = process.memory_full_info()
            total += memory.pss + memory.swap
        except psutil.Error:  # it has just ended
            continue
    return total / 2**20


if __name__ == "__main__":
    main()
