"""Run every stage once on a small rendered cohort, and print where the report is.

No data, no GPU and no download are needed: patients are rendered, both training stages run for a few steps only, as an
example, and the shipped weights make and score the counterfactuals.
"""

import argparse
import shutil
import time
from pathlib import Path

from biomedjourney_monai.cli import main as command
from biomedjourney_monai.errors import BiomedJourneyError, ConfigError, require_extra
from biomedjourney_monai.files import make_folder
from biomedjourney_monai.model_config import ModelConfig

EXAMPLE = "biomedjourney demo --work demo"
MARKER = ".biomedjourney-demo"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--work", default="demo", metavar="DIR", help="folder for everything (default: demo)")
    parser.add_argument("--patients", type=int, default=400, metavar="N", help="patients to render (default: 400)")
    parser.add_argument("--seed", type=int, default=7, help="of the cohort and the samples (default: 7)")
    parser.add_argument("--training-steps", type=int, default=3, metavar="N", help="per training stage (default: 3)")
    parser.add_argument("--bundle", metavar="DIR", help="the bundle's folder (default: the installed one)")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    require_extra("train")
    if arguments.training_steps < 1:
        raise ConfigError("--training-steps must be >= 1", found=str(arguments.training_steps))
    work = Path(arguments.work)
    _make_folder(work)
    for line in stages(arguments):
        print(f"\n── biomedjourney {' '.join(line)} ──", flush=True)
        started = time.perf_counter()
        status = command.main(line)
        if status:
            return status
        print(f"   {time.perf_counter() - started:.0f} s", flush=True)
    print(f"\nThe report: {(work / 'report' / 'index.html').resolve()}")
    return 0


def stages(arguments: argparse.Namespace) -> list[list[str]]:
    """The command lines of the stages, as a user would type them after `biomedjourney`."""
    model = ModelConfig.find(arguments.bundle)
    work, bundle = str(arguments.work), str(model.bundle)
    cohort = str(Path(work) / "cohort")
    seed, steps = str(arguments.seed), str(arguments.training_steps)
    few = f"--epoch_length {steps} --pretrain_epochs 1 --finetune_epochs 1 --resume false".split()
    return [
        ["phantom", "--out", cohort, "--patients", str(arguments.patients), "--seed", seed],
        ["cohort", "--source", cohort, "--work", work],
        ["journeys", "--work", work],
        ["register", "--work", work],
        ["describe", "--work", work, "--seed", seed],
        ["encode", "--work", work, "--bundle", bundle],
        ["train", "--work", work, "--bundle", bundle, "--", *few],
        ["sample", "--work", work, "--bundle", bundle, "--seed", seed, "--precision", "auto"],
        ["evaluate", "--work", work, "--models", str(model.models)],
        ["report", "--work", work],
    ]


def _make_folder(work: Path) -> None:
    """Start in an empty folder. Only the content of an earlier demo is deleted."""
    if work.exists() and any(work.iterdir()):
        if not (work / MARKER).is_file():
            raise BiomedJourneyError(
                "--work must be a new or empty folder, or an earlier demo's",
                found="other files in it",
                action="Choose another --work",
            )
        shutil.rmtree(work)
    make_folder(work)
    (work / MARKER).touch()
