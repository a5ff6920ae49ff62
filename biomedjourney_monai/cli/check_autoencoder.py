"""The quality gate of an autoencoder: PSNR and SSIM of its reconstructions, and the judges' AUROC on them.

Looks at the real new images of a split's journeys. Exit status 1 if a bar is missed. `train_autoencoder.yaml` prints
the same at its end.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedjourney_monai.cli.bundle_model import add_model_arguments, bundle_folder, compose_networks, model_file
from biomedjourney_monai.schema import SPLITS

if TYPE_CHECKING:
    from biomedjourney_monai.evaluation.reconstruction import ReconstructionMarks

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
    parser.add_argument("--judges", metavar="DIR", help="folder of the judges (default: models of the bundle)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the marks as JSON too")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, judge."""
    import torch

    from biomedjourney_monai.evaluation.judges.loading import load_judges
    from biomedjourney_monai.evaluation.reconstruction import QualityGate
    from biomedjourney_monai.networks.autoencoder import reconstruct
    from biomedjourney_monai.networks.weights.model_file import weights_hash
    from biomedjourney_monai.training.first_stage import load_autoencoder

    file = _weights_file(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    autoencoder = compose_networks(arguments).get_parsed_content("autoencoder").eval().to(device)
    load_autoencoder(autoencoder, file)
    judges = load_judges(arguments.judges or bundle_folder(arguments) / "models", device=device)
    gate = QualityGate(
        work=arguments.work,
        judges=judges,
        split=arguments.split,
        limit=arguments.limit,
        min_psnr=arguments.min_psnr,
        min_ssim=arguments.min_ssim,
        max_auroc_drop=arguments.max_auroc_drop,
    )
    marks = gate.measure(lambda images: reconstruct(autoencoder, images))
    print(gate.table(marks))
    verdict = gate.verdict(marks)
    if arguments.out:
        _write(arguments.out, marks, verdict, {"autoencoder": weights_hash(file), "judges": judges.provenance()})
    return 0 if all(verdict.values()) else 1


def _weights_file(arguments: argparse.Namespace) -> Path:
    trained = Path(arguments.work) / "runs" / "autoencoder.pt"
    if arguments.autoencoder:
        return Path(arguments.autoencoder)
    return trained if trained.is_file() and not arguments.model else model_file(arguments)


def _write(path: Path, marks: ReconstructionMarks, verdict: dict[str, bool], provenance: dict[str, Any]) -> None:
    from biomedjourney_monai.files import write_json

    write_json(path, {**marks.as_dict(), "bars": verdict, **provenance})
