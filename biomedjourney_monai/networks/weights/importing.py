"""Turn a model of another project into a model file of this package, tensor for tensor."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.files import file_hash
from biomedjourney_monai.model_config import ModelConfig
from biomedjourney_monai.networks.weights.configured import ConfiguredNetworks, build_networks
from biomedjourney_monai.networks.weights.foreign_models import READERS, ForeignModel
from biomedjourney_monai.networks.weights.formats.channels import DENOISER_INPUT, IMAGE_INPUT, to_grey, widen_input
from biomedjourney_monai.networks.weights.formats.renaming import StateDict
from biomedjourney_monai.networks.weights.geometry import HASH_KEY, geometry_differences, geometry_facts, geometry_of
from biomedjourney_monai.networks.weights.model_file import UnfitWeightsError, require_finite, require_fit, save_tensors
from biomedjourney_monai.networks.weights.trained_size import IMAGE_SIZE_KEY
from biomedjourney_monai.output_check import refuse_inputs, refuse_unwritable

TEXT_PROJECTIONS = ("random", "identity")


@dataclass(frozen=True)
class ImportedWeights:
    """The model file, what it holds, the hash of its configuration, and what was added, changed or left out."""

    file: Path
    tensors: int
    numbers: int
    scale_factor: float
    config_hash: str
    remarks: list[str]


def import_weights(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    source_format: str,
    model: ModelConfig | None = None,
    text_width: int | None = None,
    averaged: bool = True,
    text_projection: str = "random",
    seed: int = 0,
    half: bool = False,
    progress: Callable[[str], object] = lambda line: None,
) -> ImportedWeights:
    """Read a model of another project and write it as a model file. Nothing in a source is executed.

    Args:
        sources: one file or folder, or two.
        out: model file to write.
        source_format: "compvis", "diffusers" or "monai-generative".
        model, text_width: the networks to write it for; see `build_networks`.
        averaged: take CompVis' averaged weights where there are any.
        text_projection, seed: how the projection of the token states starts; see `fit_model`.
        half: store float16; False stores what the source does.
        progress: called with a line before each slow step.

    Raises:
        ConfigError: if the configuration cannot be used.
        WeightsError: if the source cannot be read or does not fit the networks tensor for tensor.
    """
    out, paths = Path(out), [Path(source) for source in sources]
    if out.is_dir():
        raise WeightsError("--out must be a file", found="a folder", action="Name the model file, e.g. sd15.pt")
    for path in paths:
        refuse_inputs([out], {"a source": path})
    refuse_unwritable(out)
    if source_format not in READERS:
        raise WeightsError(f"a format must be one of {', '.join(READERS)}", found=source_format)
    networks = build_networks(model, text_width=text_width, empty=True)
    progress(f"reading {source_format} weights ...")  # at full size this and writing take half a minute
    projection = any(name.endswith(".attn.out_proj.weight") for name in networks.autoencoder.state_dict())
    foreign = READERS[source_format](paths, averaged=averaged, with_projection=projection)
    state, remarks = fit_model(foreign, networks, text_projection=text_projection, seed=seed)
    remarks = [*foreign.remarks, *remarks]
    info: dict[str, Any] = {
        **geometry_facts(**networks.parts()),
        "scale_factor": float(state["denoiser.scale_factor"]),
        IMAGE_SIZE_KEY: networks.image_size,
        "imported": {"format": source_format, "files": _hashes(paths), "remarks": remarks},
    }
    progress("writing ...")
    save_tensors(out, state, info=info, half=half)
    numbers = sum(value.numel() for value in state.values())
    return ImportedWeights(out, len(state), numbers, info["scale_factor"], info[HASH_KEY], remarks)


def _hashes(sources: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of each file that was given, and of each weights file in a folder that was given."""
    files = {}
    for source in sources:
        inside = sorted(path for kind in ("safetensors", "bin") for path in source.rglob(f"diffusion_*.{kind}"))
        for path in [source] if source.is_file() else inside:
            files[path.name if path == source else path.relative_to(source).as_posix()] = file_hash(path)
    return files


