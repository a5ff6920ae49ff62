"""Who may use the model next: one request at a time, in order, and no more in the house than it holds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from biomedjourney_monai.errors import BiomedJourneyError


class LineFullError(BiomedJourneyError):
    """Too many requests at once."""


class WaitingLine:
    """A line with room for `limit` requests, those at work included. For one event loop.

    Args:
        limit: at least 1.
    """

    def __init__(self, *, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit must be >= 1, found {limit}")
        self.limit, self.inside = limit, 0
        self._turns: deque[asyncio.Event] = deque()

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Take a place in the house.

        Raises:
            LineFullError: if there is none.
        """
        if self.inside >= self.limit:
            raise LineFullError(
                f"the page takes {self.limit} requests at a time", found="as many", action="Try again in a minute"
            )
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    @asynccontextmanager
    async def turn(self, tell: Callable[[int], None] = lambda ahead: None) -> AsyncIterator[None]:
        """Wait for one's turn, and keep it while the block runs.

        Args:
            tell: called with the number of requests ahead whenever it has changed, unless there is none.
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
