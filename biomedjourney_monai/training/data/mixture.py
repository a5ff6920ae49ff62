"""Training examples of several working folders, drawn with weights; changed and unchanged pairs with their shares."""

import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from biomedjourney_monai.errors import ConfigError, TableError
from biomedjourney_monai.files import read_json, read_json_lines
from biomedjourney_monai.training.data.folders import Folders, as_folders, first_folder
from biomedjourney_monai.training.data.latents import ENCODING_FILE, ROWS_FILE, LatentDataset
from biomedjourney_monai.training.data.order import Draw, Stratum

logger = logging.getLogger(__name__)

SAME = {
    "autoencoder": "autoencoder",
    "text_encoder": "text encoder",
    "image_size": "image size",
    "precision": "precision",
    "cached": "choice of --no-cache",
    "mirrored": "choice of --reproduce-paper-flip",
}
"""What the latent caches of a mixture must have been encoded with alike, and how it is called."""


def scored_folder(examples: Dataset[dict[str, Tensor]], folders: Folders) -> str:
    """The working folder whose journeys are sampled and scored: the first one that contains validation examples."""
    return str(examples.scored_folder) if isinstance(examples, MixedExamples) else first_folder(folders)


def count_scored(examples: Dataset[dict[str, Tensor]], count: int) -> int:
    """How many journeys are scored: `count`, or those that the scored folder contains."""
    return min(count, len(examples.parts[0])) if isinstance(examples, MixedExamples) else count


def read_encoding(caches: Folders, *, weights: Sequence[float] | None = None) -> dict[str, Any]:
    """Read what a latent cache was encoded with; of several, what they have in common.

    Several scale factors s become one: 1 / s² is the weighted mean of theirs, so that the mixture's latents have about
    unit variance.

    Raises:
        TableError: if the caches were encoded differently.
        ConfigError: if the weights do not fit.
    """
    folders = as_folders(caches)
    if weights is not None:
        _shares(weights, len(folders))
    encodings: list[dict[str, Any]] = [read_json(folder / ENCODING_FILE, made_by="encode") for folder in folders]
    if len(folders) == 1:
        return encodings[0]
    for key, name in SAME.items():
        for folder, encoding in zip(folders, encodings):
            if encoding.get(key) != encodings[0].get(key):
                values = [str(value)[:12] for value in (encodings[0].get(key), encoding.get(key))]
                raise TableError(
                    f"the folders of a mixture must be encoded with the same {name}",
                    found=f"{values[1]} in {folder}, {values[0]} in {folders[0]}",
                    action=f"Run `biomedjourney encode --work {' --work '.join(str(f.parent) for f in folders)}`",
                )
    if weights is None:
        weights = [len(read_json_lines(folder / ROWS_FILE, made_by="encode")) for folder in folders]
    shares = _shares(weights, len(folders))
    variance = sum(share / encoding["scale_factor"] ** 2 for share, encoding in zip(shares, encodings))
    return {**encodings[0], "scale_factor": 1 / math.sqrt(variance)}


@dataclass(frozen=True)
class _Source:
    """The examples of a stratum.

    Attributes:
        share: of all draws.
        folder: the number of the folder in the mixture.
        items: numbers of its examples; or, if `unchanged`, places of its films.
    """

    share: float
    folder: int
    items: Sequence[int]
    unchanged: bool = False


