"""Read weights files of other projects, safetensors or saved by torch, as tensors only."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.weights.formats.renaming import StateDict
from biomedjourney_monai.networks.weights.model_file import (
    broken_file,
    read_tensors_only,
    refuse_pointer,
    require_tensors,
)

NESTED_KEYS = ("state_dict", "model")


class _Inert:
    """Replaces other classes that checkpoints name: it accepts any arguments and does nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


LIGHTNING_CALLBACK = "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"
"""Named by the published checkpoints of Stable Diffusion, as the key of a training state that is not used."""
NUMPY_SCALAR = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype", "_codecs.encode")
"""A NumPy number, such as the best loss, which some checkpoints keep in that state."""
STANDINS: list[Any] = [(_Inert, name) for name in (LIGHTNING_CALLBACK, *NUMPY_SCALAR)]


def read_tensor_file(path: str | Path) -> StateDict:
    """Read a file's tensors by name, at the top level or below `state_dict` or `model`; nothing is executed.

    Raises:
        WeightsError: if the file is absent, truncated, names code, or does not contain tensors by name.
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
    state = require_tensors(content, source="the source", action="Pass the file of the model's weights")
    return {name.removeprefix("module."): value for name, value in state.items()}  # DataParallel's prefix


def _is_safetensors(path: Path) -> bool:
    """By name, or by the JSON object after the header's length; torch's files start with PK or a pickle."""
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
        raise broken_file(path, error) from error


def _read_pickle(path: Path) -> Any:
    with torch.serialization.safe_globals(STANDINS):
        return read_tensors_only(path, mmap=zipfile.is_zipfile(path))  # not all of a checkpoint is used
