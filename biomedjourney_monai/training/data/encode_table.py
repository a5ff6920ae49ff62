"""What `encode` has to encode, each thing once, and the rows of the latent cache that join it to examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from biomedjourney_monai.training.data.augmentation import Augmentation
    from biomedjourney_monai.training.data.latents import LatentRow


class Table:
    """Collects images, masks and texts from the two tables.

    Args:
        singles: rows of singles.jsonl.
        triples: rows of triples.jsonl.
        augmentation: decides what else differs: names that share changes, masks of single images, mirrored texts.
    """

    def __init__(self, singles: list[dict], triples: list[dict], *, augmentation: Augmentation) -> None:
        self.augmentation = augmentation
        self._images: dict[tuple[str, str], int] = {}
        self._masks: dict[tuple[str, str] | int, int] = {}
        self._texts: dict[str, int] = {}
        for row in singles:
            self._image(row["image"], row["image"])
        for row in triples:
            self._image(row["prior_image"], row["prior_image"])
            self._image(row["new_image"], row["prior_image"])
        for row in singles:
            self._text(row["impression"])
        self.rows = [self._single(row) for row in singles if row["impression"]]
        self.rows += [self._triple(row) for row in triples]

    @property
    def images(self) -> list[tuple[str, str]]:
        """Files, each with the name that shares its changes."""
        return list(self._images)

    @property
    def masks(self) -> list[tuple[str, str]]:
        """Likewise; the file "" is valid everywhere."""
        return list(self._masks)

    @property
    def texts(self) -> list[str]:
        return list(self._texts)

    @property
    def files(self) -> list[str]:
        """Image files."""
        return list(dict.fromkeys(file for file, _ in self._images))

    def _image(self, file: str, name: str) -> int:
        return self._images.setdefault((file, name if self.augmentation.changes else ""), len(self._images))

    def _mask(self, file: str, name: str) -> int:
        return self._masks.setdefault((file, name if self.augmentation.changes else ""), len(self._masks))

    def _text(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))

    def _mirrored(self, text: str) -> int:
        from biomedjourney_monai.training.data.augmentation import swap_sides

        return self._text(swap_sides(text)) if self.augmentation.reproduce_paper_flip else -1

    def _single(self, row: dict) -> LatentRow:
        from biomedjourney_monai.training.data.latents import LatentRow

        return LatentRow(
            "pretrain",
            row["split"],
            new=self._image(row["image"], row["image"]),
            prior=-1,
            valid=self._mask("", row["image"]) if self.augmentation.leaves_gaps else -1,
            text=self._text(row["impression"]),
            mirrored_text=self._mirrored(row["impression"]),
        )

    def _triple(self, row: dict) -> LatentRow:
        from biomedjourney_monai.training.data.latents import LatentRow

        name = row["prior_image"]
        return LatentRow(
            "finetune",
            row["split"],
            new=self._image(row["new_image"], name),
            prior=self._image(name, name),
            valid=self._mask(row["valid_mask"], name),
            text=self._text(row["progression_description"]),
            journey_id=row.get("journey_id", ""),
            mirrored_text=self._mirrored(row["progression_description"]),
        )
