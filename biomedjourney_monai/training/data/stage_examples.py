"""What the datasets of training examples have in common, wherever their numbers come from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.files import file_hash
from biomedjourney_monai.training.data.augmentation import require_no_mirroring


class StageExamples(Dataset):
    """The examples of one stage and split, each in several variants.

    Indices past the number of examples are further variants of them: `index + number · len(dataset)` is variant
    `number`, for prior and new image alike.

    Args:
        rows: the stage's examples by their places among all of them; each has a `split`.
        encoding: what `biomedjourney encode` says of itself.
        mirrored: whether there are mirrored variants.
        held_by: what must hold examples, for the error.
        stage: "pretrain" or "finetune".
        split: one of schema.SPLITS.
        process, processes: take every `processes`-th example, from `process` on.
        reproduce_paper_flip: whether mirrored variants are wanted.

    Raises:
        TableError: if there is no example.
        ConfigError: if there are mirrored variants and they are not wanted.
    """

    def __init__(
        self,
        rows: Mapping[int, Any],
        *,
        encoding: Mapping[str, Any],
        mirrored: bool,
        held_by: str,
        stage: str,
        split: str,
        process: int = 0,
        processes: int = 1,
        reproduce_paper_flip: bool = False,
    ) -> None:
        require_no_mirroring(0.5 if mirrored else 0.0, reproduce_paper_flip=reproduce_paper_flip)
        self.stage, self.mirrored, self.variants = stage, mirrored, int(encoding.get("variants", 1))
        chosen = [place for place, row in rows.items() if row.split == split]
        self.places = chosen[process::processes]
        self.rows = [rows[place] for place in self.places]
        if not self.rows:
            raise TableError(
                f"{held_by} must hold {stage} examples of split {split}",
                found="none",
                action="Prepare more patients, or choose another split",
            )
        self.dummy_prior = torch.tensor(encoding["dummy_prior"], dtype=torch.float32)  # (C,)

    def __len__(self) -> int:
        return len(self.rows)

    def locate(self, index: int) -> tuple[int, int]:
        """The number of the example among `rows`, and that of the variant.

        Raises:
            IndexError: if there is no such variant.
        """
        variant, number = divmod(index, len(self))
        if not 0 <= variant < self.variants:
            raise IndexError(f"index must be in [0, {len(self) * self.variants})")
        return number, variant

    def dummy_like(self, latent: torch.Tensor) -> torch.Tensor:
        """The latent of the dummy prior, of the shape (C, h, w) of another."""
        return self.dummy_prior[:, None, None].expand_as(latent).clone()

    def fingerprint(self, files: Iterable[Path], facts: Any) -> dict[str, Any]:
        """64 hexadecimal digits that tell these examples from others, and how many there are.

        Args:
            files: that the examples come from.
            facts: which of them, with a `repr` of its own.
        """
        digest = hashlib.sha256()
        for file in files:
            digest.update(file_hash(file).encode())
        digest.update(repr(facts).encode())
        return {"fingerprint": digest.hexdigest(), "examples": len(self)}
