"""The web page's server: one page, two requests answered in JSON, time limits. It stores nothing that it receives.

`POST /api/inspect` takes an image file's bytes. `POST /api/make` takes one line of JSON (`PageRequest`), then the
bytes, and streams lines of JSON: waiting, sampling, and finally the result or an error. Closing the connection cancels
the request. `PageService` does the work; this module checks access and limits.
"""

import asyncio
import json
import logging
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from threading import Event
from typing import Any, Protocol
from urllib.parse import urlsplit

import h11
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from biomedjourney_monai.clinic.web.arrivals import Arrivals, LineFullError, RequestQueue
from biomedjourney_monai.clinic.web.login import Logins
from biomedjourney_monai.clinic.web.page import MEDIA_TYPES, read_static, render_page
from biomedjourney_monai.clinic.web.request import (
    MAX_BYTES,
    MAX_SETTINGS_BYTES,
    LimitError,
    PageRequest,
    RequestError,
    parse_request,
    too_large,
)
from biomedjourney_monai.errors import BiomedJourneyError

logger = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
    " connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""The page communicates with its own server only, and browsers do not cache it."""

WRONG_LOGIN_SECONDS = 1.0
"""Delay of the answer to a wrong password."""

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
Handler = Callable[[Request], Awaitable[Response]]


class Cancelled(Exception):  # noqa: N818
    """The browser has closed the connection, or the time limit has passed."""


class PageService(Protocol):
    """Does the work, in its own threads."""

    def page_facts(self) -> dict[str, Any]:
        """Facts about the model, and the form's defaults."""

    def example(self, number: int) -> bytes | None:
        """An example image as PNG, or None."""

    def inspect(self, data: bytes) -> dict[str, Any]:
        """Describe an upload before it is used."""

    def make(
        self, request: PageRequest, data: bytes, *, tell: Callable[..., None], is_cancelled: Callable[[], bool]
    ) -> dict[str, Any]:
        """Make counterfactuals; raises `Cancelled` soon after `is_cancelled` returns True."""