class MixedExamples(Dataset[dict[str, Tensor]]):
    """The examples of one stage and split of several latent caches. Items are as of `LatentDataset`.

    `row` counts through the rows of all caches, in their order; it is -1 where the new image is the prior.
    An index is a `Draw` from the strata; or a number, which counts through the examples of all folders, each once and
    unchanged by augmentation, as in validation.

    Args:
        parts: the examples of each folder.
        weights: share of the draws from each folder; None for the shares of the examples.
        changed_share: share of the triples that change a finding among the drawn triples, in each folder that contains
            both kinds; None for the folder's own share.
        identity_share: share of draws whose new image is the prior, with a sentence that says that nothing changes.

    Raises:
        ConfigError: if a share or weight is impossible.
        TableError: if the shapes of the parts differ, or if a cache is too old for a share.
    """

    def __init__(
        self,
        parts: Sequence[LatentDataset],
        *,
        weights: Sequence[float] | None = None,
        changed_share: float | None = None,
        identity_share: float = 0.0,
    ) -> None:
        if changed_share is not None and not 0 < changed_share < 1:
            raise ConfigError("changed_share must be above 0 and below 1", found=f"{changed_share}")
        if not 0 <= identity_share < 1:
            raise ConfigError("identity_share must be >= 0 and below 1", found=f"{identity_share}")
        self.parts = list(parts)
        _require_one_shape(self.parts)
        self.weights = _shares([len(part) for part in parts] if weights is None else weights, len(parts))
        self.settings = (self.weights, changed_share, identity_share)
        self.sources: list[_Source] = []
        for number, (part, weight) in enumerate(zip(self.parts, self.weights)):
            self._add_sources(number, part, weight, changed_share, identity_share)
        self.mirrored = any(part.mirrored for part in self.parts)
        self.rows = [row for part in self.parts for row in part.rows]
        self._ends = list(accumulate(len(part) for part in self.parts))
        self._first_rows = [0, *accumulate(len(part.cache.rows) for part in self.parts)]

    def _add_sources(
        self, number: int, part: LatentDataset, weight: float, changed_share: float | None, identity_share: float
    ) -> None:
        if identity_share:
            self.sources.append(_Source(weight * identity_share, number, part.films(), unchanged=True))
            part.unchanged_texts()  # raises if the cache has none
        triples = weight * (1 - identity_share)
        groups = [(1.0, list(range(len(part))))]
        if changed_share is not None:
            changed = part.changed()
            kinds = ([n for n, is_changed in enumerate(changed) if is_changed is kind] for kind in (True, False))
            groups = [group for group in zip((changed_share, 1 - changed_share), kinds) if group[1]]
        whole = sum(share for share, _ in groups)
        self.sources += [_Source(triples * share / whole, number, items) for share, items in groups]

    @property
    def strata(self) -> list[Stratum]:
        """For `MixedBatches`."""
        return [Stratum(source.share, len(source.items)) for source in self.sources]

    def describe(self) -> dict[str, Any]:
        """A hash that identifies the examples and how they are drawn, and their number."""
        digests = [part.describe()["fingerprint"] for part in self.parts]
        content = repr((digests, *self.settings)).encode()
        return {"fingerprint": hashlib.sha256(content).hexdigest(), "examples": len(self)}

    @property
    def scored_folder(self) -> Path:
        """The first working folder with such examples, whose journeys are sampled and scored during training."""
        return self.parts[0].cache.folder.parent

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int | Draw) -> dict[str, Tensor]:
        if isinstance(index, Draw):
            return self._drawn(index)
        if not 0 <= index < len(self):
            raise IndexError(f"index must be in [0, {len(self)})")
        folder = next(number for number, end in enumerate(self._ends) if index < end)
        return self._read(folder, index - self._ends[folder] + len(self.parts[folder]), 0)

    def _drawn(self, draw: Draw) -> dict[str, Tensor]:
        source = self.sources[draw.stratum]
        part, item = self.parts[source.folder], source.items[draw.item]
        variant = draw.turn % part.variants
        if not source.unchanged:
            return self._read(source.folder, item, variant)
        texts = part.unchanged_texts()
        return part.read_unchanged(item, variant, texts[draw.turn % len(texts)])

    def _read(self, folder: int, number: int, variant: int) -> dict[str, Tensor]:
        item = self.parts[folder].read(number, variant)
        return {**item, "row": item["row"] + self._first_rows[folder]}


def mix(
    folders: Sequence[Path],
    open_part: Callable[[Path], LatentDataset | None],
    *,
    weights: Sequence[float] | None = None,
    changed_share: float | None = None,
    identity_share: float = 0.0,
) -> MixedExamples:
    """Open the examples of each folder and mix them. Folders without examples of the stage are left out, and named.

    Args:
        folders: the latent caches.
        open_part: opens the examples of one; None if there are none.
        weights: of the folders.
        changed_share, identity_share: see `MixedExamples`.

    Raises:
        ConfigError: if there is not one weight for each folder.
        TableError: if no folder contains examples.
    """
    if weights is not None:
        _shares(weights, len(folders))
    opened = [(number, part) for number, folder in enumerate(folders) if (part := open_part(folder)) is not None]
    if not opened:
        raise TableError(
            "the folders of a mixture must contain examples of the stage",
            found="none",
            action="Prepare more patients, or choose other folders",
        )
    left_out = [str(folder.parent) for n, folder in enumerate(folders) if n not in dict(opened)]
    if left_out:
        logger.info(f"Left out, without examples of this stage and split: {', '.join(left_out)}.")
    chosen = None if weights is None else [weights[number] for number, _ in opened]
    parts = [part for _, part in opened]
    return MixedExamples(parts, weights=chosen, changed_share=changed_share, identity_share=identity_share)


def _shares(weights: Sequence[float], count: int) -> list[float]:
    """Weights as shares that add up to 1."""
    if isinstance(weights, (str, float, int)) or len(weights) != count:
        found = f"{1 if isinstance(weights, (float, int)) else len(weights)} for {count} folders"
        raise ConfigError("--weights must have one number for each folder", found=found)
    if not all(isinstance(weight, (float, int)) and 0 < weight < math.inf for weight in weights):
        raise ConfigError("--weights must be numbers above 0", found=str(list(weights)))
    return [weight / sum(weights) for weight in weights]


def _require_one_shape(parts: Sequence[LatentDataset]) -> None:
    shapes = [(part.cache.mean.shape[1:], part.cache.text.shape[1:]) for part in parts]
    if len(set(shapes)) > 1:
        raise TableError(
            "the folders of a mixture must have latents and token states of one shape",
            found=" and ".join(sorted({f"{latent}, {text}" for latent, text in shapes})),
            action="Encode them with one model",
        )
