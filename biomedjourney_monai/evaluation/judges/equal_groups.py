"""Give networks images in groups of one size, whatever the number of images.

oneDNN, which computes convolutions on the CPU, keeps each prepared convolution with its scratch memory, once for each
batch size. Batches of many sizes (journeys that ask for one side, the last batch) therefore cost up to some hundred MB;
one size costs it once.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

GROUP = 8
"""Images at once: on a CPU no larger number is faster, and the peak of memory rises with it."""


def equal_groups(images: Tensor, *, size: int = GROUP) -> Iterator[tuple[slice, Tensor]]:
    """Divide images (B, C, H, W) into groups of one size; the last one is filled up with its last image.

    Yields:
        The positions of the group's images, and the group, shape (size, C, H, W). Outputs beyond the first
        `len(images[places])` of a group belong to no image.
    """
    for start in range(0, len(images), size):
        places = slice(start, min(start + size, len(images)))
        group = images[places]
        missing = size - len(group)
        yield places, torch.cat([group, group[-1:].expand(missing, -1, -1, -1)]) if missing else group
