"""Turn a model of another project into a model file of this one, tensor for tensor.

Sources, by --format:
  compvis            one .ckpt or .safetensors: Stable Diffusion 1.5, InstructPix2Pix
  diffusers          a folder with unet, vae and scheduler in it; or the folders of unet and vae
  monai-generative   two files: a conditional DiffusionModelUNet and an AutoencoderKL of monai-generative 0.2.3

The result holds autoencoder and denoiser; the text encoder stays in its folder. Nothing in a source is executed. Every
tensor must find its place, and every place its tensor; what does not is named.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from biomedjourney_monai.cli.configured_model import add_network_arguments, build_networks

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


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    from biomedjourney_monai.errors import WeightsError
    from biomedjourney_monai.networks.weights.foreign_models import READERS
    from biomedjourney_monai.networks.weights.geometry import GEOMETRY_KEY, HASH_KEY, geometry_hash, geometry_of
    from biomedjourney_monai.networks.weights.importing import fit_model
    from biomedjourney_monai.networks.weights.model_file import UnfitWeightsError, save_tensors
    from biomedjourney_monai.networks.weights.trained_size import IMAGE_SIZE_KEY

    if arguments.out.is_dir():
        raise WeightsError("--out must be a file", found="a folder", action="Name the model file, e.g. sd15.pt")
    networks = build_networks(arguments, empty=True)
    size = networks.pop("image_size")
    print(f"reading {arguments.format} weights ...", flush=True)  # at full size this and writing take half a minute
    projection = any(name.endswith(".attn.out_proj.weight") for name in networks["autoencoder"].state_dict())
    model = READERS[arguments.format](arguments.source, averaged=not arguments.no_ema, with_projection=projection)
    try:
        state, remarks = fit_model(model, **networks, text_projection=arguments.text_projection, seed=arguments.seed)
    except UnfitWeightsError as error:
        print("\n".join(error.faults), file=sys.stderr)
        raise
    remarks = [*model.remarks, *remarks]
    scale_factor = float(state["denoiser.scale_factor"])
    geometry = geometry_of(**{name: part for name, part in networks.items() if name != "scale_factor"})
    info = {
        GEOMETRY_KEY: geometry,
        HASH_KEY: geometry_hash(geometry),
        "scale_factor": scale_factor,
        IMAGE_SIZE_KEY: size,
        "imported": {"format": arguments.format, "files": _hashes(arguments.source), "remarks": remarks},
    }
    print("writing ...", flush=True)
    save_tensors(arguments.out, state, info=info, half=arguments.half)
    print("\n".join(remarks))
    count = sum(value.numel() for value in state.values())
    print(
        f"imported {len(state)} tensors, {count:,} numbers; scale factor {scale_factor:g}; "
        f"configuration {info[HASH_KEY][:12]}; wrote {arguments.out}"
    )
    return 0


def _hashes(sources: list[Path]) -> dict[str, Any]:
    """SHA-256 of each file that was given, or of each weights file in a folder that was given."""
    from biomedjourney_monai.files import file_hash

    files = {}
    for source in sources:
        inside = sorted(path for kind in ("safetensors", "bin") for path in source.rglob(f"diffusion_*.{kind}"))
        for path in [source] if source.is_file() else inside:
            files[path.name if path == source else path.relative_to(source).as_posix()] = file_hash(path)
    return files
