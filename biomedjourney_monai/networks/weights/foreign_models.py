"""Models of other projects, read under the names of our networks, with what their files say about themselves."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.weights.formats import compvis, diffusers, diffusers_config, monai_generative
from biomedjourney_monai.networks.weights.formats.renaming import StateDict
from biomedjourney_monai.networks.weights.geometry import signal_facts
from biomedjourney_monai.networks.weights.tensor_files import read_tensor_file

SCALE_FACTOR = 0.18215
"""The latent multiplier of Stable Diffusion 1.x, a constant of its configuration (v1-inference.yaml)."""
WEIGHTS_FILES = tuple(
    f"diffusion_pytorch_model.{kind}" for kind in ("safetensors", "fp16.safetensors", "bin", "fp16.bin")
)


@dataclass(frozen=True)
class ForeignModel:
    """A model under our names, not yet fitted to our networks.

    Args:
        denoiser: tensors of the denoiser.
        autoencoder: tensors of the autoencoder.
        geometry: what the source states about itself, by part.
        scale_factor: the latent multiplier, if the source states one.
        surplus: names in the source of no known kind.
        remarks: sentences on what was used and what was set aside.
    """

    denoiser: StateDict
    autoencoder: StateDict
    geometry: dict[str, dict[str, Any]] = field(default_factory=dict)
    scale_factor: float | None = None
    surplus: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_compvis(sources: Sequence[Path], *, averaged: bool = True, **_: Any) -> ForeignModel:
    """Read one checkpoint of Stable Diffusion 1.5 or InstructPix2Pix, `.ckpt` or `.safetensors`."""
    if len(sources) != 1:
        raise WeightsError("a CompVis model must be one file", found=f"{len(sources)} sources")
    parts = compvis.take_apart(read_tensor_file(sources[0]), averaged=averaged)
    for name, state, prefix in (
        ("UNet", parts.unet, compvis.UNET_PREFIX),
        ("autoencoder", parts.autoencoder, compvis.AUTOENCODER_PREFIX),
    ):
        if not state:
            raise WeightsError(
                f"a CompVis checkpoint must contain {prefix}*, the {name}",
                found=f"none, and {len(parts.surplus)} tensors of no known kind" if parts.surplus else "none",
                action="Check --format, and that the file contains a whole model",
            )
    remarks = [f"took the UNet's {'averaged' if parts.averaged else 'plain'} weights"]
    remarks += [f"set aside {count} tensors: {kind}" for kind, count in parts.set_aside.items()]
    geometry = {"noise_scheduler": signal_facts(parts.signal, "epsilon")} if parts.signal is not None else {}
    return ForeignModel(
        denoiser=diffusers.denoiser_from_diffusers(compvis.unet_to_diffusers(parts.unet)),
        autoencoder=diffusers.autoencoder_from_diffusers(compvis.autoencoder_to_diffusers(parts.autoencoder)),
        geometry=geometry,
        scale_factor=SCALE_FACTOR if parts.scale_factor is None else parts.scale_factor,
        surplus=parts.surplus,
        remarks=remarks,
    )


def read_diffusers(sources: Sequence[Path], **_: Any) -> ForeignModel:
    """Read a diffusers folder with `unet` and `vae` (and `scheduler`) in it, or the folders of the two themselves."""
    unet, unet_config = _read_part(sources, "unet", "UNet2DConditionModel")
    vae, vae_config = _read_part(sources, "vae", "AutoencoderKL")
    geometry = {
        "denoiser": diffusers_config.denoiser_geometry(unet_config),
        "autoencoder": diffusers_config.autoencoder_geometry(vae_config),
    }
    remarks = []
    schedulers = [path for source in sources if (path := source / "scheduler" / "scheduler_config.json").is_file()]
    if schedulers:
        config = _read_config(schedulers[0])
        signal = diffusers_config.scheduler_signal(config)
        geometry["noise_scheduler"] = signal_facts(signal, config.get("prediction_type", "epsilon"))
    else:
        remarks.append("no scheduler in the source: the noise schedule was not compared")
    return ForeignModel(
        denoiser=diffusers.denoiser_from_diffusers(unet),
        autoencoder=diffusers.autoencoder_from_diffusers(vae),
        geometry=geometry,
        scale_factor=float(vae_config.get("scaling_factor", SCALE_FACTOR)),
        remarks=remarks,
    )


def read_generative(sources: Sequence[Path], *, with_projection: bool = False, **_: Any) -> ForeignModel:
    """Read the checkpoints of a conditional UNet and of an autoencoder of monai-generative 0.2.3, in any order.

    Args:
        sources: the two files.
        with_projection: whether the attention of our autoencoder has an output projection (`include_fc`).
    """
    states = [read_tensor_file(source) for source in sources]
    autoencoders = [state for state in states if monai_generative.is_autoencoder(state)]
    denoisers = [state for state in states if not monai_generative.is_autoencoder(state)]
    if len(autoencoders) != 1 or len(denoisers) != 1:
        raise WeightsError(
            "a model of monai-generative must be two files, one UNet and one autoencoder",
            found=f"{len(denoisers)} and {len(autoencoders)}",
            action="Pass both files, in any order",
        )
    autoencoder, set_aside = monai_generative.autoencoder_from_generative(
        autoencoders[0], with_projection=with_projection
    )
    remarks = ["heads, groups and epsilons, which the files do not show, are the configuration's"]
    if set_aside:
        remarks.append(f"set aside {len(set_aside)} tensors: attention projections that the source never applied")
    return ForeignModel(monai_generative.denoiser_from_generative(denoisers[0]), autoencoder, remarks=remarks)


READERS: dict[str, Callable[..., ForeignModel]] = {
    "compvis": read_compvis,
    "diffusers": read_diffusers,
    "monai-generative": read_generative,
}


def _read_part(sources: Sequence[Path], subfolder: str, network: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and config of one network, from its subfolder or its own folder."""
    for folder in [*(source / subfolder for source in sources), *sources]:
        if not (folder / "config.json").is_file():
            continue
        config = _read_config(folder / "config.json")
        if config.get("_class_name") != network and folder in sources:
            continue
        files = [folder / name for name in WEIGHTS_FILES if (folder / name).is_file()]
        if not files:
            raise WeightsError(
                f"the folder of {network} must contain its weights as one file",
                found=f"none of {', '.join(WEIGHTS_FILES)}",
                action="Save it with save_pretrained(..., max_shard_size='10GB') if it is in shards",
            )
        return read_tensor_file(files[0]), config
    raise WeightsError(
        f"a diffusers model must have a folder {subfolder} with the config.json of a {network}",
        found="none in the source",
        action="Pass the folder that holds unet and vae, or these two",
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path.name} must contain a JSON object", found=type(error).__name__) from error
    return config
