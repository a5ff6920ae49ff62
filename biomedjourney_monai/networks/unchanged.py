"""Put the prior's own pixels back where a counterfactual did not change anything."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import avg_pool2d

WINDOW = 9 / 128
"""Side of the window that a change is averaged over, as a share of the image's side."""

EDGE_WINDOW = 5 / 128
"""Side of the window that the border between kept and changed pixels is smoothed over, likewise."""

STEEPNESS = 4.0
"""How fast keeping turns into changing around the threshold: at twice the threshold 98 % of the change is shown."""


def keep_unchanged(counterfactual: Tensor, reconstruction: Tensor, prior: Tensor, *, threshold: float) -> Tensor:
    """Show what the denoiser changed and leave the rest as it was in the prior.

    A denoiser redraws the whole image. Where it has nothing to change it still differs a little from the prior, and
    what makes one patient look like himself is of that size. So the difference between the counterfactual and what the
    autoencoder makes of the prior is taken for a change only where its mean over a window is above a threshold, and it
    is added to the prior's own pixels, which no autoencoder has touched.

    Args:
        counterfactual: decoded, shape (B, 1, H, W), in [0, 1].
        reconstruction: the prior's latent, decoded, same shape and range.
        prior: same shape and range.
        threshold: mean absolute difference that counts as a change, in grey values, >= 0; 0 returns the counterfactual.

    Returns:
        Same shape, in [0, 1].

    Raises:
        ValueError: if the threshold is negative or the shapes differ.
    """
    if threshold < 0:
        raise ValueError(f"threshold must be >= 0, found {threshold}")
    if not counterfactual.shape == reconstruction.shape == prior.shape:
        raise ValueError(f"shapes must agree, found {counterfactual.shape}, {reconstruction.shape}, {prior.shape}")
    if threshold == 0:
        return counterfactual
    change = counterfactual - reconstruction
    changed = (STEEPNESS * (_average(change.abs(), WINDOW) / threshold - 1)).sigmoid()
    return (prior + _average(changed, EDGE_WINDOW) * change).clamp(0, 1)


def _average(image: Tensor, share: float) -> Tensor:
    """Mean over a square window with an odd side; at the border, over what lies inside."""
    side = 2 * int(share * image.shape[-1] / 2) + 1
    return avg_pool2d(image, side, stride=1, padding=side // 2, count_include_pad=False)
