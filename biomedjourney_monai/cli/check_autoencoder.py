"""The quality gate of an autoencoder: PSNR and SSIM of its reconstructions, and the judges' AUROC on them.

Scores the real new images of a split's journeys. Exit status 1 if a bar is missed. `train_autoencoder.yaml` prints the
same at its end.
"""

import argparse
from pathlib import Path

from biomedjourney_monai.cli.arguments import add_model_arguments, model_config, pick
from biomedjourney_monai.schema import SPLITS

EXAMPLE = "biomedjourney check-autoencoder --work work --split validate --min-psnr 30"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--work", default="work", metavar="DIR", help="working folder (default: work)")
    parser.add_argument(
        "--autoencoder",
        metavar="FILE",
        help="its weights, alone or in a model file (default: runs/autoencoder.pt of the working folder, else --model)",
    )
    parser.add_argument("--split", choices=SPLITS, default="validate", help="whose images (default: validate)")
    parser.add_argument("--limit", type=int, default=0, help="at most so many images (default: all)")
    parser.add_argument("--min-psnr", type=float, default=30.0, help="bar in dB (default: 30)")
    parser.add_argument("--min-ssim", type=float, default=0.9, help="bar (default: 0.9)")
    parser.add_argument("--max-auroc-drop", type=float, default=0.02, help="bar (default: 0.02)")
    parser.add_argument(
        "--judges", dest="judge_weights", metavar="DIR", help="folder of the judges (default: models of the bundle)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the marks as JSON too")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    from biomedjourney_monai.evaluation.reconstruction import check_autoencoder

    model = model_config(arguments)
    check = check_autoencoder(
        arguments.work,
        autoencoder=arguments.autoencoder or (model.weights if arguments.model else None),
        model=model,
        **pick(arguments, "split limit min_psnr min_ssim max_auroc_drop judge_weights out"),
    )
    print(check.table)
    return 0 if check.passed else 1
