"""Model files: named tensors and facts about them, read as tensors only and matched strictly.

A file contains `{"model": state_dict, "info": {…}}`. Ignite, MONAI's `CheckpointLoader` and MONAI Label look for the
key `model`, so they read these files too. Equal tensors and facts give equal bytes.
"""

import copy
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.files import file_hash, written_atomically

MODEL_KEY = "model"
INFO_KEY = "info"
LFS_POINTER = b"version https://git-lfs"


def save_tensors(
    path: str | Path,
    state_dict: Mapping[str, torch.Tensor],
    *,
    info: Mapping[str, Any],
    half: bool = False,
    flat: bool = False,
) -> None:
    """Write tensors and facts about them to one file, completely or not at all.

    Args:
        path: the file to write.
        state_dict: tensors by name.
        info: facts as JSON content, such as the configuration that the weights belong to.
        half: store floating-point tensors of more than 16 bits as float16, except scalars, such as the scale factor;
            `load_into` widens them again.
        flat: put the tensors beside the facts, not below `model`, as MONAI's `bundle.load` expects them.

    Raises:
        WeightsError: if a value is not a tensor, a number is too large for float16, or `info` is not JSON content.
    """
    tensors = {name: _stored(name, value, half=half) for name, value in state_dict.items()}
    try:
        facts = json.loads(json.dumps(dict(info)))
    except (TypeError, ValueError) as error:
        raise WeightsError(
            "facts in a weights file must be plain JSON",
            found=type(error).__name__,
            action="Pass strings, numbers, lists and dicts only",
        ) from error
    with written_atomically(path, public=True) as temporary, temporary.open("wb") as stream:
        content = {**tensors, INFO_KEY: facts} if flat else {MODEL_KEY: tensors, INFO_KEY: facts}
        torch.save(content, stream)  # given a path, torch writes its name into the file


def load_tensors(path: str | Path, *, mmap: bool = False) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read tensors by name, and the facts about them; nothing in the file is executed.

    A plain state dict, such as Ignite's checkpoint of one network, is read too, without facts.

    Args:
        path: the file.
        mmap: leave the numbers on the disk until they are used, if the file is a zip archive, torch's current format.

    Returns:
        The state dict, on the CPU, in the stored types; and the facts.

    Raises:
        WeightsError: if the file is absent, truncated, contains anything but tensors, or has another format.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(
            f"{path} must exist", found="no such file", action="Pass the path of a weights file, or train one first"
        )
    content = read_tensors_only(path, mmap=mmap and zipfile.is_zipfile(path))
    info, state = _facts_of(content), content
    if _is_nested(content):
        state = content[MODEL_KEY]
    elif isinstance(content, Mapping) and isinstance(content.get(INFO_KEY), Mapping):
        state = {name: value for name, value in content.items() if name != INFO_KEY}
    state = require_tensors(state, source=str(path), action="Pass the file of one network, not of a whole training run")
    return state, info


def load_info(path: str | Path) -> dict[str, Any]:
    """Read the facts of a weights file, without its numbers; empty if the file has none.

    Raises:
        WeightsError: as `load_tensors`, except for errors that only reading the numbers shows.
    """
    path = Path(path)
    version = path.stat() if path.is_file() else None
    changed = (version.st_ino, version.st_mtime_ns, version.st_size) if version else ()
    return copy.deepcopy(_facts_at(path, changed))


@lru_cache(maxsize=8)
def _facts_at(path: Path, changed: tuple[int, ...]) -> dict[str, Any]:
    """The facts of a file in the version that it has; several places ask for them when a model is loaded."""
    return _facts_of(read_tensors_only(path, mmap=zipfile.is_zipfile(path)))


def load_into(module: nn.Module, state_dict: Mapping[str, torch.Tensor], *, take_over: bool = False) -> nn.Module:
    """Copy tensors into a network, which must match exactly; float16 is widened to the network's own type.

    A network on the meta device, which has no numbers, uses the tensors as they are, without a copy; so does any
    network with `take_over`.

    Returns:
        The same network.

    Raises:
        UnfitWeightsError: if tensors are missing, surplus or of another shape; the network is then unchanged.
    """
    require_fit(state_dict, module.state_dict(), network=type(module).__name__)
    take_over = take_over or any(value.is_meta for value in module.parameters())
    module.load_state_dict(dict(state_dict), strict=True, assign=take_over)
    return module


class UnfitWeightsError(WeightsError):
    """Weights of another network. The message names the first few tensors, `faults` all of them."""

    def __init__(self, network: str, faults: Mapping[str, list[str]]) -> None:
        summaries = [
            f"{len(names)} {fault} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
            for fault, names in faults.items()
        ]
        super().__init__(
            f"weights must fit {network} tensor for tensor",
            found="; ".join(summaries),
            action="Build the network with the configuration that these weights were trained with",
        )
        self.network, self.by_fault = network, {fault: list(names) for fault, names in faults.items()}

    @property
    def faults(self) -> list[str]:
        """One line for each tensor that does not fit."""
        return [f"{fault}: {name}" for fault, names in self.by_fault.items() for name in names]


