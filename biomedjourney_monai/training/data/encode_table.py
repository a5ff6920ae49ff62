"""The images, masks and texts that `encode` must encode, each once, and the rows that join them to examples."""

from collections.abc import Mapping, Sequence
from typing import Any

from biomedjourney_monai.preparation.descriptions.progression import CHANGED_KINDS
from biomedjourney_monai.preparation.descriptions.request import read_request
from biomedjourney_monai.schema import FINDINGS
from biomedjourney_monai.training.data.augmentation import Augmentation, swap_sides
from biomedjourney_monai.training.data.encode_shards import Picture
from biomedjourney_monai.training.data.latents import LatentRow

UNCHANGED_TEXTS = (
    "No interval change.",
    "Unchanged.",
    "No change.",
    "Stable.",
    "No significant interval change.",
    "No relevant change since the prior study.",
    "Unchanged from the prior study.",
    "Stable appearance of the chest.",
    "The chest is unchanged.",
    "No new findings.",
    "There has been no interval change.",
    "Similar to the prior study.",
    "Unchanged appearance of the heart and lungs.",
)
"""Sentences for training pairs whose new image is the prior. Their number, 13, has no factor in common with that of an
image's variants."""


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
        unchanged_texts: the places of `UNCHANGED_TEXTS`, which are encoded after all other texts.
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
        self.unchanged_texts = [self._text(text) for text in UNCHANGED_TEXTS]

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
            changed=changes_a_finding(row["progression_description"]),
        )


def changes_a_finding(description: str) -> bool:
    """Whether a description says that one of the five findings is new, worse, better or gone.

    Example:
        >>> changes_a_finding("New mild edema."), changes_a_finding("Mild edema is unchanged. No pneumothorax.")
        (True, False)
    """
    changes = read_request(description).changes
    return any(change.label in FINDINGS and change.kind in CHANGED_KINDS for change in changes)
