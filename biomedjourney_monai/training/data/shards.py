"""One array in several memory-mapped files."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from biomedjourney_monai.errors import TableError


class ShardedArray:
    """Memory-mapped NumPy files, joined along their first axis.

    Args:
        folder: of the files.
        names: in order.

    Raises:
        TableError: if a file is absent or unreadable, or differs from the others in shape or type.
    """

    def __init__(self, folder: str | Path, names: Sequence[str]) -> None:
        self.shards = [_open(Path(folder) / name) for name in names]
        if not self.shards:
            raise TableError("a latent cache must have files", found="0", action="Run `biomedjourney encode` again")
        first = self.shards[0]
        if any((shard.shape[1:], shard.dtype) != (first.shape[1:], first.dtype) for shard in self.shards):
            raise TableError(
                f"{Path(folder)} must hold arrays of one shape and type",
                found=", ".join(sorted({f"{shard.dtype} {shard.shape[1:]}" for shard in self.shards})),
                action="Run `biomedjourney encode` again",
            )
        self._ends = list(accumulate(len(shard) for shard in self.shards))

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the joined array."""
        return (len(self), *self.shards[0].shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Of each file."""
        return self.shards[0].dtype

    def __getitem__(self, place: int) -> np.ndarray:
        """The item at a place, from 0."""
        if not 0 <= place < len(self):
            raise IndexError(f"place must be in [0, {len(self)}), found {place}")
        number = bisect_right(self._ends, place)
        shard = self.shards[number]
        return shard[place - self._ends[number] + len(shard)]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        whole = np.concatenate(self.shards)
        return whole if dtype is None else whole.astype(dtype)


def _open(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise TableError(
            f"{path} must be a readable array", found=type(error).__name__, action="Run `biomedjourney encode` again"
        ) from error
