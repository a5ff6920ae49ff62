"""Judges: frozen networks that score images, behind one interface.

`PhantomJudges` serve rendered radiographs, `clinical_judges.ClinicalJudges` clinical ones; `choose_judges` takes either
and nothing else knows which judges are at work.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from biomedjourney_monai.errors import ConfigError, WeightsError
from biomedjourney_monai.evaluation.judges.networks import JUDGE_SIZE, PhantomClassifier, PhantomSegmenter
from biomedjourney_monai.files import file_hash, written_atomically

CLASSIFIER_FILE = "phantom_classifier.pt"
SEGMENTER_FILE = "phantom_segmenter.pt"
JUDGES = ("phantom", "xrv")


@dataclass(frozen=True)
class JudgeScores:
    """What judges say of B images.

    Attributes:
        pathology: probability of each finding of `schema.FINDINGS`, shape (B, 5).
        race: probability of each group of `RACE_GROUPS`, shape (B, 3), rows sum to 1.
        age: years, shape (B,).
        structures: masks of `schema.STRUCTURES`, bool, shape (B, 6, H, W).
    """

    pathology: Tensor
    race: Tensor
    age: Tensor
    structures: Tensor

    def as_columns(self) -> Tensor:
        """Give pathology, race and age side by side, shape (B, 9): the `y_pred` of `CMIGMetric`."""
        return torch.cat([self.pathology, self.race, self.age[:, None]], dim=1)


class Judges(Protocol):
    """What every set of judges offers."""

    def score(self, images: Tensor) -> JudgeScores:
        """Score images of shape (B, 1, H, W) in [0, 1], bright = dense."""

    def features(self, images: Tensor) -> Tensor:
        """Give the classifier's pooled features of such images, shape (B, D)."""

    def provenance(self) -> dict[str, object]:
        """Say what the judges are: name, and the SHA-256 of each weights file."""


class PhantomJudges:
    """The judges for rendered radiographs.

    Args:
        classifier: findings, group and age.
        segmenter: the six structures.
        hashes: file name -> SHA-256, for the provenance.
        device: where to compute.
    """

    def __init__(
        self,
        classifier: PhantomClassifier,
        segmenter: PhantomSegmenter,
        *,
        hashes: dict[str, str] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.classifier = classifier.eval().to(device)
        self.segmenter = segmenter.eval().to(device)
        self.device = torch.device(device)
        self._hashes = hashes or {}

    @torch.inference_mode()
    def score(self, images: Tensor) -> JudgeScores:
        """Score images of shape (B, 1, H, W) in [0, 1]; other sizes than 128 are resampled.

        Raises:
            ValueError: if the shape is another or a pixel is not finite.
        """
        seen = self._seen(images)
        findings, groups, age = self.classifier(seen)
        structures = _resized(self.segmenter(seen), images.shape[-2:]) > 0
        return JudgeScores(findings.sigmoid().cpu(), groups.softmax(dim=1).cpu(), age.cpu(), structures.cpu())

    def finding_logits(self, images: Tensor) -> Tensor:
        """The logit of each finding of images as in `score`, shape (B, 5); differentiable, for heat maps."""
        return self.classifier(self._seen(images))[0]

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """The classifier's pooled features of images as in `score`, shape (B, 272)."""
        return self.classifier.features(self._seen(images)).cpu()

    def _seen(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] != 1:
            raise ValueError(f"images must be of shape (B, 1, H, W); found {tuple(images.shape)}.")
        if not torch.isfinite(images).all():
            raise ValueError("images must be finite; found NaN or infinite pixels.")
        return _resized(images.to(self.device, torch.float32), (JUDGE_SIZE, JUDGE_SIZE)) * 2 - 1

    def provenance(self) -> dict[str, object]:
        return {"name": "phantom", "files": dict(self._hashes)}


def load_judges(models: str | Path, *, device: str | torch.device = "cpu") -> Judges:
    """Load the judges whose weights lie in a folder.

    Raises:
        WeightsError: if a file is missing, unreadable or does not fit its network.
    """
    models = Path(models)
    networks = {CLASSIFIER_FILE: PhantomClassifier(), SEGMENTER_FILE: PhantomSegmenter()}
    hashes = {name: load_weights(network, models / name) for name, network in networks.items()}
    return PhantomJudges(*networks.values(), hashes=hashes, device=device)


def choose_judges(
    name: str, folder: str | Path, *, trained_on: str = "chex", device: str | torch.device = "cpu"
) -> Judges:
    """Load judges by name.

    Args:
        name: "phantom" for rendered radiographs, "xrv" for clinical ones.
        folder: of their weights.
        trained_on: which of torchxrayvision's classifiers, for "xrv".

    Raises:
        ConfigError: for another name.
        WeightsError: if weights are missing or do not fit.
    """
    if name == "phantom":
        return load_judges(folder, device=device)
    if name == "xrv":
        from biomedjourney_monai.evaluation.judges.clinical import load_clinical_judges

        return load_clinical_judges(folder, trained_on=trained_on, device=device)
    raise ConfigError(f"judges must be one of {', '.join(JUDGES)}", found=str(name))


def save_weights(network: nn.Module, path: str | Path) -> None:
    """Write a network's tensors and nothing else, floating point as fp16."""
    tensors = {
        name: tensor.detach().cpu().to(torch.float16) if tensor.is_floating_point() else tensor.detach().cpu()
        for name, tensor in network.state_dict().items()
    }
    with written_atomically(path) as temporary:
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
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    except Exception as error:  # unpickling hostile or truncated bytes raises many kinds
        raise WeightsError(
            f"{path} must hold the tensors of {type(network).__name__}", found=type(error).__name__, action=action
        ) from error
    return file_hash(path)


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return interpolate(images, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)
