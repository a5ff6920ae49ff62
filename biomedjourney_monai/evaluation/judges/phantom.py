"""The judges of rendered radiographs: networks for findings and for anatomy, with weights that hold tensors only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from monai.networks.nets import UNet
from torch import Tensor, nn

from biomedjourney_monai.errors import WeightsError, as_weights_error
from biomedjourney_monai.evaluation.judges.domain import FeatureDomain
from biomedjourney_monai.evaluation.judges.scores import HasSquares, JudgeScores, as_batch, on_grid
from biomedjourney_monai.files import file_hash, written_atomically
from biomedjourney_monai.schema import FINDINGS, STRUCTURES

if TYPE_CHECKING:
    from biomedjourney_monai.evaluation.judges.film_classifier import FilmClassifier


JUDGE_SIZE = 128
"""Side of the images that the networks were made for, in pixels."""

GROUPS = 3
AGE_CENTRE, AGE_SPREAD = 60.0, 17.0
"""Years; the age head's output is standardised by these."""


class PhantomClassifier(nn.Module):
    """A residual network with three heads; about 0.4 M parameters.

    The stem works at full resolution, since the line of a small pneumothorax is one pixel wide. Pooling takes mean and
    maximum: the maximum finds what is small.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (24, 48, 80, 136)  # channels per resolution, from size / 2 down
        self.stem = nn.Sequential(
            nn.Conv2d(1, widths[0], 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        before = (widths[0], *widths[:-1])
        self.stages = nn.Sequential(
            *(ResidualBlock(i, o, stride=1 if n == 0 else 2) for n, (i, o) in enumerate(zip(before, widths)))
        )
        self.dropout = nn.Dropout(0.2)
        self.heads = nn.Linear(2 * widths[-1], len(FINDINGS) + GROUPS + 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score images of shape (B, 1, H, W) in [-1, 1].

        Returns:
            Finding logits (B, 5), group logits (B, 3), and ages (B,) in years.
        """
        pooled = self.features(image)
        findings, groups, age = self.heads(self.dropout(pooled)).split([len(FINDINGS), GROUPS, 1], dim=1)
        return findings, groups, AGE_CENTRE + AGE_SPREAD * age.squeeze(1)

    def features(self, image: Tensor) -> Tensor:
        """Input of the heads for images as in `forward`: means and maxima, shape (B, 2 C)."""
        maps = self.stages(self.stem(image))  # (B, C, H/16, W/16)
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.body(features) + self.shortcut(features))


class PhantomSegmenter(nn.Module):
    """MONAI's UNet on 2 x 2 pixel blocks, which costs a quarter of one at full resolution; about 0.2 M parameters.

    Structures may overlap, so each has its own logit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unet = UNet(2, 4, 4 * len(STRUCTURES), (16, 32, 64, 80), (2, 2, 2), num_res_units=1, norm="BATCH")

    def forward(self, image: Tensor) -> Tensor:
        """Segment structures in images of shape (B, 1, H, W) in [-1, 1]; returns logits (B, 6, H, W)."""
        blocks = nn.functional.pixel_unshuffle(image, 2)  # (B, 4, H/2, W/2)
        return nn.functional.pixel_shuffle(self.unet(blocks), 2)


CLASSIFIER_FILE, DOMAIN_FILE = "phantom_classifier.pt", "phantom_domain.pt"
SEGMENTER_FILE = "phantom_segmenter.pt"


def classifier_file(name: str) -> str:
    """The file of a classifier by the judges' name."""
    return f"{name}_classifier.pt"


def domain_file(name: str) -> str:
    """The file of a classifier's domain by the judges' name."""
    return f"{name}_domain.pt"


