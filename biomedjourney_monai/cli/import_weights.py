"""Turn a model of another project into a model file of this package, tensor for tensor.

Sources, by --format:
  compvis            one .ckpt or .safetensors: Stable Diffusion 1.5, InstructPix2Pix
  diffusers          a folder that contains unet, vae and scheduler; or the folders of unet and vae
  monai-generative   two files: a conditional DiffusionModelUNet and an AutoencoderKL of monai-generative 0.2.3

The result holds autoencoder and denoiser; the text encoder stays in its folder. Nothing in a source is executed.
Tensors that are missing or left over are an error, which names them.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from biomedjourney_monai.cli.arguments import add_network_arguments, model_config, pick

EXAMPLE = "biomedjourney import-weights --format compvis v1-5-pruned.safetensors --out sd15.pt --text-width 768"
FORMATS = ("compvis", "diffusers", "monai-generative")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("source", nargs="+", type=Path, help="file or folder, or two of them")
    parser.add_argument("--format", required=True, choices=FORMATS, help="where the source comes from")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="model file to write")
    add_network_arguments(parser)
    parser.add_argument("--no-ema", action="store_true", help="compvis: take the weights that are not averaged")
    parser.add_argument(
        "--text-projection",
        choices=("random", "identity"),
        default="random",
        help="how to start the projection of the token states, which the source lacks; identity suits the text encoder"
        " that the source was trained with (default: random)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random text projection (default: 0)")
    parser.add_argument("--half", action="store_true", help="store float16 (default: as the source does)")


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    from biomedjourney_monai.networks.weights.importing import import_weights
    from biomedjourney_monai.networks.weights.model_file import UnfitWeightsError

    try:
        done = import_weights(
            arguments.source,
            arguments.out,
            source_format=arguments.format,
            model=model_config(arguments),
            averaged=not arguments.no_ema,
            progress=partial(print, flush=True),
            **pick(arguments, "text_width text_projection seed half"),
        )
    except UnfitWeightsError as error:
        print("\n".join(error.faults), file=sys.stderr)
        raise
    print("\n".join(done.remarks))
    print(
        f"imported {done.tensors} tensors, {done.numbers:,} numbers; scale factor {done.scale_factor:g}; "
        f"configuration {done.config_hash[:12]}; wrote {done.file}"
    )
