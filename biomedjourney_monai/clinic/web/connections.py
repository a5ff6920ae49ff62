"""Connections with time limits: for the header of a request, and for the reader of an answer."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from biomedjourney_monai.clinic.web.server import HEADERS

HEADER_SECONDS = 10.0
"""Time for the whole header of a request to arrive, from the connection or the last answer on."""

READER_SECONDS = 120.0
"""Time in which a browser must read what was sent."""

MAX_CONNECTIONS = 400
"""Beyond them, the one that has been without a request for the longest time is closed."""


class LimitedConnection(H11Protocol):
    """One connection. Slow ones cost memory for a limited time, and never hold the model."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._header_limit: asyncio.TimerHandle | None = None
        self._reader_limit: asyncio.TimerHandle | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch_header()
        if len(self.connections) > MAX_CONNECTIONS:
            idle = [one for one in self.connections if isinstance(one, LimitedConnection) and one._header_limit]
            min(idle, key=lambda one: one._header_limit.when()).transport.abort()  # type: ignore[union-attr]

    def connection_lost(self, exc: Exception | None) -> None:
        self._header_limit = _stop(self._header_limit)
        self._reader_limit = _stop(self._reader_limit)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_header()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_header()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reader_limit = self._reader_limit or self.loop.call_later(READER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._reader_limit = _stop(self._reader_limit)
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, with the headers of every answer."""
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close"), *HEADERS.items()]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=msg.encode("ascii")),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch_header(self) -> None:
        """Let the time run while no request has arrived completely; bytes do not extend it."""
        if self.is_busy or self.transport.is_closing():
            self._header_limit = _stop(self._header_limit)
        elif self._header_limit is None:
            self._header_limit = self.loop.call_later(HEADER_SECONDS, self.transport.abort)


def _stop(limit: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    if limit is not None:
        limit.cancel()
    return None
