"""The order of the training examples: a function of the seed and the iteration only."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from ignite.engine import Engine, Events
from torch.utils.data import Sampler

BLOCK = 1000
"""Draws within which every stratum has exactly its share, to a thousandth."""


class Shuffles:
    """One shuffle of so many items after another, without end; a function of the seed."""

    def __init__(self, items: int, *, seed: int) -> None:
        self.items, self.seed = items, seed
        self._number, self._order = -1, list[int]()

    def __call__(self, position: int) -> tuple[int, int]:
        """The item at a position of the stream, and how often it was shown before."""
        number = position // self.items
        if number != self._number:
            generator = torch.Generator().manual_seed(self.seed + 1_000_003 * number)
            self._number, self._order = number, torch.randperm(self.items, generator=generator).tolist()
        return self._order[position % self.items], number


class Batches(Sampler[list[Any]]):
    """An endless stream of batches, each the next `batch_size · processes` draws of a stream.

    Each process takes every `processes`-th draw. A resumed training therefore continues with the next batch, also
    within an epoch, and several processes together see the same examples as one.

    Args:
        items: examples of an epoch.
        batch_size: examples per batch and process.
        process: number of this process.
        processes: number of processes that train together.
    """

    def __init__(self, items: int, *, batch_size: int, process: int = 0, processes: int = 1) -> None:
        if min(items, batch_size) < 1:
            raise ValueError(f"items and batch_size must be >= 1, found {items} and {batch_size}")
        if not 0 <= process < processes:
            raise ValueError(f"process must be in [0, {processes}), found {process}")
        self.items, self.batch_size = items, batch_size
        self.process, self.processes = process, processes
        self.first_batch = 0

    @abstractmethod
    def draw(self, position: int) -> Any:
        """What is at a position of the stream; positions never decrease."""

    def __len__(self) -> int:
        """Batches per epoch: once through the data; examples that do not fill a batch begin the next epoch."""
        return max(1, self.items // (self.batch_size * self.processes))

    def __iter__(self) -> Iterator[list[Any]]:
        share = self.batch_size * self.processes
        batch = self.first_batch
        while True:
            positions = range(batch * share + self.process, (batch + 1) * share, self.processes)
            yield [self.draw(position) for position in positions]
            batch += 1

    def attach(self, engine: Engine) -> None:
        """Start at the trainer's iteration, which a checkpoint may have set."""
        engine.add_event_handler(Events.STARTED, self._start)

    def _start(self, engine: Engine) -> None:
        self.first_batch = engine.state.iteration


class ShuffledBatches(Batches):
    """Batches of places in the dataset, one shuffle of it after another.

    Each shuffle shows the next variant of each example: place `item + number · items` is variant `number`.

    Args:
        items: length of the dataset.
        seed: of the shuffles.
        variants: of each example.
        **sizes: see `Batches`.
    """

    def __init__(self, items: int, *, seed: int, variants: int = 1, **sizes: int) -> None:
        super().__init__(items, **sizes)
        if variants < 1:
            raise ValueError(f"variants must be >= 1, found {variants}")
        self.seed, self.variants = seed, variants
        self._shuffles = Shuffles(items, seed=seed)

    def draw(self, position: int) -> int:
        """A place in the dataset."""
        item, before = self._shuffles(position)
        return item + self.items * ((before + item) % self.variants)


class Stratum(NamedTuple):
    """Items that are drawn with a share of all draws."""

    share: float
    items: int


class Draw(NamedTuple):
    """One example of a mixture: the item of a stratum, and a number that grows by 1 each time that it is shown."""

    stratum: int
    item: int
    turn: int


class MixedBatches(Batches):
    """Batches of draws from several strata, each with its share; a stratum's items come in one shuffle after another.

    Every block of 1000 draws contains each stratum with its share, in random order.

    Args:
        strata: shares that add up to 1, and numbers of items.
        items: draws that count as an epoch.
        seed: of the order.
        **sizes: see `Batches`.
    """

    def __init__(self, strata: Sequence[Stratum], *, items: int, seed: int, **sizes: int) -> None:
        super().__init__(items, **sizes)
        self.seed, self.counts = seed, apportion([stratum.share for stratum in strata], BLOCK)
        self._shuffles = [
            Shuffles(stratum.items, seed=seed + 10_007 * (number + 1)) for number, stratum in enumerate(strata)
        ]
        self._block, self._places = -1, list[tuple[int, int]]()

    def draw(self, position: int) -> Draw:
        """The draw at a position of the stream."""
        block, place = divmod(position, BLOCK)
        if block != self._block:
            self._block, self._places = block, self._arrange(block)
        stratum, rank = self._places[place]
        item, before = self._shuffles[stratum](block * self.counts[stratum] + rank)
        return Draw(stratum, item, before + item)

    def _arrange(self, block: int) -> list[tuple[int, int]]:
        """The stratum of each draw of a block, and how many of that stratum come before it in the block."""
        strata = [number for number, count in enumerate(self.counts) for _ in range(count)]
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * block)
        seen: Counter[int] = Counter()
        places = []
        for place in torch.randperm(BLOCK, generator=generator).tolist():
            places.append((strata[place], seen[strata[place]]))
            seen[strata[place]] += 1
        return places


def apportion(shares: Sequence[float], total: int) -> list[int]:
    """Whole numbers in proportion to the shares, by largest remainders, at least 1 each, that add up to the total.

    Example:
        >>> apportion([0.5, 0.4999, 0.0001], 1000)
        [500, 499, 1]
    """
    whole = sum(shares)
    exact = [share / whole * total for share in shares]
    counts = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: counts[place] - exact[place])
    for place in by_remainder[: total - sum(counts)]:
        counts[place] += 1
    for place, count in enumerate(counts):
        if count == 0:
            counts[counts.index(max(counts))] -= 1
            counts[place] = 1
    return counts
