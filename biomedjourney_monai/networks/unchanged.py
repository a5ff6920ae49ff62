"""Restore the prior's own pixels where a counterfactual did not change anything."""

from torch import Tensor
from torch.nn.functional import avg_pool2d

WINDOW = 9 / 128
"""Side of the window that a change is averaged over, as a share of the image's side."""

EDGE_WINDOW = 5 / 128
"""Side of the window over which the border between kept and changed pixels is smoothed, as a share of the image's."""

STEEPNESS = 4.0
"""Steepness of the transition at the threshold: at twice the threshold 98 % of the change is shown."""

EFFECT_SHARE = 0.2
"""Threshold of the description's effect, as a share of that of a change. The effect is measured in the denoiser's first
prediction, a mean over all possible images, where it is weaker than in the counterfactual."""


def keep_unchanged(
    counterfactual: Tensor,
    reconstruction: Tensor,
    prior: Tensor,
    *,
    threshold: float,
    effect: Tensor | None = None,
) -> Tensor:
    """Show what the denoiser changed, and keep the prior elsewhere.

    A denoiser redraws the whole image, with small differences from the prior even where nothing changes; details that
    are specific to a patient are equally small. So the difference between the counterfactual and the autoencoder's
    reconstruction of the prior counts as a change only where its mean over a window is above a threshold. It is added
    to the prior's own pixels, which the autoencoder has not degraded.

    Some changes occur in any follow-up image and are not related to the description, for example a side marker in
    another position. If the effect of the description is known, pixels outside it are kept as well.

    Args:
        counterfactual: decoded, shape (B, 1, H, W), in [0, 1].
        reconstruction: the prior's latent, decoded, same shape and range.
        prior: same shape and range.
        threshold: mean absolute difference that counts as a change, in grey values, >= 0; 0 returns the counterfactual.
        effect: prediction with the description minus that without it, in grey values, same shape; None if unknown.

    Returns:
        Same shape, in [0, 1].

    Raises:
        ValueError: if the threshold is negative or the shapes differ.
    """
    if threshold < 0:
        raise ValueError(f"threshold must be >= 0, found {threshold}")
    shape_of_effect = prior.shape if effect is None else effect.shape
    if not counterfactual.shape == reconstruction.shape == prior.shape == shape_of_effect:
        raise ValueError(f"shapes must agree, found {counterfactual.shape}, {reconstruction.shape}, {prior.shape}")
    if threshold == 0:
        return counterfactual
    change = counterfactual - reconstruction
    changed = _above(threshold, change)
    if effect is not None:
        changed = changed * _above(EFFECT_SHARE * threshold, effect)
    return (prior + _average(changed, EDGE_WINDOW) * change).clamp(0, 1)


def _above(threshold: float, change: Tensor) -> Tensor:
    """Where the mean of a change over a window is above a threshold: 0 to 1, and 0.5 at it."""
    return (STEEPNESS * (_average(change.abs(), WINDOW) / threshold - 1)).sigmoid()


def _average(image: Tensor, share: float) -> Tensor:
    """Mean over a square window with an odd side; at the border, over what lies inside."""
    side = 2 * int(share * image.shape[-1] / 2) + 1
    return avg_pool2d(image, side, stride=1, padding=side // 2, count_include_pad=False)
