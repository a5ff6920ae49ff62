"""The web page's server: one page, and two requests, answered in JSON. It keeps nothing of what it is sent.

`POST /api/inspect` takes an image file's bytes. `POST /api/make` takes one line of JSON (`page_request`), then the
bytes, and answers with lines of JSON while it goes on: waiting, sampling, and at last the result or an error. A browser
that goes away ends its request. What the model does is the `Workshop`'s; this is the door, and who may come in.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from threading import Event
from typing import Any, Protocol
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from biomedjourney_monai.clinic.web.page import STATIC_FILES, render_page
from biomedjourney_monai.clinic.web.queue import LineFullError, WaitingLine
from biomedjourney_monai.clinic.web.request import MAX_SETTINGS_BYTES, PageRequest, RequestError, parse_request
from biomedjourney_monai.clinic.web.uploads import MAX_BYTES, LimitError, too_large
from biomedjourney_monai.errors import BiomedJourneyError

logger = logging.getLogger(__name__)

UPLOAD_SECONDS = 60.0
"""For the bytes of one upload to arrive."""

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
"""A page that can load and send nothing but from and to its own server, and that no browser keeps."""

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")


class Cancelled(Exception):  # noqa: N818
    """The one who asked has gone, or the time is up."""


class Workshop(Protocol):
    """What does the work, in threads of its own."""

    def page_facts(self) -> dict[str, Any]:
        """What the page says of the model, and the form's defaults."""

    def example(self, number: int) -> bytes | None:
        """An example image as PNG, or None."""

    def inspect(self, data: bytes) -> dict[str, Any]:
        """Look at an upload before anything is made of it."""

    def make(
        self, request: PageRequest, data: bytes, *, tell: Callable[..., None], is_cancelled: Callable[[], bool]
    ) -> dict[str, Any]:
        """Make counterfactuals; raises `Cancelled` soon after `is_cancelled` says so."""


