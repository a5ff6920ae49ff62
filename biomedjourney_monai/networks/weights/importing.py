"""Fitting a model of another project to our networks, so that it can be written as a model file."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.denoiser import Denoiser
from biomedjourney_monai.networks.weights.foreign_models import ForeignModel
from biomedjourney_monai.networks.weights.formats.channels import DENOISER_INPUT, IMAGE_INPUT, to_grey, widen_input
from biomedjourney_monai.networks.weights.formats.renaming import StateDict
from biomedjourney_monai.networks.weights.geometry import geometry_differences, geometry_of
from biomedjourney_monai.networks.weights.model_file import UnfitWeightsError, require_finite, require_fit

TEXT_PROJECTIONS = ("random", "identity")


def fit_model(
    model: ForeignModel,
    *,
    denoiser: Denoiser,
    autoencoder: nn.Module,
    noise_scheduler: nn.Module,
    scale_factor: float,
    text_projection: str = "random",
    seed: int = 0,
) -> tuple[StateDict, list[str]]:
    """Give a foreign model what our networks have beyond it, and check that it fits them tensor for tensor.

    Args:
        model: the foreign model.
        denoiser: ours, with any weights; it may be on the meta device.
        autoencoder: ours, likewise.
        noise_scheduler: ours; compared with the model's own where that is known.
        scale_factor: the configured latent multiplier, for a model that fixes none.
        text_projection: how to start the projection of the token states, which Stable Diffusion does not have: `random`
            (uniform, as torch starts a linear layer) or `identity` (needs equal widths; the model then reads token
            states as they are).
        seed: of the random projection.

    Returns:
        Tensors of a model file, named `autoencoder.*` and `denoiser.*`, and sentences on what was added or changed.

    Raises:
        UnfitWeightsError: if tensors are missing, surplus or of another shape; it names all of them.
        WeightsError: if the model says that it is of another geometry or noise schedule, or holds NaN or infinity.
    """
    remarks: list[str] = []
    _require_geometry(model, denoiser=denoiser, autoencoder=autoencoder, noise_scheduler=noise_scheduler)
    state = {"scale_factor": torch.tensor(model.scale_factor or float(scale_factor)), **model.denoiser}
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


def _require_geometry(model: ForeignModel, **parts: nn.Module) -> None:
    expected = geometry_of(**parts)
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
    unknown = [f"{name} (of no known kind)" for name in surplus]
    try:
        require_fit(state, own, network="the configured model")
    except UnfitWeightsError as error:
        raise UnfitWeightsError(error.network, {**error.by_fault, **_more(error, unknown)}) from None
    if unknown:
        raise UnfitWeightsError("the configured model", {"surplus": unknown})


def _more(error: UnfitWeightsError, unknown: list[str]) -> dict[str, list[str]]:
    surplus = [*error.by_fault.get("surplus", []), *unknown]
    return {"surplus": surplus} if surplus else {}


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
