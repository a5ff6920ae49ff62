"""Features of every image of every system, by the judges or ImageNet's Inception v3; the images need not be kept."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from tqdm import tqdm

from biomedjourney_monai.errors import ImageError, as_weights_error
from biomedjourney_monai.evaluation.judges.judged import Batch, Judged, Scorer
from biomedjourney_monai.evaluation.judges.scores import Judges, equal_groups
from biomedjourney_monai.evaluation.systems.sources import read_picture
from biomedjourney_monai.files import read_table
from biomedjourney_monai.schema import PAIR_COLUMNS, PAIRS_FILE

Extractor = Callable[[Tensor], Tensor]
"""From images (B, 1, H, W) in [0, 1] to features (B, D)."""


class FeatureBank(Scorer):
    """A scorer without columns that gathers features, float32: about 1 kB for each image and system.

    Args:
        extract: the network; None for the judges' own features.
    """

    def __init__(self, extract: Extractor | None = None) -> None:
        self.extract = extract
        self._blocks: dict[str, list[np.ndarray]] = {}

    def measure(self, judged: Judged, batch: Batch) -> np.ndarray:
        """Keep the features; rows of NaN where there is no image or the network fails on it."""
        extract = self.extract or batch.judges.features
        self._blocks.setdefault(judged.system, []).append(extract_known(extract, judged.images, judged.good))
        return np.zeros((len(batch.rows), 0))

    def of(self, system: str) -> np.ndarray:
        """A system's features in the order of the journeys, shape (N, D)."""
        width = max(block.shape[1] for blocks in self._blocks.values() for block in blocks)
        blocks = self._blocks[system]
        return np.concatenate([block if block.shape[1] else np.full((len(block), width), np.nan) for block in blocks])


def extract_known(extract: Extractor, images: Tensor, good: np.ndarray) -> np.ndarray:
    """Features of the good images of a batch, float32, shape (B, D), NaN for the others; D is 0 if there is none."""
    places = np.flatnonzero(good)
    known = images[places]
    found: dict[int, np.ndarray] = {}
    for chosen, group in equal_groups(known):
        try:
            found |= zip(places[chosen], extract(group).numpy())  # padding of the group has no place
        except Exception:  # a third party's network: whatever it raises concerns one image
            for place in places[chosen]:
                try:
                    found[place] = extract(images[place][None]).numpy()[0]
                except Exception:
                    continue
    width = next((len(row) for row in found.values()), 0)
    rows = np.full((len(images), width), np.nan, np.float32)
    for place, row in found.items():
        rows[place] = row
    return torch.as_tensor(rows).numpy()


def training_targets(work: Path, judges: Judges, *, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Read at most `limit` training targets, drawn at random, and extract their features.

    Returns:
        Features, shape (M, D), NaN where an image cannot be read; and their patients, shape (M,).
    """
    pairs = read_table(work / PAIRS_FILE, columns=PAIR_COLUMNS, made_by="register")
    chosen = pairs[(pairs["split"] == "train") & pairs["kept"].astype(bool)]
    if len(chosen) > limit:
        chosen = chosen.sample(limit, random_state=0)
    blocks = []
    for start in tqdm(range(0, len(chosen), BATCH), desc="training targets", unit="batch"):
        images = [_read(work, file) for file in chosen["new_image"].iloc[start : start + BATCH]]
        shape = next((image.shape for image in images if image is not None), (1, 1))
        good = np.array([image is not None and image.shape == shape for image in images])
        fitted = [np.zeros(shape, np.float32) if image is None or image.shape != shape else image for image in images]
        blocks.append(extract_known(judges.features, torch.from_numpy(np.stack(fitted))[:, None], good))
    width = max((block.shape[1] for block in blocks), default=0)
    blocks = [block if block.shape[1] else np.full((len(block), width), np.nan, np.float32) for block in blocks]
    return np.concatenate([np.zeros((0, width)), *blocks]), chosen["subject_id"].to_numpy()


def _read(work: Path, file: str) -> np.ndarray | None:
    try:
        return read_picture(work, file)
    except ImageError:
        return None


INCEPTION_FILE = "inception_v3_google-0cc3c7bd.pth"
"""torchvision's name of the weights. FID by other ports of the network has other values and is not comparable."""

BATCH = 32
INCEPTION_SIZE = 299
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class InceptionFeatures:
    """The 2,048 pooled features of torchvision's Inception v3, with weights from a file of tensors.

    Raises:
        WeightsError: if the file is missing, unreadable or does not fit.
    """

    def __init__(self, path: str | Path) -> None:
        from torchvision.models import inception_v3

        path = Path(path)
        network = inception_v3(weights=None, aux_logits=True, init_weights=False)
        rule = f"{path.name} must hold the tensors of torchvision's Inception v3"
        with as_weights_error(rule, action=f"Put torchvision's {INCEPTION_FILE} there; nothing is downloaded"):
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
        network.fc = nn.Identity()
        self.network = network.eval()

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Features of grey images of shape (B, 1, H, W) in [0, 1]: shape (B, 2048)."""
        size = (INCEPTION_SIZE, INCEPTION_SIZE)
        seen = interpolate(images.float(), size=size, mode="bilinear", antialias=True)
        mean, spread = (torch.tensor(values)[:, None, None] for values in (_MEAN, _SPREAD))
        return self.network((seen - mean) / spread)
