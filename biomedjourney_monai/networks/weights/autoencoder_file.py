"""Load an autoencoder from its own weights file or from a model file."""

from pathlib import Path

import torch
from monai.networks.nets import AutoencoderKL

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.weights.geometry import geometry_of, require_same_geometry
from biomedjourney_monai.networks.weights.model_file import load_into, load_tensors


def load_autoencoder(autoencoder: AutoencoderKL, path: str | Path, *, mmap: bool = False) -> AutoencoderKL:
    """Load an autoencoder from a weights file of its own or of a whole model.

    Args:
        autoencoder: with the settings of the file.
        path: the file; with `mmap` it may be replaced, but not overwritten, while the autoencoder is in use.
        mmap: leave weights that are stored as float32 on the disk until they are used, to save memory.

    Returns:
        The same autoencoder.

    Raises:
        WeightsError: if the file cannot be read, has no autoencoder, or has one of other settings.
    """
    state, info = load_tensors(path, mmap=mmap)
    require_same_geometry(info, geometry_of(autoencoder=autoencoder), file=Path(path).name)
    prefixes = ("autoencoder.", "denoiser.")
    if any(name.startswith(prefixes) for name in state):
        state = {name.removeprefix(prefixes[0]): value for name, value in state.items() if name.startswith(prefixes[0])}
    if not state:
        raise WeightsError(
            f"{path} must hold an autoencoder", found="a denoiser only", action="Pass another weights file"
        )
    stays = mmap and all(value.dtype == torch.float32 for value in state.values())
    load_into(autoencoder, state, take_over=stays)
    return autoencoder
