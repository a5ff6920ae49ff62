"""Counterfactuals of one request, at the prior's own size, with their metadata."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from biomedjourney_monai.generation.detail import NONE
from biomedjourney_monai.generation.finish import finished_picture, full_size, full_size_difference, full_size_prior
from biomedjourney_monai.generation.prior import Prior
from biomedjourney_monai.radiographs import mark_synthetic, restore
from biomedjourney_monai.radiographs.pictures.html import colour_difference
from biomedjourney_monai.radiographs.scaling import resize
from biomedjourney_monai.radiographs.write.png import png_bytes, to_8_bit

if TYPE_CHECKING:
    from biomedjourney_monai.diffusion.controls import Generated
    from biomedjourney_monai.generation.request import Checked
    from biomedjourney_monai.radiographs.write.deidentify import Pseudonyms

SHOWN_SIDE = 384
"""Longer side of each picture in a notebook, in pixels."""


@dataclass(frozen=True)
class Spread:
    """How much samples vary.

    Attributes:
        mean: float32, shape (H, W), in [0, 1].
        deviation: standard deviation of each pixel (with N - 1), float32, shape (H, W), in units of the image's range.
    """

    mean: np.ndarray
    deviation: np.ndarray


def spread_of(samples: np.ndarray) -> Spread:
    """Compute mean and standard deviation over samples of shape (K, H, W), K >= 2.

    Raises:
        ValueError: if there are fewer than two samples.
    """
    if samples.ndim != 3 or len(samples) < 2:
        raise ValueError(f"samples must be of shape (K, H, W) with K >= 2, found {samples.shape}")
    samples = np.asarray(samples, np.float64)
    return Spread(samples.mean(axis=0).astype(np.float32), samples.std(axis=0, ddof=1).astype(np.float32))


@dataclass(frozen=True)
class Result:
    """K counterfactuals of one request.

    Attributes:
        squares: as generated, float32 in [0, 1], shape (K, S, S), without the mark.
        prior: the prior radiograph.
        documents: the metadata of each sample.
        seeds: of each sample.
        warnings: sentences for the user.
        effect_warnings: those of them that were found after generation.
        relevance: where the description acts, float32 in [0, 1], shape (S, S); None unless the region is "auto".
        region: where change was allowed, float32 in [0, 1], shape (S, S); None for everywhere.
    """

    squares: np.ndarray = field(repr=False)
    prior: Prior
    documents: tuple[dict[str, Any], ...] = field(repr=False)
    seeds: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    effect_warnings: tuple[str, ...] = ()
    relevance: np.ndarray | None = field(default=None, repr=False)
    region: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        checked: Checked,
        squares: np.ndarray,
        documents: Sequence[dict[str, Any]],
        generated: Generated | None = None,
        effect_warnings: tuple[str, ...] = (),
    ) -> Result:
        """Join a request with what was generated; the maps are those of the first sample."""
        found = {name: getattr(generated, name, None) for name in ("relevance", "region")}
        maps = {name: None if value is None else value[0, 0].cpu().numpy() for name, value in found.items()}
        seeds = checked.seeds[: len(squares)]
        warnings = (*checked.warnings, *effect_warnings)
        return cls(squares, checked.prior, tuple(documents), seeds, warnings, effect_warnings, **maps)

    @property
    def images(self) -> np.ndarray:
        """The pictures at the prior's own size, marked as synthetic, float32 in [0, 1], shape (K, H, W)."""
        return np.stack([finished_picture(square, self.prior, detail=self.detail) for square in self.squares])

    @property
    def detail(self) -> str:
        """How the pictures got the prior's size, as the metadata say; see `generation.detail`."""
        return str(self.documents[0].get("detail", NONE)) if self.documents else NONE

    @property
    def spread(self) -> Spread:
        """Mean and standard deviation of several samples, on the model's square.

        Raises:
            ValueError: for one sample.
        """
        return spread_of(self.squares)

    @property
    def mean(self) -> np.ndarray:
        """The mean of the samples at the prior's own size, without the mark, float32, shape (H, W)."""
        return full_size(self._mean_square(), self.prior, detail=self.detail)

    def _mean_square(self) -> np.ndarray:
        return self.squares[0] if len(self.squares) == 1 else self.spread.mean

    @property
    def deviation(self) -> np.ndarray:
        """The samples' standard deviation at the prior's own size, float32, shape (H, W); zero for one sample."""
        if len(self.squares) == 1:
            return np.zeros(self.prior.original_hw, np.float32)
        return restore(self.spread.deviation, self.prior.original_hw)

    @property
    def difference(self) -> np.ndarray:
        """Mean minus prior at the prior's own size, smooth, float32 in [-1, 1], shape (H, W); positive is denser."""
        return full_size_difference(self._mean_square(), self.prior, detail=self.detail)

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of the first sample; for several samples with their number and seeds."""
        if len(self.squares) == 1:
            return dict(self.documents[0])
        return {**self.documents[0], "samples": len(self.squares), "seed": f"{self.seeds[0]}-{self.seeds[-1]}"}

    @property
    def series_facts(self) -> dict[str, Any] | None:
        """The metadata that the samples share as one DICOM series; None for one sample."""
        return {**self.documents[0], "samples": len(self.squares)} if len(self.squares) > 1 else None

    def save(self, path: str | Path, *, pseudonyms: Pseudonyms | None = None) -> list[Path]:
        """Write every sample, whole or not at all, in the format of the suffix: .png, .nii, .nii.gz, .dcm or .dicom.

        Args:
            path: of the first sample; others are written next to it, as NAME-02 and so on.
            pseudonyms: for DICOM export; see `radiographs.write.deidentify`.

        Returns:
            The files.

        Raises:
            BiomedJourneyError: for another suffix, or if a file is the prior; nothing is written then.
        """
        from biomedjourney_monai.generation.writer import PictureWriter, check_suffix, sample_names
        from biomedjourney_monai.output_check import refuse_inputs

        check_suffix(path, name="path")
        files = sample_names(path, len(self.squares))
        refuse_inputs(files, {"the prior": self.prior.file}, name="path")
        writer = PictureWriter(self.prior, pseudonyms)
        for number, (file, image, facts) in enumerate(zip(files, self.images, self.documents, strict=True), start=1):
            writer.write(file, image, facts, number=number, series_facts=self.series_facts)
        return files

    def preview(self) -> np.ndarray:
        """Prior, first counterfactual and difference side by side, uint8, shape (h, w, 3), marked as synthetic."""
        height, width = self.prior.original_hw
        share = SHOWN_SIDE / max(height, width)
        hw = max(96, round(height * share)), max(96, round(width * share))
        prior = resize(full_size_prior(self.prior, detail=self.detail), *hw)
        made = resize(full_size(self.squares[0], self.prior, detail=self.detail), *hw)
        grey = [mark_synthetic(prior, text="PRIOR"), mark_synthetic(made)]
        coloured = mark_synthetic(colour_difference(made, prior))
        return to_8_bit(np.hstack([*(np.repeat(picture[..., None], 3, axis=2) for picture in grey), coloured]))

    def _repr_png_(self) -> bytes:
        """Display in a notebook."""
        return png_bytes(self.preview(), metadata=self.metadata)

    def _repr_html_(self) -> str:
        """Display in a notebook, with a caption."""
        picture = base64.b64encode(self._repr_png_()).decode("ascii")
        return (
            f'<figure><img src="data:image/png;base64,{picture}" alt="prior, counterfactual, difference">'
            "<figcaption>Prior, counterfactual, difference (red: denser, blue: less dense). "
            "Synthetic, not for diagnosis.</figcaption></figure>"
        )
