"""Write a model file as a diffusers folder: unet, vae and scheduler, as safetensors with their configs.

diffusers itself reads each with from_pretrained(FOLDER, subfolder=...). The UNet takes token states of the text
encoder, since the text projection becomes its encoder_hid_proj. A model that diffusers cannot compute, such as the
shipped small one, is refused.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from biomedjourney_monai.cli.configured_model import add_network_arguments, build_networks

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


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    from biomedjourney_monai.networks.weights.exporting import write_diffusers
    from biomedjourney_monai.networks.weights.geometry import geometry_of, require_same_geometry
    from biomedjourney_monai.networks.weights.model_file import load_model, load_tensors

    print("reading ...", flush=True)  # at full size this and writing take half a minute
    state, info = load_tensors(arguments.model)
    networks = build_networks(arguments, empty=False)
    del networks["scale_factor"], networks["image_size"]
    require_same_geometry(info, geometry_of(**networks), file=arguments.model.name)
    parts = {name: networks[name] for name in ("autoencoder", "denoiser")}
    load_model(parts, state, file=arguments.model.name)
    print("writing ...", flush=True)
    write_diffusers(arguments.out, **networks, colour=arguments.colour, half=arguments.half)
    print(f"wrote {arguments.out}: unet, vae, scheduler")
    return 0
