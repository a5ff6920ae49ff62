"""The base of the datasets of training examples."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from biomedjourney_monai.errors import ConfigError, TableError
from biomedjourney_monai.files import file_hash


class NoExamplesError(TableError):
    """A stage and split without examples."""


class StageExamples(Dataset[dict[str, torch.Tensor]]):
    """The examples of one stage and split, each in several variants.

    `index + number · len(dataset)` is variant `number` of an example, for both prior and new image.

    Args:
        rows: the stage's examples by their places among all examples; each has a `split`.
        encoding: the content of `encoding.json`.
        mirrored: whether there are mirrored variants.
        held_by: where the examples are, for the error.
        stage: "pretrain" or "finetune".
        split: one of schema.SPLITS.
        process, processes: take every `processes`-th example, starting with `process`.
        reproduce_paper_flip: whether mirrored variants are wanted.

    Raises:
        NoExamplesError: if there is no example.
        ConfigError: if there are mirrored variants that are not wanted.
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
        if mirrored and not reproduce_paper_flip:
            raise ConfigError(
                "chests must not be mirrored: left would mean right, and the heart would be on the wrong side",
                found="mirrored variants",
                action="Encode without --reproduce-paper-flip, or train with --reproduce_paper_flip true",
            )
        self.stage, self.split, self.mirrored = stage, split, mirrored
        self.variants = int(encoding.get("variants", 1))
        chosen = [place for place, row in rows.items() if row.split == split]
        self.places = chosen[process::processes]
        self.rows = [rows[place] for place in self.places]
        if not self.rows:
            raise NoExamplesError(
                f"{held_by} must hold {stage} examples of split {split}",
                found=f"{len(rows)} examples of other splits",
                action="Prepare more patients, or choose another split",
            )
        self.dummy_prior = torch.tensor(encoding["dummy_prior"], dtype=torch.float32)  # (C,)

    def __len__(self) -> int:
        return len(self.rows)

    def locate(self, index: int) -> tuple[int, int]:
        """The number of an example in `rows`, and of its variant.

        Raises:
            IndexError: if there is no such variant.
        """
        variant, number = divmod(index, len(self))
        if not 0 <= variant < self.variants:
            raise IndexError(f"index must be in [0, {len(self) * self.variants})")
        return number, variant

    def dummy_like(self, latent: torch.Tensor) -> torch.Tensor:
        """The latent of the dummy prior, in the shape (C, h, w) of another latent."""
        return self.dummy_prior[:, None, None].expand_as(latent).clone()

    def fingerprint(self, files: Iterable[Path], facts: object) -> dict[str, Any]:
        """A hash that identifies these examples, 64 hexadecimal digits, and their number.

        Args:
            files: that the examples come from.
            facts: which of them; its `repr` is hashed.
        """
        digest = hashlib.sha256()
        for file in files:
            digest.update(file_hash(file).encode())
        digest.update(repr(facts).encode())
        return {"fingerprint": digest.hexdigest(), "examples": len(self)}
