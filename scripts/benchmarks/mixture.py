"""Measure what a mixture of working folders costs a training step (about ten minutes).

    python scripts/benchmarks/mixture.py --work real --work rendered --work onto

`biomedjourney train --stage finetune` runs with the first folder alone and with all of them, in turns, for a few and
for more iterations, each in a process of its own. The difference of the processor times is that of the steps. Folders
must be encoded alike. The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from biomedjourney_monai.configuration import locate_root


def train(works: list[Path], iterations: int, start: Path) -> tuple[float, float]:
    """Processor time in seconds and peak memory in GB of a training."""
    command = [sys.executable, "-m", "biomedjourney_monai", "train", "--stage", "finetune"]
    for work in works:
        command += ["--work", str(work.resolve())]
    if len(works) > 1:
        command += ["--weights", *[str(1 / len(works))] * len(works)]
    with tempfile.TemporaryDirectory() as folder:
        command += ["--", "--output_dir", folder, "--finetune_epochs", "1", "--epoch_length", str(iterations)]
        command += ["--score_epochs", "0", "--preview_iterations", "0", "--resume", "false", "--start_from", str(start)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the training ended with status {status}; run it alone to see why: {' '.join(command)}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, action="append", required=True, help="encoded working folder; repeat it")
    parser.add_argument("--iterations", type=int, nargs=2, default=(8, 48), help="few and more (default: 8 48)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    parser.add_argument("--start-from", type=Path, help="model file (default: the bundle's)")
    args = parser.parse_args()
    few, more = args.iterations
    start = args.start_from or Path(locate_root(), "models", "model.pt")
    seconds: dict[str, list[float]] = {"one folder": [], "mixture": []}
    memory: dict[str, float] = {}
    for _ in range(args.rounds):
        for name, works in (("one folder", args.work[:1]), ("mixture", args.work)):
            (short, _), (long, peak) = (train(works, iterations, start) for iterations in (few, more))
            seconds[name].append((long - short) / (more - few))
            memory[name] = max(peak, memory.get(name, 0))
            print(f"{name}: {seconds[name][-1]:.3f} s of processor time a step, {peak:.2f} GB")
    ratio = statistics.median(mixed / one for one, mixed in zip(seconds["one folder"], seconds["mixture"]))
    figures = {name: {"s": statistics.median(seconds[name]), "GB": memory[name]} for name in seconds}
    bars = {"a step costs at most 5 % more": ratio <= 1.05, "at most 4 GB": memory["mixture"] <= 4}
    print(json.dumps({"figures": figures | {"ratio": ratio}, "bars": bars}))


if __name__ == "__main__":
    main()
