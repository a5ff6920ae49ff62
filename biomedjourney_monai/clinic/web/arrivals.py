"""Uploads while they arrive: limited in size and time, and all together in memory.

An upload that is still arriving takes no place in the queue, so that slow connections keep nobody waiting.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from biomedjourney_monai.clinic.web.request import MAX_BYTES, LimitError, too_large
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


SECONDS = 60.0
"""Time limit for the bytes of one upload to arrive."""

TOGETHER = 8 * MAX_BYTES
"""Bytes of all uploads that are arriving; beyond them the one that began first is ended."""


class Arrivals:
    """Receives uploads. For one event loop.

    Args:
        seconds: time limit of each.
        together: bytes that all of them may hold.
    """

    def __init__(self, *, seconds: float = SECONDS, together: int = TOGETHER) -> None:
        self.seconds, self.together = seconds, together
        self._held: dict[asyncio.Task[bytes], int] = {}
        self._ended: set[asyncio.Task[bytes]] = set()

    async def receive(self, stream: AsyncIterator[bytes], *, announced: str, max_bytes: int, shown: int) -> bytes:
        """Receive one upload.

        Args:
            announced: the request's Content-Length, or "".
            max_bytes: size limit.
            shown: the limit of the image alone, for the message.

        Raises:
            LimitError: if it is too large or too slow.
            LineFullError: if it had to make room for later ones.
        """
        if announced.isdigit() and int(announced) > max_bytes:
            raise too_large(int(announced), max_bytes=shown)
        task = asyncio.ensure_future(self._collect(stream, max_bytes, shown))
        self._held[task] = 0
        try:
            return await asyncio.wait_for(task, self.seconds)
        except asyncio.TimeoutError as error:
            raise LimitError(f"an upload must arrive within {self.seconds:g} seconds", found="a slower one") from error
        except asyncio.CancelledError:
            if task not in self._ended:
                raise
            rule = f"uploads that arrive at the same time must have at most {self.together // 1024**2} MB together"
            raise LineFullError(rule, found="more", action="Try again in a minute") from None
        finally:
            self._held.pop(task, None)
            self._ended.discard(task)

    async def _collect(self, stream: AsyncIterator[bytes], max_bytes: int, shown: int) -> bytes:
        parts, count, me = [], 0, asyncio.current_task()
        async for part in stream:
            count += len(part)
            if count > max_bytes:
                raise too_large(count, max_bytes=shown)
            parts.append(part)
            self._held[me] = count  # type: ignore[index]
            self._make_room()
        return b"".join(parts)

    def _make_room(self) -> None:
        held = sum(size for task, size in self._held.items() if task not in self._ended)
        if held > self.together:
            oldest = next(task for task, size in self._held.items() if size and task not in self._ended)
            self._ended.add(oldest)
            oldest.cancel()
