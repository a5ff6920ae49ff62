"""CLIP's text tower from a folder in the layout of Hugging Face, as Stable Diffusion 1.5 carries it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

OFFLINE = {"trust_remote_code": False, "local_files_only": True}
NO_TOKEN = -1
"""Stands past a text's end: CLIP pads with its end token, which would then look like a part of the text."""


class ClipTokenizer:
    """Texts and a length to token ids of shape (B, length), cut, and filled up with `NO_TOKEN`.

    Args:
        tokenizer: CLIP's, of the transformers library.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, texts: list[str], length: int) -> Tensor:
        rows = self.tokenizer(texts, truncation=True, max_length=length)["input_ids"]
        return torch.tensor([row + [NO_TOKEN] * (length - len(row)) for row in rows])


class HubClipStates(nn.Module):
    """Token states after CLIP's last norm. Causal, so that a text's own states need no padding and no mask."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids and mask, shape (B, N), to states, shape (B, N, W)."""
        return self.clip(input_ids=ids).last_hidden_state


def read_clip_text(folder: Path) -> tuple[nn.Module, ClipTokenizer, list[str]]:
    """Read text tower and tokenizer of a folder, offline; an image tower beside it is left out.

    Returns:
        The tower, its tokenizer, and the names of tensors that the weights lack or that have another shape.
    """
    import transformers

    clip, fit = transformers.CLIPTextModel.from_pretrained(
        str(folder), output_loading_info=True, dtype=torch.float32, **OFFLINE
    )
    tokenizer = transformers.CLIPTokenizerFast.from_pretrained(str(folder), **OFFLINE)
    return clip, ClipTokenizer(tokenizer), sorted(map(str, [*fit["missing_keys"], *fit["mismatched_keys"]]))