class PhantomJudges:
    """The judges for rendered radiographs; `hashes` are the SHA-256 of the weights by file name.

    `domain` tells whether an image is like those that the classifier was trained on; None if that is unknown.
    """

    name = "phantom"
    trusted = frozenset(FINDINGS)

    def __init__(
        self,
        classifier: PhantomClassifier | FilmClassifier,
        segmenter: PhantomSegmenter,
        *,
        domain: FeatureDomain | None = None,
        hashes: dict[str, str] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.classifier = classifier.eval().to(device).to(memory_format=torch.channels_last)  # a quarter faster
        self.segmenter = segmenter.eval().to(device)
        self.domain = None if domain is None else domain.to(device)
        self.device = torch.device(device)
        self._hashes = hashes or {}

    @torch.inference_mode()
    def score(self, images: Tensor | HasSquares) -> JudgeScores:
        """Score images of shape (B, 1, H, W) in [0, 1], or the images of a result; sizes other than 128 are resampled.

        Raises:
            ValueError: if the shape is another or a pixel is not finite.
        """
        batch = as_batch(images)
        prepared = self._prepare(batch)
        findings, groups, age, sex = self._read(prepared)
        structures = self._outline(batch, prepared)
        return JudgeScores(findings.sigmoid().cpu(), groups.cpu(), age.cpu(), structures.cpu(), sex.cpu())

    def _outline(self, images: Tensor, prepared: Tensor) -> Tensor:
        """Masks of the six structures, bool, on the images' grid."""
        return on_grid(self.segmenter(prepared), images.shape[-2:]) > 0

    def _read(self, prepared: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Finding logits (B, 5), group probabilities (B, 3), ages (B,) and the probability of male sex (B,)."""
        findings, groups, age = self.classifier(prepared)
        return findings, groups.softmax(dim=1), age, torch.full_like(age, torch.nan)

    def finding_logits(self, images: Tensor) -> Tensor:
        """The logit of each finding of images as in `score`, shape (B, 5); differentiable, for heat maps."""
        return self._read(self._prepare(images))[0]

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """The classifier's pooled features of images as in `score`, shape (B, 272)."""
        return self.classifier.features(self._prepare(images)).cpu()

    @property
    def tells_apart(self) -> bool:
        """Whether `distance` was trained to be above 1 for images of another kind."""
        return self.domain is not None and self.domain.tells_apart

    @torch.inference_mode()
    def distance(self, images: Tensor) -> Tensor:
        """How far images as in `score` lie from those of the training, shape (B,): up to 1 is like them.

        Raises:
            WeightsError: if the judges' domain is unknown.
        """
        if self.domain is None:
            raise WeightsError(f"the judges {self.name} need their domain", found="weights without one")
        return self.domain(self.classifier.features(self._prepare(images))).cpu()

    def provenance(self) -> dict[str, Any]:
        """Name, and the SHA-256 of each weights file."""
        return {"name": self.name, "files": dict(self._hashes)}

    def _prepare(self, images: Tensor) -> Tensor:
        """The networks' input: (B, 1, 128, 128) in [-1, 1] on their device."""
        images = as_batch(images)
        if not torch.isfinite(images).all():
            raise ValueError("images must be finite; found NaN or infinite pixels.")
        return on_grid(images.to(self.device, torch.float32), (JUDGE_SIZE, JUDGE_SIZE)) * 2 - 1


def load_phantom_judges(folder: str | Path, *, device: str | torch.device = "cpu") -> PhantomJudges:
    """Load the two networks whose weights lie in a folder.

    Raises:
        WeightsError: if a file is missing, unreadable or does not fit its network.
    """
    classifier, segmenter, folder = PhantomClassifier(), PhantomSegmenter(), Path(folder)
    domain = FeatureDomain(classifier.heads.in_features) if (folder / DOMAIN_FILE).is_file() else None
    networks: dict[str, nn.Module] = {CLASSIFIER_FILE: classifier, SEGMENTER_FILE: segmenter}
    hashes = {name: load_weights(network, folder / name) for name, network in networks.items()}
    if domain is not None:
        load_weights(domain, folder / DOMAIN_FILE)
    return PhantomJudges(classifier, segmenter, domain=domain, hashes=hashes, device=device)


def save_weights(network: nn.Module, path: str | Path) -> None:
    """Write a network's tensors and nothing else; floating point as float16."""
    tensors = {
        name: tensor.detach().cpu().to(torch.float16) if tensor.is_floating_point() else tensor.detach().cpu()
        for name, tensor in network.state_dict().items()
    }
    with written_atomically(path, public=True) as temporary:
        torch.save(tensors, temporary)


def load_weights(network: nn.Module, path: str | Path) -> str:
    """Fill a network from a file of `save_weights`, strictly and as tensors only.

    Returns:
        The file's SHA-256.

    Raises:
        WeightsError: if the file is missing, unreadable or does not fit.
    """
    path = Path(path)
    action = f"Put {path.name} into {path.parent}, or train it with `biomedjourney train-judges --out {path.parent}`"
    if not path.is_file():
        raise WeightsError(f"the judges need the weights {path}", found="no such file", action=action)
    with as_weights_error(f"{path} must hold the tensors of {type(network).__name__}", action=action):
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    return file_hash(path)
