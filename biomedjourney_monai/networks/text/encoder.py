"""The frozen text encoder: descriptions to token states of a fixed shape, for BiomedCLIP and for the small tower."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from biomedjourney_monai.networks.text.folder import LoadedTower, load_text_tower

_LOGGER = logging.getLogger(__name__)
_CACHE_LOCK = threading.Lock()


class TextEncoder(nn.Module):
    """Turns descriptions into token states for cross-attention; frozen, always in evaluation mode.

    **Every text has L token states, and those after its end are zero.** MONAI's cross-attention has no mask, so all L
    positions are attended to, as in InstructPix2Pix; a zero state adds only the constant of the learned projection. The
    null text, the empty string, is its two special tokens and zeros. Each text is encoded alone at its own length, so
    its states do not depend, to the last bit, on the other texts of a batch.

    Args:
        tower: from `load_text_tower`.
        cache_size: texts whose states are kept for the next call, the last used ones.

    Attributes:
        width: W, features of a token state.
        context_length: L, token states of a text (BiomedCLIP 256, the small tower 64).
        weights_hash: SHA-256 of the tower's files, which models trained with it keep.
        truncated: number of texts so far that were longer than L tokens and were cut.

    Example:
        >>> encoder = TextEncoder.from_folder("bundle/models/text_tower")  # doctest: +SKIP
        >>> encoder.encode(["New small left pleural effusion.", ""]).shape  # doctest: +SKIP
        torch.Size([2, 64, 128])
    """

    def __init__(self, tower: LoadedTower, *, cache_size: int = 512) -> None:
        super().__init__()
        self.transformer = tower.transformer.eval().requires_grad_(False)
        self.width = tower.width
        self.context_length = tower.context_length
        self.weights_hash = tower.files_hash
        self.truncated = 0
        self._tokenizer = tower.tokenizer
        self._pad_token_id = tower.pad_token_id
        self._cache_size = cache_size
        self._cache: dict[str, Tensor] = {}  # text to its own states (N, W), N <= L; oldest first
        super().train(False)

    @classmethod
    def from_folder(cls, folder: str | Path, *, cache_size: int = 512) -> TextEncoder:
        """Load a text tower from a local folder, without network access; see `folder.load_text_tower`."""
        return cls(load_text_tower(folder), cache_size=cache_size)

    def train(self, mode: bool = True) -> TextEncoder:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, descriptions: Sequence[str]) -> Tensor:
        """The same as `encode`."""
        return self.encode(descriptions)

    @torch.no_grad()
    def encode(self, descriptions: Sequence[str]) -> Tensor:
        """Encode descriptions.

        Args:
            descriptions: B texts; "" is the null text. Texts of more than L tokens are cut, with a warning that counts
                them (a text in the cache is not counted again).

        Returns:
            Token states, float32, shape (B, L, W), zero after the end of each text, on the encoder's device.

        Raises:
            TypeError: if `descriptions` is one string or holds anything but strings.
        """
        if isinstance(descriptions, str) or not all(isinstance(text, str) for text in descriptions):
            raise TypeError("descriptions must be a list of strings")
        device = next(self.transformer.parameters()).device
        states = torch.zeros(len(descriptions), self.context_length, self.width, device=device)
        cut = 0
        for row, text in enumerate(descriptions):
            own = self._cache.pop(text, None)
            if own is None:
                ids = self._tokenize(text)
                cut += self._is_cut(text, ids)
                own = self._states_of(ids.to(device))
            with _CACHE_LOCK:
                self._remember(text, own)
            states[row, : len(own)] = own.to(device)
        if cut:
            self.truncated += cut
            _LOGGER.warning("%d of %d texts had more than %d tokens: cut", cut, len(descriptions), self.context_length)
        return states

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text, including the special ones, without cutting it."""
        length = self.context_length + 1
        while self._tokenize(text, length=length)[0, -1] != self._pad_token_id and length < 64 * self.context_length:
            length *= 2
        return int((self._tokenize(text, length=length) != self._pad_token_id).sum())

    def _tokenize(self, text: str, *, length: int | None = None) -> Tensor:
        printable = text.encode("utf-8", "replace").decode("utf-8")  # tokenizers cannot take half a surrogate pair
        return self._tokenizer([printable], length or self.context_length)

    def _is_cut(self, text: str, ids: Tensor) -> bool:
        if ids[0, -1] == self._pad_token_id:
            return False
        longer = self._tokenize(text, length=self.context_length + 1)
        return bool(longer[0, -1] != self._pad_token_id)

    def _states_of(self, ids: Tensor) -> Tensor:
        """Token ids, shape (1, L), to the states of the text's own tokens, shape (N, W)."""
        mask = ids != self._pad_token_id  # (1, L)
        length = int(mask.nonzero()[-1, 1]) + 1  # every text ends with a special token
        with torch.autocast(ids.device.type, enabled=False):
            return self.transformer(ids[:, :length], mask[:, :length].long())[0].float()

    def _remember(self, text: str, states: Tensor) -> None:
        if self._cache_size > 0:
            self._cache[text] = states
            while len(self._cache) > self._cache_size:
                self._cache.pop(next(iter(self._cache)), None)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles carry no texts."""
        return {**self.__dict__, "_cache": {}}
