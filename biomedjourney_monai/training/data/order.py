"""The order of the training examples: a function of the seed and the iteration only."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from ignite.engine import Engine, Events
from torch.utils.data import Sampler


class ShuffledBatches(Sampler[list[int]]):
    """An endless stream of batches of places in the dataset.

    The stream is one shuffle of the dataset after another. A batch is its next `batch_size · processes` places, of
    which each process takes every `processes`-th. A resumed training therefore continues with the next batch, also
    within an epoch, and several processes together see the same examples as one. Each shuffle shows the next variant of
    each example: place `item + number · items` is variant `number`.

    Args:
        items: length of the dataset.
        variants: of each example.
        batch_size: examples per batch and process.
        seed: of the shuffles.
        process: number of this process.
        processes: number of processes that train together.
    """

    def __init__(
        self, items: int, *, batch_size: int, seed: int, process: int = 0, processes: int = 1, variants: int = 1
    ) -> None:
        if min(items, batch_size, variants) < 1:
            raise ValueError(f"items, batch_size and variants must be >= 1, found {items}, {batch_size}, {variants}")
        if not 0 <= process < processes:
            raise ValueError(f"process must be in [0, {processes}), found {process}")
        self.items, self.batch_size, self.seed, self.variants = items, batch_size, seed, variants
        self.process, self.processes = process, processes
        self.first_batch = 0

    def __len__(self) -> int:
        """Batches per epoch: once through the data; examples that do not fill a batch begin the next epoch."""
        return max(1, self.items // (self.batch_size * self.processes))

    def __iter__(self) -> Iterator[list[int]]:
        share = self.batch_size * self.processes
        batch, shuffle, shuffled = self.first_batch, list[int](), -1
        while True:
            places = []
            for position in range(batch * share + self.process, (batch + 1) * share, self.processes):
                if position // self.items != shuffled:
                    shuffled = position // self.items
                    shuffle = self._shuffle(shuffled)
                item = shuffle[position % self.items]
                places.append(item + self.items * ((shuffled + item) % self.variants))
            yield places
            batch += 1

    def attach(self, engine: Engine) -> None:
        """Start at the trainer's iteration, which a checkpoint may have set."""
        engine.add_event_handler(Events.STARTED, self._start)

    def _start(self, engine: Engine) -> None:
        self.first_batch = engine.state.iteration

    def _shuffle(self, number: int) -> list[int]:
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * number)
        order: list[int] = torch.randperm(self.items, generator=generator).tolist()
        return order
