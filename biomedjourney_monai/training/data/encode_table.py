"""The images, masks and texts that `encode` must encode, each once, and the rows that join them to examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from biomedjourney_monai.training.data.augmentation import Augmentation, swap_sides
from biomedjourney_monai.training.data.encode_shards import Picture
from biomedjourney_monai.training.data.latents import LatentRow


class EncodeTable:
    """Collects images, masks and texts from the two tables.

    Args:
        singles: rows of singles.jsonl.
        triples: rows of triples.jsonl.
        augmentation: decides which names share changes, whether single images need masks, and whether texts are
            mirrored.

    Attributes:
        images, masks, texts: each a dictionary from the entry to its place in the cache, in order.
        rows: the training examples by these places.
    """

    def __init__(
        self, singles: Sequence[Mapping[str, Any]], triples: Sequence[Mapping[str, Any]], *, augmentation: Augmentation
    ) -> None:
        self.augmentation = augmentation
        self.images: dict[Picture, int] = {}
        self.masks: dict[Picture, int] = {}
        self.texts: dict[str, int] = {}
        for row in singles:
            self._place(self.images, row["image"], row["image"])
        for row in triples:
            self._place(self.images, row["prior_image"], row["prior_image"])
            self._place(self.images, row["new_image"], row["prior_image"])
        for row in singles:
            self._text(row["impression"])
        self.rows = [self._single(row) for row in singles if row["impression"]]
        self.rows += [self._triple(row) for row in triples]

    @property
    def files(self) -> list[str]:
        """Image files, each once."""
        return list(dict.fromkeys(file for file, _ in self.images))

    def _place(self, places: dict[Picture, int], file: str, name: str) -> int:
        return places.setdefault((file, name if self.augmentation.changes else ""), len(places))

    def _text(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))

    def _mirrored(self, text: str) -> int:
        return self._text(swap_sides(text)) if self.augmentation.reproduce_paper_flip else -1

    def _single(self, row: Mapping[str, Any]) -> LatentRow:
        return LatentRow(
            "pretrain",
            row["split"],
            new=self._place(self.images, row["image"], row["image"]),
            prior=-1,
            valid=self._place(self.masks, "", row["image"]) if self.augmentation.leaves_gaps else -1,
            text=self._text(row["impression"]),
            mirrored_text=self._mirrored(row["impression"]),
        )

    def _triple(self, row: Mapping[str, Any]) -> LatentRow:
        name = row["prior_image"]
        return LatentRow(
            "finetune",
            row["split"],
            new=self._place(self.images, row["new_image"], name),
            prior=self._place(self.images, name, name),
            valid=self._place(self.masks, row["valid_mask"], name),
            text=self._text(row["progression_description"]),
            journey_id=row.get("journey_id", ""),
            mirrored_text=self._mirrored(row["progression_description"]),
        )
