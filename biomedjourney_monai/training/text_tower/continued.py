"""Start a text tower from the weights of an earlier one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.networks.text.encoder import TextEncoder
from biomedjourney_monai.networks.text.folder import SMALL_WEIGHTS


def continue_tower(model: Any, vocabulary: Sequence[str], folder: str | Path) -> TextEncoder:
    """Take over the weights of an earlier tower: of each word piece and position that both have, and all others.

    Args:
        model: the new tower, changed in place.
        vocabulary: its word pieces.
        folder: of the earlier tower.

    Returns:
        The earlier tower, frozen.

    Raises:
        ConfigError: if the towers have another width or number of layers.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    pieces = {piece: place for place, piece in enumerate((folder / "vocab.txt").read_text("utf-8").splitlines())}
    earlier, own = load_file(folder / SMALL_WEIGHTS), model.state_dict()
    common = [(place, pieces[piece]) for place, piece in enumerate(vocabulary) if piece in pieces]
    here, there = (torch.tensor(places) for places in zip(*common, strict=True))
    for name, value in own.items():
        old = earlier.get(name)
        if old is not None and name.endswith("word_embeddings.weight") and old.shape[1] == value.shape[1]:
            value[here] = old[there].to(value.dtype)
        elif old is not None and name.endswith("position_embeddings.weight") and old.shape[1] == value.shape[1]:
            value[: len(old)] = old.to(value.dtype)[: len(value)]
        elif old is not None and old.shape == value.shape:
            value.copy_(old)
        elif old is None or not name.endswith("position_ids"):
            raise ConfigError(
                "a tower can continue an earlier one of the same width and layers only",
                found=f"another shape of {name}",
                action="Train from scratch, without --start-from",
            )
    model.load_state_dict(own)
    return TextEncoder.from_folder(folder)
