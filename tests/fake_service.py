"""A language-model service for tests, at 127.0.0.1: it speaks OpenAI's protocol and misbehaves as told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Script = Callable[[int, dict[str, Any]], Any]
"""(number of the request from 0, its body) → a body, or (status, body), or (status, body, seconds to wait)."""


class FakeService:
    """What the service was asked."""

    def __init__(self, script: Script) -> None:
        self.script, self.requests, self.base_url = script, [], ""
        self.most_at_once = self._at_once = 0
        self._lock = threading.Lock()

    def begin(self, body: dict[str, Any]) -> int:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.requests.append(body)
            return len(self.requests) - 1

    def end(self) -> None:
        with self._lock:
            self._at_once -= 1


def completion(content: str) -> dict[str, Any]:
    """Wrap an answer as OpenAI does."""
    message = {"role": "assistant", "content": content}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "fake",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


def describe(text: str) -> dict[str, Any]:
    """An answer that keeps to the schema."""
    return completion(json.dumps({"progression_description": text}))


@contextmanager
def serve(script: Script) -> Iterator[FakeService]:
    """Serve in a thread until the block ends."""
    service = FakeService(script)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            number = service.begin(body)
            try:
                answer = service.script(number, body)
                status, content, wait_s = (*answer, 0)[:3] if isinstance(answer, tuple) else (200, answer, 0)
                time.sleep(wait_s)
                data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                if status in (429, 503):
                    self.send_header("retry-after-ms", "5")
                if status == 307:
                    self.send_header("Location", "http://192.0.2.1/v1/chat/completions")
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client gave up waiting
            finally:
                service.end()

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
