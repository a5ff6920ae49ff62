"""Write a model as a diffusers folder: UNet, autoencoder and scheduler, as safetensors with their configs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.networks.schedulers import Scheduler
from torch import nn

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.files import write_json, written_atomically
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.denoiser import Denoiser
from biomedjourney_monai.networks.distilled import Distilled
from biomedjourney_monai.networks.weights.configured import build_networks
from biomedjourney_monai.networks.weights.formats import diffusers, diffusers_config
from biomedjourney_monai.networks.weights.formats.channels import to_colour
from biomedjourney_monai.networks.weights.formats.renaming import StateDict
from biomedjourney_monai.networks.weights.geometry import geometry_of, require_same_geometry
from biomedjourney_monai.networks.weights.model_file import load_model, load_tensors
from biomedjourney_monai.output_check import refuse_unwritable

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"


def export_weights(
    file: str | Path,
    out: str | Path,
    *,
    model: ModelConfig | None = None,
    text_width: int | None = None,
    colour: bool = False,
    half: bool = False,
    progress: Callable[[str], object] = lambda line: None,
) -> Path:
    """Write a model file as a diffusers folder.

    Args:
        file: model file that training or `import_weights` wrote.
        out: new folder.
        model, text_width: the networks of the file; see `build_networks`.
        colour, half: see `write_diffusers`.
        progress: called with a line before each slow step.

    Returns:
        The folder.

    Raises:
        ConfigError: if the configuration cannot be used.
        WeightsError: if the file does not fit the networks, or diffusers cannot compute what the model does.
    """
    file, folder = Path(file), Path(out)
    refuse_unwritable(folder, folder=True)
    progress("reading ...")  # at full size this and writing take half a minute
    state, info = load_tensors(file)
    if Distilled.of(info) is not None:
        rule, found = (
            f"{file.name} must be a teacher; diffusers' UNet takes no guidance scales",
            "a student of few steps",
        )
        raise WeightsError(rule, found=found, action="Export the model that finetune wrote")
    networks = build_networks(model, text_width=text_width, empty=False)
    require_same_geometry(info, geometry_of(**networks.parts()), file=file.name)
    load_model({"autoencoder": networks.autoencoder, "denoiser": networks.denoiser}, state, file=file.name)
    progress("writing ...")
    write_diffusers(
        folder,
        denoiser=networks.denoiser,
        autoencoder=networks.autoencoder,
        noise_scheduler=networks.noise_scheduler,
        colour=colour,
        half=half,
    )
    return folder


def write_diffusers(
    folder: str | Path,
    *,
    denoiser: Denoiser,
    autoencoder: nn.Module,
    noise_scheduler: Scheduler,
    colour: bool = False,
    half: bool = False,
) -> None:
    """Write the folder, whole or not at all.

    The denoiser's text projection becomes the UNet's own `encoder_hid_proj`, so that the UNet takes token states.

    Args:
        folder: must not exist, or be empty.
        denoiser: without `prior_expectation` and `residual_to_prior`, which diffusers' UNet does not have.
        autoencoder: a `StableDiffusionAutoencoder`.
        noise_scheduler: gives `betas` and `prediction_type`.
        colour: give an autoencoder of grey images three equal channels.
        half: store float16.

    Raises:
        WeightsError: if the folder is not empty, diffusers cannot compute what the model does, or a weight is too large
            for float16.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WeightsError("--out must be a new or empty folder", found="one with files in it", action="Pass another")
    unet_config = diffusers_config.unet_config(denoiser.geometry)
    geometry = dict(getattr(autoencoder, "geometry", {"class": type(autoencoder).__name__}))
    state = dict(autoencoder.state_dict())
    if colour and geometry.get("in_channels") == 1:
        state, geometry = to_colour(state), {**geometry, "in_channels": 3, "out_channels": 3}
    vae_config = diffusers_config.autoencoder_config(geometry, scale_factor=float(denoiser.scale_factor))
    scheduler = diffusers_config.scheduler_config(
        noise_scheduler.betas.tolist(), prediction_type=str(noise_scheduler.prediction_type)
    )
    vae = diffusers.autoencoder_to_diffusers(
        state, levels=len(geometry["channels"]), num_res_blocks=geometry["num_res_blocks"]
    )
    unet = diffusers.denoiser_to_diffusers(denoiser.state_dict())
    with written_atomically(folder, public=True) as temporary:
        _write_network(temporary / "unet", unet_config, unet, half=half)
        _write_network(temporary / "vae", vae_config, vae, half=half)
        write_json(temporary / "scheduler" / "scheduler_config.json", scheduler, public=True)


def _write_network(folder: Path, config: Mapping[str, Any], state: StateDict, *, half: bool) -> None:
    from safetensors.torch import save_file

    tensors = {name: _stored(name, value, half=half) for name, value in state.items()}
    write_json(folder / "config.json", config, public=True)
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})


def _stored(name: str, value: torch.Tensor, *, half: bool) -> torch.Tensor:
    tensor = value.detach().cpu()
    narrow = tensor.half() if half else tensor
    if half and not torch.equal(narrow.isfinite(), tensor.isfinite()):
        raise WeightsError(f"weight {name} must fit float16", found=f"{tensor.abs().max():.3g}", action="Drop --half")
    return narrow.contiguous()
