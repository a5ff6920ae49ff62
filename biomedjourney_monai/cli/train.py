"""Train the model on the latent cache: pretrain with the dummy prior, then finetune on triples.

The same as `python -m monai.bundle run training --config_file BUNDLE/configs/train.yaml`; arguments after `--` are
passed to that command unchanged, e.g. `-- --learning_rate 5e-4`. The same command resumes an interrupted training.
"""

import argparse

from biomedjourney_monai.cli.arguments import add_text_encoder_argument, add_works_argument

EXAMPLE = (
    "biomedjourney train --work work --stage finetune -- --finetune_epochs 10\n"
    "  biomedjourney train --work work --stage distill -- --start_from work/runs/finetune/model.pt\n"
    "  biomedjourney train --work work_real --work work_rendered --weights 0.6 0.4\n"
    "  biomedjourney train --work work --overlay bundle/configs/sd15.yaml bundle/configs/gpu.yaml -- --gpu_memory 24"
)
STAGES = ("both", "pretrain", "finetune", "distill", "autoencoder")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_works_argument(parser)
    parser.add_argument(
        "--weights",
        nargs="+",
        type=float,
        metavar="SHARE",
        help="of each --work in the draws (default: by their numbers of examples)",
    )
    parser.add_argument("--bundle", metavar="DIR", help="the bundle's folder (default: the installed one)")
    parser.add_argument(
        "--overlay",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="configs laid over train.yaml, each over those before it, e.g. configs/sd15.yaml of the bundle",
    )
    add_text_encoder_argument(parser)
    parser.add_argument("--stage", choices=STAGES, default="both", help="what to train (default: both)")
    parser.add_argument("overrides", nargs="*", metavar="-- --KEY VALUE", help="overrides of the config's keys")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status of the training."""
    from biomedjourney_monai.training.run import TrainingFailedError, train

    try:
        train(
            arguments.work or "work",
            weights=arguments.weights,
            stage=arguments.stage,
            bundle=arguments.bundle,
            overlays=arguments.overlay,
            text_encoder=arguments.text_encoder,
            overrides=arguments.overrides,
        )
    except TrainingFailedError as error:
        return error.status
    return 0