class WebServer:
    """The routes, with their limits.

    Args:
        workshop: does the work.
        waiting: requests in the house at a time, those at work included.
        seconds: for one request to be made, once it is its turn.
        upload_seconds: for its bytes to arrive.
        max_bytes: of an upload.
        host_names: names under which the page may be asked for; None for any. On loopback this keeps pages from
            elsewhere out that have their own name point here.
    """

    def __init__(
        self,
        workshop: Workshop,
        *,
        waiting: int = 4,
        seconds: float = 600.0,
        upload_seconds: float = UPLOAD_SECONDS,
        max_bytes: int = MAX_BYTES,
        host_names: tuple[str, ...] | None = LOOPBACK_NAMES,
    ) -> None:
        self.workshop, self.line = workshop, WaitingLine(limit=waiting)
        self.seconds, self.upload_seconds, self.max_bytes = seconds, upload_seconds, max_bytes
        self.host_names = host_names
        self._tasks: set[asyncio.Task[None]] = set()
        self._page: bytes | None = None

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/", self._guarded(self.page)),
            Route("/static/{name}", self._guarded(self.static)),
            Route("/examples/{number:int}.png", self._guarded(self.example)),
            Route("/api/inspect", self._guarded(self.inspect), methods=["POST"]),
            Route("/api/make", self._guarded(self.make), methods=["POST"]),
        ]
        return Starlette(routes=routes)

    async def page(self, request: Request) -> Response:
        if self._page is None:
            limits = {"max_bytes": self.max_bytes, "max_mb": self.max_bytes // 1024**2}
            self._page = render_page({**self.workshop.page_facts(), **limits}).encode()
        return Response(self._page, media_type="text/html")

    async def static(self, request: Request) -> Response:
        found = STATIC_FILES.get(request.path_params["name"])
        if found is None:
            return Response(status_code=404)
        return Response(found.content(), media_type=found.media_type)

    async def example(self, request: Request) -> Response:
        content = await asyncio.to_thread(self.workshop.example, request.path_params["number"])
        return Response(status_code=404) if content is None else Response(content, media_type="image/png")

    async def inspect(self, request: Request) -> Response:
        with self.line.enter():
            data = await self._receive(request, self.max_bytes)
            return JSONResponse(await asyncio.to_thread(self.workshop.inspect, data))

    async def make(self, request: Request) -> Response:
        with ExitStack() as place:
            place.enter_context(self.line.enter())
            body = await self._receive(request, self.max_bytes + MAX_SETTINGS_BYTES)
            head, found, data = body.partition(b"\n")
            if not found or len(head) > MAX_SETTINGS_BYTES:
                raise RequestError("a request must be one line of JSON, then an image", found="another")
            asked = parse_request(head)
            if len(data) > self.max_bytes:
                raise too_large(len(data), max_bytes=self.max_bytes)
            kept = place.pop_all()
        lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        task = asyncio.create_task(self._work(kept, asked, data, lines.put_nowait))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return StreamingResponse(self._follow(task, lines), media_type="application/x-ndjson")

    async def _work(
        self, place: ExitStack, asked: PageRequest, data: bytes, put: Callable[[dict[str, Any] | None], None]
    ) -> None:
        """One request from its place in the line to its last answer."""
        try:
            with place:
                async with self.line.turn(lambda ahead: put({"state": "waiting", "ahead": ahead})):
                    put({"state": "reading"})
                    put({"state": "done", "result": await self._in_thread(asked, data, put)})
        except Exception as error:
            put({"state": "error", **explain(error)})
        finally:
            put(None)

    async def _in_thread(self, asked: PageRequest, data: bytes, put: Callable[[dict[str, Any]], None]) -> Any:
        """Make it in a thread; who cancels waits until the thread has let go of the model."""
        loop, gone, ends = asyncio.get_running_loop(), Event(), time.monotonic() + self.seconds

        def tell(**facts: Any) -> None:
            loop.call_soon_threadsafe(put, facts)

        def is_cancelled() -> bool:
            return gone.is_set() or time.monotonic() > ends

        thread = asyncio.ensure_future(
            asyncio.to_thread(self.workshop.make, asked, data, tell=tell, is_cancelled=is_cancelled)
        )
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            gone.set()
            await asyncio.wait([thread])
            thread.exception()  # looked at, so that nothing is logged of it
            logger.info("a request was cancelled")
            raise
        except Cancelled as error:
            raise LimitError(
                f"a request must be done within {self.seconds:g} seconds",
                found="a longer one",
                action="Ask for fewer steps or samples",
            ) from error

    async def _follow(
        self, task: asyncio.Task[None], lines: asyncio.Queue[dict[str, Any] | None]
    ) -> AsyncIterator[bytes]:
        """Hand on the answers as they come; the stream's end is the request's."""
        try:
            while (line := await lines.get()) is not None:
                yield json.dumps(line).encode() + b"\n"
        finally:
            task.cancel()

    async def _receive(self, request: Request, max_bytes: int) -> bytes:
        announced = request.headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > max_bytes:
            raise too_large(int(announced), max_bytes=self.max_bytes)
        try:
            return await asyncio.wait_for(self._collect(request, max_bytes), self.upload_seconds)
        except asyncio.TimeoutError as error:
            raise LimitError(
                f"an upload must arrive within {self.upload_seconds:g} seconds", found="a slower one"
            ) from error

    async def _collect(self, request: Request, max_bytes: int) -> bytes:
        parts, count = [], 0
        async for part in request.stream():
            count += len(part)
            if count > max_bytes:
                raise too_large(count, max_bytes=self.max_bytes)
            parts.append(part)
        return b"".join(parts)

    async def _let_pass(self, request: Request) -> None:
        """Take in a refused upload and drop it: a browser reads no answer before it has sent all of its question."""

        async def drop() -> None:
            count, more = 0, True
            while more and count <= self.max_bytes + MAX_SETTINGS_BYTES:
                message = await request.receive()
                count += len(message.get("body", b""))
                more = message.get("more_body", False)

        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(drop(), self.upload_seconds)

    def _guarded(self, handler: Callable[[Request], Any]) -> Callable[[Request], Any]:
        """Who may ask, and how errors are answered: in words, and never with what was sent in a log."""

        async def guarded(request: Request) -> Response:
            started = time.monotonic()
            try:
                refusal = self._refuse(request)
                response = refusal if refusal is not None else await handler(request)
            except ClientDisconnect:
                response = Response(status_code=499)
            except Exception as error:
                if isinstance(error, LineFullError):
                    await self._let_pass(request)
                response = JSONResponse(explain(error), status_code=status_of(error))
            response.headers.update(HEADERS)
            if response.status_code == 503:
                response.headers["Retry-After"] = "30"
            logger.info(
                "%s %s: %d in %.2f s",
                request.method,
                handler.__name__,
                response.status_code,
                time.monotonic() - started,
            )
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


def explain(error: Exception) -> dict[str, str]:
    """An error for the page: its code and its words; a bug of ours only says that it is one."""
    if isinstance(error, BiomedJourneyError):
        code = getattr(error, "reason", "") or type(error).__name__
        return {"code": code.replace(" ", "_"), "message": str(error)}
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f"{last[0].name}, line {last[0].lineno}" if last else "somewhere"
    logger.error("a request failed: %s in %s", type(error).__name__, where)  # its text may quote a patient
    return {
        "code": "internal_error",
        "message": "Something went wrong here; nothing was made. Tell who runs the page.",
    }


def status_of(error: Exception) -> int:
    """The HTTP status for an error."""
    if isinstance(error, LineFullError):
        return 503
    if isinstance(error, LimitError):
        return 413
    return 400 if isinstance(error, BiomedJourneyError) else 500
