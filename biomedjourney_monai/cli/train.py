"""Train the model on the latent cache: pretrain with the dummy prior, then finetune on triples.

The same as `python -m monai.bundle run training --config_file BUNDLE/configs/train.yaml`; everything after `--` goes
to that command as it is, e.g. `-- --learning_rate 5e-4`. The same command resumes an interrupted training.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from biomedjourney_monai.cli.bundle_model import add_text_encoder_argument, bundle_folder
from biomedjourney_monai.errors import ConfigError

EXAMPLE = (
    "biomedjourney train --work work --stage finetune -- --finetune_epochs 10\n"
    "  biomedjourney train --work work --overlay bundle/configs/sd15.yaml bundle/configs/gpu24.yaml"
)
OVERLAYS = {"both": [], "pretrain": ["pretrain.yaml"], "finetune": ["finetune.yaml"], "autoencoder": []}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--work", default="work", metavar="DIR", help="working folder (default: work)")
    parser.add_argument("--bundle", metavar="DIR", help="the bundle's folder (default: found from here)")
    parser.add_argument(
        "--overlay",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="configs laid over train.yaml, each over those before it, e.g. configs/sd15.yaml of the bundle",
    )
    add_text_encoder_argument(parser)
    parser.add_argument("--stage", choices=list(OVERLAYS), default="both", help="what to train (default: both)")
    parser.add_argument("overrides", nargs="*", metavar="-- --KEY VALUE", help="overrides of the config's keys")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    configs = bundle_folder(arguments) / "configs"
    if not Path(arguments.work).is_dir():
        raise ConfigError(
            "--work must be a working folder", found="no such folder", action="Run the stages before training first"
        )
    for name in arguments.overlay:
        if not Path(name).is_file():
            raise ConfigError("--overlay must name config files", found=f"no file {name}", action="Check the path")
    first = "train_autoencoder.yaml" if arguments.stage == "autoencoder" else "train.yaml"
    files = [str(configs / name) for name in [first, *OVERLAYS[arguments.stage]]]
    files += [str(Path(name).resolve()) for name in arguments.overlay]
    listed = files[0] if len(files) == 1 else "[" + ",".join(f"'{name}'" for name in files) + "]"
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", listed]
    if arguments.text_encoder and arguments.stage != "autoencoder":
        command += ["--text_encoder_dir", arguments.text_encoder]
    return subprocess.call([*command, "--dataset_dir", arguments.work, *arguments.overrides])
