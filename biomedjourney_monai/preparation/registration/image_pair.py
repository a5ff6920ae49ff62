"""Two images to register: pixels and content masks."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImagePair:
    """A prior and a new image on grids of one size.

    Args:
        prior: the fixed image, in [0, 1], shape (S, S).
        new: the moving image, same shape.
        prior_content: bool, same shape, False in the letterbox.
        new_content: the same for the new image.
    """

    prior: np.ndarray
    new: np.ndarray
    prior_content: np.ndarray
    new_content: np.ndarray

    @property
    def mirrored(self) -> "ImagePair":
        """The same pair with the new image mirrored left to right."""
        return ImagePair(self.prior, self.new[:, ::-1], self.prior_content, self.new_content[:, ::-1])
