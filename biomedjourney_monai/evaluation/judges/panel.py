"""The judges as a network that a MONAI evaluator can run, and the inputs of its metric handlers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.utils.enums import CommonKeys
from torch import Tensor, nn
from torch.nn.functional import interpolate

from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.evaluation.judges.scores import Judges, JudgeScores, score_safely
from biomedjourney_monai.evaluation.metrics.dice import compute_structure_dice
from biomedjourney_monai.evaluation.metrics.labels import RACE_GROUPS
from biomedjourney_monai.schema import FINDINGS

F, G = len(FINDINGS), len(RACE_GROUPS)


@dataclass(frozen=True)
class Verdict:
    """The judges' scores of B journeys; a row is NaN, and its masks are empty, where an image could not be read.

    Attributes:
        columns: findings, groups and age of the scored image, shape (B, 9).
        reference_pathology: findings of the real new image, shape (B, 5).
        to_reference: masks of the scored and of the real new image where the latter has content, (B, 6, H, W) each.
        to_prior: masks of the scored and of the prior image, (B, 6, H, W) each.
    """

    columns: Tensor
    reference_pathology: Tensor
    to_reference: tuple[Tensor, Tensor]
    to_prior: tuple[Tensor, Tensor]


class JudgePanel(nn.Module):
    """Frozen judges that score an image, its reference and its prior."""

    def __init__(self, judges: Judges) -> None:
        super().__init__()
        self.judges = judges

    @classmethod
    def from_folder(cls, models: str | Path, *, device: torch.device | str = "cpu") -> "JudgePanel":
        """Load the judges whose weights lie in a folder.

        Raises:
            WeightsError: as `load_judges`.
        """
        return cls(load_judges(models, device=device))

    @torch.no_grad()
    def forward(self, image: Tensor, reference_image: Tensor, prior_image: Tensor, valid: Tensor) -> Verdict:
        """Score images (B, 1, H, W) in [0, 1], NaN throughout where there is none.

        `valid` is bool, of the same shape: where the reference has content.
        """
        (mine, readable), (reference, has_reference), (prior, has_prior) = (
            self._judge(images) for images in (image, reference_image, prior_image)
        )
        return Verdict(
            columns=_known(mine.as_columns(), readable),
            reference_pathology=_known(reference.pathology, has_reference),
            to_reference=_masked(mine, reference, valid.cpu() & (readable & has_reference)[:, None, None, None]),
            to_prior=_masked(mine, prior, (readable & has_prior)[:, None, None, None]),
        )

    def _judge(self, images: Tensor) -> tuple[JudgeScores, Tensor]:
        readable = torch.isfinite(images).flatten(1).all(dim=1)
        scores, faults = score_safely(self.judges, torch.nan_to_num(images))
        judged = torch.tensor([place not in faults for place in range(len(images))], dtype=torch.bool)
        return scores, readable.cpu() & judged


def pathology(output: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Findings and their labels, for `PathologyAUROC`."""
    return _verdict(output).columns[:, :F], _label(output)[:, :F]


def changed_pathology(output: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Findings and their labels where they changed since the prior, for `PathologyAUROC`."""
    return _verdict(output).columns[:, :F], _label(output)[:, F : 2 * F]


def race(output: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Group probabilities and the group, for `GroupAUROC`."""
    return _verdict(output).columns[:, F : F + G], _label(output)[:, -2]


def age(output: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """The judge's age and the patient's, for `PearsonR`."""
    return _verdict(output).columns[:, -1], _label(output)[:, -1]


def everything(output: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """All columns and labels, for `CMIG`."""
    label = _label(output)
    return _verdict(output).columns, torch.cat([label[:, :F], label[:, -2:]], dim=1)


def everything_with_dice(output: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """All columns, then Dice against the reference, shape (B, 15), and the labels, for `CMIGWithDice`."""
    columns, label = everything(output)
    return torch.cat([columns, compute_structure_dice(*reference_masks(output))], dim=1), label


def against_reference(output: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Findings of the scored and of the real new image, for `KL`."""
    return _verdict(output).columns[:, :F], _verdict(output).reference_pathology


def reference_masks(output: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Masks of the scored and of the real new image, for `StructureDice`."""
    return _verdict(output).to_reference


def prior_masks(output: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Masks of the scored and of the prior image, for `StructureDice`."""
    return _verdict(output).to_prior


def _verdict(output: Mapping[str, Any]) -> Verdict:
    """The panel's output in the engine's."""
    return output[CommonKeys.PRED]


def _label(output: Mapping[str, Any]) -> Tensor:
    return output[CommonKeys.LABEL].cpu()


def _known(values: Tensor, good: Tensor) -> Tensor:
    return torch.where(good[:, None], values, torch.nan)


def _masked(scores: JudgeScores, other: JudgeScores, where: Tensor) -> tuple[Tensor, Tensor]:
    mine = scores.structures
    if mine.shape != other.structures.shape:
        mine = interpolate(mine.float(), size=other.structures.shape[-2:]) > 0.5
    return mine & where, other.structures & where