def require_fit(state_dict: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], *, network: str) -> None:
    """Compare names and shapes.

    Args:
        state_dict: tensors to load.
        own: those of the network; they may be on the meta device.
        network: its name, for the error.

    Raises:
        UnfitWeightsError: if a tensor is missing, surplus or of another shape.
    """
    faults = {
        "missing": [name for name in own if name not in state_dict],
        "surplus": [name for name in state_dict if name not in own],
        "of another shape": [
            f"{name} {_shape(state_dict[name])} instead of {_shape(value)}"
            for name, value in own.items()
            if name in state_dict and state_dict[name].shape != value.shape
        ],
    }
    if any(faults.values()):
        raise UnfitWeightsError(network, {fault: names for fault, names in faults.items() if names})


def load_model(parts: Mapping[str, nn.Module], state_dict: Mapping[str, torch.Tensor], *, file: str) -> None:
    """Copy a model file's tensors into its networks, which must match exactly.

    Args:
        parts: networks by the prefix of their tensors.
        state_dict: the file's tensors.
        file: name of the file, for the error.

    Raises:
        WeightsError: if tensors belong to no part, or do not fit theirs.
    """
    strangers = [key for key in state_dict if not key.startswith(tuple(f"{name}." for name in parts))]
    if strangers:
        raise WeightsError(
            f"{file} must contain the autoencoder's and the denoiser's tensors only",
            found=f"{len(strangers)} others, first {strangers[0]}",
            action="Pass a model file that training wrote",
        )
    for name, network in parts.items():
        prefix = f"{name}."
        part = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
        load_into(network, part)


def weights_hash(path: str | Path) -> str:
    """The SHA-256 of a weights file, 64 hexadecimal digits.

    Raises:
        WeightsError: if the file is absent.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path} must exist", found="no such file", action="Pass the path of a weights file")
    return file_hash(path)


def _stored(name: str, value: Any, *, half: bool) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise WeightsError(f"weight {name} must be a tensor", found=type(value).__name__, action="Pass a state dict")
    tensor = value.detach().cpu()
    if half and tensor.ndim and tensor.is_floating_point() and tensor.element_size() > 2:
        narrow = tensor.half()
        if not torch.equal(narrow.isfinite(), tensor.isfinite()):
            raise WeightsError(
                f"weight {name} must fit float16",
                found=f"a magnitude of {tensor.abs().max():.3g}",
                action="Store these weights without half precision",
            )
        tensor = narrow
    if tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes:
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)  # a view would be saved with its whole storage


def refuse_pointer(path: Path) -> None:
    """Refuse the text file that Git LFS writes in place of a file that was not fetched.

    Raises:
        WeightsError: if the file is one.
    """
    with path.open("rb") as stream:
        if stream.read(len(LFS_POINTER)) == LFS_POINTER:
            raise WeightsError(
                f"{path} must be the weights themselves",
                found="a Git LFS pointer; the weights were not fetched",
                action="Run `git lfs pull` in its clone, or download the file itself",
            )


def require_tensors(content: Any, *, source: str, action: str) -> dict[str, torch.Tensor]:
    """Refuse anything but a mapping from names to tensors.

    Raises:
        WeightsError: naming the source, what was found and the action.
    """
    rule = f"{source} must contain tensors by name"
    if not isinstance(content, Mapping):
        raise WeightsError(rule, found=type(content).__name__, action=action)
    if not content:
        raise WeightsError(rule, found="an empty mapping", action=action)
    others = [str(name) for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise WeightsError(rule, found=f"{len(others)} entries of another kind, first {others[0]}", action=action)
    return {str(name): value for name, value in content.items()}


def require_finite(state_dict: Mapping[str, torch.Tensor], *, source: str) -> None:
    """Refuse weights with NaN or infinity.

    Raises:
        WeightsError: naming the source and the first such tensor.
    """
    broken = [name for name, value in state_dict.items() if not bool(value.isfinite().all())]
    if broken:
        raise WeightsError(
            f"{source} must be finite numbers",
            found=f"NaN or infinity in {len(broken)} tensors, first {broken[0]}",
            action="Use another copy, or one of higher precision; a training that diverged writes such weights",
        )


def read_tensors_only(path: Path, *, mmap: bool = False) -> Any:
    """Read a file of torch's that contains only tensors, numbers, strings and containers; nothing is executed.

    Args:
        path: the file.
        mmap: leave tensors on the disk until they are used; for zip archives, torch's current format.

    Raises:
        WeightsError: if the file is truncated, has another format, or names a class or function.
    """
    refuse_pointer(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise WeightsError(
            f"{path} must contain tensors only",
            found=f"{named[1] if named else 'another object'} in it, possibly code, which was not run",
            action="Get the weights as tensors (.safetensors) from a source you trust",
        ) from error
    except Exception as error:  # torch's unpickler raises many kinds on hostile bytes
        raise broken_file(path, error) from error


def broken_file(path: Path, error: Exception) -> WeightsError:
    """The error for a weights file that cannot be read to its end."""
    return WeightsError(
        f"{path} must be a complete weights file",
        found=f"a file that is cut short or has another format ({type(error).__name__})",
        action="Copy or download the file again",
    )


def _facts_of(content: Any) -> dict[str, Any]:
    info = content.get(INFO_KEY) if isinstance(content, Mapping) else None
    return dict(info) if isinstance(info, Mapping) else {}


def _is_nested(content: Any) -> bool:
    return isinstance(content, Mapping) and isinstance(content.get(MODEL_KEY), Mapping)


def _shape(value: torch.Tensor) -> str:
    return "×".join(str(side) for side in value.shape) or "scalar"
