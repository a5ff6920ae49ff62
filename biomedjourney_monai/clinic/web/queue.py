"""The queue of the model: one request at a time, in order, and a limited number of requests in all."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from biomedjourney_monai.errors import BiomedJourneyError


class LineFullError(BiomedJourneyError):
    """Too many requests at once."""


class RequestQueue:
    """A queue with room for `limit` >= 1 requests, including the one in progress. For one event loop."""

    def __init__(self, *, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit must be >= 1, found {limit}")
        self.limit, self.inside = limit, 0
        self._turns: deque[asyncio.Event] = deque()

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Take a place in the queue, or raise a LineFullError if it is full."""
        if self.inside >= self.limit:
            rule, found = f"the page takes {self.limit} requests at a time", f"{self.inside} already"
            raise LineFullError(rule, found=found, action="Try again in a minute")
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    @asynccontextmanager
    async def turn(self, tell: Callable[[int], None] = lambda ahead: None) -> AsyncIterator[None]:
        """Wait for the turn, and keep it while the block runs.

        `tell` is called with the number of requests ahead whenever it changes, unless it is 0.
        """
        mine = asyncio.Event()
        self._turns.append(mine)
        try:
            told = 0
            while (ahead := self._turns.index(mine)) > 0:
                if ahead != told:
                    tell(ahead)
                    told = ahead
                await mine.wait()
                mine.clear()
            yield
        finally:
            self._turns.remove(mine)
            for other in self._turns:
                other.set()