class WebServer:
    """The routes, with their limits.

    Args:
        service: does the work.
        waiting: number of requests at a time, including the one in progress.
        seconds: time limit of a request, from the start of its turn.
        arrivals: receives uploads, within limits.
        max_bytes: size limit of an upload.
        logins: who may use the page; None for everybody who reaches it.
        host_names: host names that requests may use; None for any. On loopback this refuses other sites whose names
            resolve to this machine (DNS rebinding).
    """

    def __init__(
        self,
        service: PageService,
        *,
        waiting: int = 4,
        seconds: float = 600.0,
        arrivals: Arrivals | None = None,
        max_bytes: int = MAX_BYTES,
        logins: Logins | None = None,
        host_names: tuple[str, ...] | None = LOOPBACK_NAMES,
    ) -> None:
        self.service, self.queue = service, RequestQueue(limit=waiting)
        self.arrivals, self.seconds, self.max_bytes = arrivals or Arrivals(), seconds, max_bytes
        self.logins, self.host_names = logins, host_names
        self._tasks: set[asyncio.Task[None]] = set()
        self._page: bytes | None = None

    def app(self) -> ASGIApp:
        """The ASGI application; every answer carries `HEADERS`."""
        routes = [
            Route("/", self._guarded(self.page)),
            Route("/static/{name}", self._guarded(self.static)),
            Route("/examples/{number:int}.png", self._guarded(self.example)),
            Route("/api/inspect", self._guarded(self.inspect), methods=["POST"]),
            Route("/api/make", self._guarded(self.make), methods=["POST"]),
        ]
        return with_headers(Starlette(routes=routes))

    async def page(self, request: Request) -> Response:
        if self._page is None:
            limits = {"max_bytes": self.max_bytes, "max_mb": self.max_bytes // 1024**2}
            self._page = render_page({**self.service.page_facts(), **limits}).encode()
        return Response(self._page, media_type="text/html")

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in MEDIA_TYPES:
            return Response(status_code=404)
        return Response(read_static(name), media_type=MEDIA_TYPES[name])

    async def example(self, request: Request) -> Response:
        content = await asyncio.to_thread(self.service.example, request.path_params["number"])
        return Response(status_code=404) if content is None else Response(content, media_type="image/png")

    async def inspect(self, request: Request) -> Response:
        data = await self._receive(request, self.max_bytes)
        with self.queue.enter():
            return JSONResponse(await asyncio.to_thread(self.service.inspect, data))

    async def make(self, request: Request) -> Response:
        body = await self._receive(request, self.max_bytes + MAX_SETTINGS_BYTES)
        head, newline, data = body.partition(b"\n")
        if not newline or len(head) > MAX_SETTINGS_BYTES:
            found = f"a first line of {len(head):,} bytes"
            raise RequestError("a request must be one line of JSON, then an image", found=found)
        asked = parse_request(head)
        if len(data) > self.max_bytes:
            raise too_large(len(data), max_bytes=self.max_bytes)
        with ExitStack() as place:
            place.enter_context(self.queue.enter())
            kept = place.pop_all()
        lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        task = asyncio.create_task(self._work(kept, asked, data, lines.put_nowait))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return StreamingResponse(self._follow(task, lines), media_type="application/x-ndjson")

    async def _work(
        self, place: ExitStack, asked: PageRequest, data: bytes, put: Callable[[dict[str, Any] | None], None]
    ) -> None:
        """One request from its place in the queue to its last answer."""
        try:
            with place:
                async with self.queue.turn(lambda ahead: put({"state": "waiting", "ahead": ahead})):
                    put({"state": "reading"})
                    put({"state": "done", "result": await self._in_thread(asked, data, put)})
        except Exception as error:
            put({"state": "error", **explain(error)})
        finally:
            put(None)

    async def _in_thread(
        self, asked: PageRequest, data: bytes, put: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Serve a request in a thread; cancelling waits until the thread has released the model."""
        loop, gone, ends = asyncio.get_running_loop(), Event(), time.monotonic() + self.seconds

        def tell(**facts: Any) -> None:
            loop.call_soon_threadsafe(put, facts)

        def is_cancelled() -> bool:
            return gone.is_set() or time.monotonic() > ends

        thread = asyncio.ensure_future(
            asyncio.to_thread(self.service.make, asked, data, tell=tell, is_cancelled=is_cancelled)
        )
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            gone.set()
            await asyncio.wait([thread])
            thread.exception()  # retrieved, so that asyncio does not log it
            logger.info("a request was cancelled")
            raise
        except Cancelled as error:
            rule, found = f"a request must be done within {self.seconds:g} seconds", "a longer one"
            raise LimitError(rule, found=found, action="Ask for fewer steps or samples") from error

    async def _follow(
        self, task: asyncio.Task[None], lines: asyncio.Queue[dict[str, Any] | None]
    ) -> AsyncIterator[bytes]:
        """Stream the answers; the end of the stream ends the request."""
        try:
            while (line := await lines.get()) is not None:
                yield json.dumps(line).encode() + b"\n"
        finally:
            task.cancel()

    async def _receive(self, request: Request, max_bytes: int) -> bytes:
        announced = request.headers.get("content-length", "")
        limits = {"max_bytes": max_bytes, "shown": self.max_bytes}
        return await self.arrivals.receive(request.stream(), announced=announced, **limits)

    def _guarded(self, handler: Handler) -> Handler:
        """Check access, and answer errors with an explanation; what was sent is never logged."""

        async def guarded(request: Request) -> Response:
            started = time.monotonic()
            try:
                refusal = self._refuse(request) or await self._ask_for_login(request)
                response = refusal or await handler(request)
            except ClientDisconnect:
                response = Response(status_code=499)
            except Exception as error:
                response = JSONResponse(explain(error), status_code=status_of(error))
            if response.status_code == 503:
                response.headers["Retry-After"] = "30"
            facts = (request.method, getattr(handler, "__name__", ""), response.status_code)
            logger.info("%s %s: %d in %.2f s", *facts, time.monotonic() - started)
            return response

        return guarded

    def _refuse(self, request: Request) -> Response | None:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname
        if self.host_names is not None and host not in self.host_names:
            return Response("This page is served to this machine only.", status_code=403)
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return Response("Requests from other pages are refused.", status_code=403)
        return None

    async def _ask_for_login(self, request: Request) -> Response | None:
        """None for users with the right password, or without `logins`; else an answer that makes browsers ask."""
        given = request.headers.get("authorization", "")
        if self.logins is None or (given and await asyncio.to_thread(self.logins.accepts, given)):
            return None
        if given:
            await asyncio.sleep(WRONG_LOGIN_SECONDS)
        realm = {"WWW-Authenticate": 'Basic realm="Counterfactual chest radiographs", charset="UTF-8"'}
        return Response("Name and password are needed.", status_code=401, headers=realm)


def with_headers(app: ASGIApp) -> ASGIApp:
    """Add `HEADERS` to every answer, those to unknown addresses and those after errors included."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await app(scope, receive, send_with)

    return wrapped


def explain(error: Exception) -> dict[str, str]:
    """An error for the page: code and message; an internal error shows no details."""
    if isinstance(error, BiomedJourneyError):
        code = getattr(error, "reason", "") or type(error).__name__
        return {"code": code.replace(" ", "_"), "message": str(error)}
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f"{last[0].name}, line {last[0].lineno}" if last else "an unknown place"
    logger.error("a request failed: %s in %s", type(error).__name__, where)  # its text may contain patient data
    message = "An internal error occurred; nothing was made. Tell the person who runs this page."
    return {"code": "internal_error", "message": message}


def status_of(error: Exception) -> int:
    """The HTTP status for an error."""
    if isinstance(error, LineFullError):
        return 503
    if isinstance(error, LimitError):
        return 413
    return 400 if isinstance(error, BiomedJourneyError) else 500


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
