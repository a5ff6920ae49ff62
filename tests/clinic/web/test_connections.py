"""Slow and half-open connections, over real sockets."""

import contextlib
import http.client
import json
import socket
import threading
import time

import pytest
import uvicorn

from biomedjourney_monai.clinic.web import connections
from biomedjourney_monai.clinic.web.server import HEADERS, WebServer

SETTINGS = {"description": "New edema.", "seed": 0, "steps": 2, "samples": 1}
SETTINGS |= {"text_guidance_scale": 3, "image_guidance_scale": 1}


class Service:
    """Answers at once."""

    def make(self, request, data, *, tell, is_cancelled):
        return {"bytes": len(data)}


@pytest.fixture
def port():
    app = WebServer(Service(), waiting=2).app()
    options = {"log_config": None, "ws": "none", "lifespan": "off", "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=connections.LimitedConnection, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(30)


def talk(port, content):
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(content)
    return connection


def answer_of(connection):
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def ask(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/api/make", json.dumps(SETTINGS).encode() + b"\nimage")
    return connection.getresponse().read()


POST = b"POST /api/make HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\nx"


def test_slow_and_half_open_connections_keep_nobody_waiting(port):
    kinds = (b"", b"GET / HTTP/1.1\r\nHost: 127", POST, POST.replace(b"make", b"inspect"))
    slow = [talk(port, kinds[n % len(kinds)]) for n in range(50)]
    for _ in range(3):
        started = time.monotonic()
        assert b'"done"' in ask(port)
        assert time.monotonic() - started < 2
    for connection in slow:
        connection.close()


@pytest.mark.parametrize("content", [b"", b"GET / HTTP/1.1\r\nHost"])
def test_a_connection_without_a_request_is_closed_though_bytes_drip_in(port, monkeypatch, content):
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
    connection, started = talk(port, content), time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() - started < 10:
            connection.sendall(b"x" if content else b"G")
            time.sleep(0.1)
    assert 0.4 < time.monotonic() - started < 5


def test_the_longest_idle_connection_makes_room(port, monkeypatch):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    idle = [talk(port, b"") for _ in range(4)]
    idle[0].settimeout(5)
    with contextlib.suppress(ConnectionResetError):
        assert idle[0].recv(1) == b""
    assert b'"done"' in ask(port)


def test_what_is_not_http_is_answered_with_the_security_headers(port):
    answer = answer_of(talk(port, b"nonsense\r\n\r\n")).decode()
    assert answer.startswith("HTTP/1.1 400 ")
    for name, value in HEADERS.items():
        assert f"{name}: {value}".lower() in answer.lower()
