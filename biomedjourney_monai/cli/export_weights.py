"""Write a model file as a diffusers folder: unet, vae and scheduler, as safetensors with their configs.

diffusers reads each of them with from_pretrained(FOLDER, subfolder=...). The UNet takes token states of the text
encoder, since the text projection becomes its encoder_hid_proj. A model that diffusers cannot compute, such as the
small one that is shipped, is refused.
"""

import argparse
from functools import partial
from pathlib import Path

from biomedjourney_monai.cli.arguments import add_network_arguments, pick

EXAMPLE = "biomedjourney export-weights work/runs/finetune/model.pt --out exported --text-width 768"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("model", type=Path, help="model file that training or import-weights wrote")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="new folder")
    add_network_arguments(parser)
    parser.add_argument(
        "--colour", action="store_true", help="give a grey autoencoder three equal channels, as pipelines expect"
    )
    parser.add_argument("--half", action="store_true", help="store float16")


def run(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    from biomedjourney_monai.model_config import ModelConfig
    from biomedjourney_monai.networks.weights.exporting import export_weights

    folder = export_weights(
        arguments.model,
        arguments.out,
        model=ModelConfig.find(arguments.bundle, overlay=arguments.overlay),
        progress=partial(print, flush=True),
        **pick(arguments, "text_width colour half"),
    )
    print(f"wrote {folder}: unet, vae, scheduler")
