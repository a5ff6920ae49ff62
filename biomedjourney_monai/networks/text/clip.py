"""CLIP's text tower from a folder in Hugging Face's layout, as in Stable Diffusion 1.5."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

OFFLINE: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
NO_TOKEN = -1
"""Padding: CLIP pads with its end token, which would look like a part of the text."""


class ClipTokenizer:
    """Texts and a length to token ids of shape (B, length), cut or padded with `NO_TOKEN`.

    Args:
        tokenizer: CLIP's, from the transformers library.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, texts: list[str], length: int) -> Tensor:
        rows = self.tokenizer(texts, truncation=True, max_length=length)["input_ids"]
        return torch.tensor([row + [NO_TOKEN] * (length - len(row)) for row in rows])


class HubClipStates(nn.Module):
    """Token states after CLIP's last norm. CLIP is causal, so that they need neither padding nor mask."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids and mask, shape (B, N), to states, shape (B, N, W)."""
        return self.clip(input_ids=ids).last_hidden_state


def read_clip_text(folder: Path) -> tuple[Any, ClipTokenizer, list[str]]:
    """Read text tower and tokenizer of a folder, offline, without its image tower.

    Returns:
        The tower, its tokenizer, and the names of tensors that are missing or have another shape.
    """
    import transformers

    library: Any = transformers  # its types describe neither the loading info nor all tokenizers
    clip, fit = library.CLIPTextModel.from_pretrained(
        str(folder), output_loading_info=True, dtype=torch.float32, **OFFLINE
    )
    tokenizer = library.CLIPTokenizerFast.from_pretrained(str(folder), **OFFLINE)
    return clip, ClipTokenizer(tokenizer), sorted(map(str, [*fit["missing_keys"], *fit["mismatched_keys"]]))
