"""Reading weights files of other projects, as tensors only: safetensors, and what torch saved."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.weights.formats.renaming import StateDict
from biomedjourney_monai.networks.weights.model_file import read_tensors_only, refuse_pointer

NESTED_KEYS = ("state_dict", "model")


class _Inert:
    """Stands in for what checkpoints name beside their tensors; it takes anything and does nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


LIGHTNING_CALLBACK = "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"
"""The published checkpoints of Stable Diffusion name this class, as the key of a training state that is not used."""
NUMPY_SCALAR = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype", "_codecs.encode")
"""A number of NumPy's and its bytes, such as the best loss so far, which some checkpoints keep in that state."""
STANDINS = [(_Inert, name) for name in (LIGHTNING_CALLBACK, *NUMPY_SCALAR)]


def read_tensor_file(path: str | Path) -> StateDict:
    """Read a file's tensors by name, from the top or below `state_dict` or `model`; nothing is executed.

    Args:
        path: a file of safetensors, whatever its name, or one that torch saved.

    Raises:
        WeightsError: if the file is absent, cut short, names code, or holds no tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise WeightsError("the source must be a weights file", found=found, action="Check the path and --format")
    content = _read_safetensors(path) if _is_safetensors(path) else _read_pickle(path)
    for key in NESTED_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise WeightsError("the source must hold tensors by name", found=type(content).__name__)
    strangers = [str(name) for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if strangers:
        raise WeightsError(
            "the source must hold tensors by name",
            found=f"{len(strangers)} entries of another kind, first {strangers[0]}",
            action="Pass the file of the model's weights",
        )
    return {str(name).removeprefix("module."): value for name, value in content.items()}  # DataParallel's prefix


def _is_safetensors(path: Path) -> bool:
    """By name, or by the JSON object that follows the length of the header; torch's files start with PK or a pickle."""
    if path.suffix == ".safetensors":
        return True
    with path.open("rb") as stream:
        return stream.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> StateDict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    refuse_pointer(path)
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError, RuntimeError, MemoryError) as error:
        raise WeightsError(
            f"{path} must be a whole file of safetensors",
            found=f"one that is cut short or of another kind ({type(error).__name__})",
            action="Copy or download the file again",
        ) from error


def _read_pickle(path: Path) -> Any:
    with torch.serialization.safe_globals(STANDINS):
        return read_tensors_only(path, mmap=zipfile.is_zipfile(path))  # a checkpoint may hold twice what is taken
