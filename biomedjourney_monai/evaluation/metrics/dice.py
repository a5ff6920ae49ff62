"""The overlap of anatomical structures between two images."""

from __future__ import annotations

import torch
from torch import Tensor


def compute_structure_dice(predicted: Tensor, reference: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Compute 2 |A and B| / (|A| + |B|) per image and structure.

    Args:
        predicted: boolean masks, shape (B, C, H, W). Structures may overlap.
        reference: boolean masks, same shape.
        valid: boolean, shape (B, 1, H, W): only these pixels count, e.g. where a registered image has content.

    Returns:
        Shape (B, C), float32 in [0, 1]; NaN where a structure is in neither image.

    Raises:
        ValueError: if the shapes differ.
    """
    if predicted.shape != reference.shape or predicted.ndim != 4:
        raise ValueError(
            f"the masks must be of one shape (B, C, H, W); found {tuple(predicted.shape)} and {tuple(reference.shape)}."
        )
    predicted, reference = predicted.bool(), reference.bool()
    if valid is not None:
        predicted, reference = predicted & valid.bool(), reference & valid.bool()
    both = (predicted & reference).sum(dim=(2, 3)).float()
    total = (predicted.sum(dim=(2, 3)) + reference.sum(dim=(2, 3))).float()
    return torch.where(total > 0, 2 * both / total, torch.nan)