def fit_model(
    model: ForeignModel, networks: ConfiguredNetworks, *, text_projection: str = "random", seed: int = 0
) -> tuple[StateDict, list[str]]:
    """Add to a foreign model what only our networks have, and check that it fits them tensor for tensor.

    Args:
        model: the foreign model.
        networks: ours; the denoiser may be on the meta device. The noise scheduler is compared with the model's own
            where that is known, and the scale factor is for a model that has none.
        text_projection: how to start the projection of the token states, which Stable Diffusion does not have: `random`
            (uniform, as torch starts a linear layer) or `identity` (needs equal widths; the model then reads token
            states as they are).
        seed: of the random projection.

    Returns:
        Tensors of a model file, named `autoencoder.*` and `denoiser.*`, and sentences on what was added or changed.

    Raises:
        UnfitWeightsError: if tensors are missing, surplus or of another shape; it names all of them.
        WeightsError: if the model has another geometry or noise schedule, or contains NaN or infinity.
    """
    denoiser, autoencoder = networks.denoiser, networks.autoencoder
    remarks: list[str] = []
    _require_geometry(model, networks)
    state = {"scale_factor": torch.tensor(model.scale_factor or networks.scale_factor), **model.denoiser}
    if DENOISER_INPUT in state:
        given = state[DENOISER_INPUT].shape
        state = widen_input(state, in_channels=2 * denoiser.latent_channels)
        if given[1] < 2 * denoiser.latent_channels:
            remarks.append(f"widened the denoiser's input from {given[1]} to {2 * given[1]} channels with zeros")
    if any(name.startswith("text_projection.") for name in state):
        remarks.append("kept the source's own text projection")
    else:
        state |= _start_projection(denoiser.text_projection, kind=text_projection, seed=seed)
        remarks.append(
            f"started the text projection, which the source does not have, as {text_projection}"
            + (f" with seed {seed}" if text_projection == "random" else "")
        )
    first_stage = model.autoencoder
    if _takes(autoencoder.state_dict(), channels=1) and _takes(first_stage, channels=3):
        first_stage = to_grey(first_stage)
        remarks.append("folded the autoencoder's three image channels into one, which is exact for grey images")
    state = {f"denoiser.{name}": value for name, value in state.items()}
    state |= {f"autoencoder.{name}": value for name, value in first_stage.items()}
    own = {f"denoiser.{name}": value for name, value in denoiser.state_dict().items()}
    own |= {f"autoencoder.{name}": value for name, value in autoencoder.state_dict().items()}
    _require_all(state, own, model.surplus)
    require_finite(state, source="the source's weights")
    return state, remarks


def _require_geometry(model: ForeignModel, networks: ConfiguredNetworks) -> None:
    expected = geometry_of(**networks.parts())
    shared = {
        part: {key: value for key, value in expected[part].items() if key in facts} | {"class": ""}
        for part, facts in model.geometry.items()
    }
    differences = geometry_differences({part: {**facts, "class": ""} for part, facts in model.geometry.items()}, shared)
    if differences:
        raise WeightsError(
            "the source and the configuration must describe one model",
            found="; ".join(differences),
            action="Pass an overlay with the source's numbers, e.g. --overlay bundle/configs/sd15.yaml",
        )


def _require_all(state: StateDict, own: dict[str, Tensor], surplus: list[str]) -> None:
    faults: dict[str, list[str]] = {}
    try:
        require_fit(state, own, network="the configured model")
    except UnfitWeightsError as error:
        faults = error.by_fault
    if surplus:
        unknown = [f"{name} (of no known kind)" for name in surplus]
        faults = {**faults, "surplus": [*faults.get("surplus", []), *unknown]}
    if faults:
        raise UnfitWeightsError("the configured model", faults)


def _start_projection(projection: nn.Linear, *, kind: str, seed: int) -> dict[str, Tensor]:
    width, text_width = projection.weight.shape
    if kind == "identity":
        if width != text_width:
            raise WeightsError(
                "an identity text projection needs token states as wide as the UNet's cross-attention",
                found=f"{text_width} and {width}",
                action="Pass --text-projection random",
            )
        return {"text_projection.weight": torch.eye(width), "text_projection.bias": torch.zeros(width)}
    if kind != "random":
        raise WeightsError(f"a text projection must start as one of {', '.join(TEXT_PROJECTIONS)}", found=kind)
    generator, bound = torch.Generator().manual_seed(seed), text_width**-0.5
    return {
        f"text_projection.{name}": torch.empty(shape).uniform_(-bound, bound, generator=generator)
        for name, shape in (("weight", (width, text_width)), ("bias", (width,)))
    }


def _takes(autoencoder: Mapping[str, Tensor], *, channels: int) -> bool:
    """Whether an autoencoder's tensors are for images of so many channels."""
    weight = autoencoder.get(IMAGE_INPUT)
    return weight is not None and weight.ndim == 4 and weight.shape[1] == channels
