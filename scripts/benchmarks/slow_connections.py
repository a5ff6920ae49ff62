"""Hold slow and half-open connections to the page's server, and measure how long a user waits beside them.

    python scripts/benchmarks/slow_connections.py --connections 50 --seconds 60

The connections say nothing, send a header or an upload a byte a second, or ask for the page and never read it; one that
the server closes is opened again. Once a second a user asks for the page and makes a counterfactual. The work behind
the page answers at once, so what is measured is the waiting. The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

import argparse
import http.client
import json
import socket
import sys
import threading
import time
from contextlib import suppress

import uvicorn

from biomedjourney_monai.clinic.web import server as web_server
from biomedjourney_monai.clinic.web.server import WebServer

LONGEST = 2.0
"""Seconds that a user may wait."""

POST = b"POST /api/make HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"
KINDS = {
    "silent": b"",
    "half a header": b"GET / HTTP/1.1\r\nHost: 127",
    "half an upload": POST + b"{",
    "unread answer": b"GET /static/page.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 40,
}
SETTINGS = {"description": "New edema.", "seed": 0, "steps": 2, "samples": 1}
SETTINGS |= {"text_guidance_scale": 3, "image_guidance_scale": 1}


class Service:
    """Answers at once."""

    def page_facts(self):
        facts = {"size": 128, "model": "f" * 64, "software": "-", "data_source": "-", "examples": []}
        return facts | {"defaults": {"seed": 0, "steps": 2, "samples": 1}}

    def make(self, request, data, *, tell, is_cancelled):
        return {"bytes": len(data)}


def serve() -> tuple[uvicorn.Server, int]:
    """The page's server in a thread, as `biomedjourney app` runs it, and its port."""
    options = {"log_config": None, "ws": "none", "lifespan": "off", "timeout_graceful_shutdown": 1}
    app = WebServer(Service()).app()
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=web_server.LimitedConnection, **options))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return server, server.servers[0].sockets[0].getsockname()[1]


def hold(port: int, content: bytes, drips: bool, ends: float, reopened: list[int]) -> None:
    """Keep one slow connection open until `ends`, opening it again where the server closes it."""
    while time.monotonic() < ends:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(content)
            while time.monotonic() < ends:
                if content:
                    time.sleep(1)
                    connection.sendall(b"x" if drips else b"")
                else:
                    with suppress(TimeoutError):
                        if connection.recv(1) == b"":
                            break
        reopened.append(1)


def ask(port: int, method: str, path: str, body: bytes | None = None) -> float:
    """Seconds until an answer is complete; raises unless it is the right one."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200 or (body and b'"done"' not in content):
        raise SystemExit(f"the server answered {answer.status}")
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=50, help="slow connections at a time (default: 50)")
    parser.add_argument("--seconds", type=float, default=60, help="how long they are held (default: 60)")
    args = parser.parse_args()
    server, port = serve()
    ends, reopened, contents = time.monotonic() + args.seconds, [], list(KINDS.values())
    for number in range(args.connections):
        content = contents[number % len(contents)]
        drips = content in (KINDS["half a header"], KINDS["half an upload"])
        threading.Thread(target=hold, args=(port, content, drips, ends, reopened), daemon=True).start()
    body, waits = json.dumps(SETTINGS).encode() + b"\nimage", {"page": [], "make": []}
    while time.monotonic() < ends:
        waits["page"].append(ask(port, "GET", "/"))
        waits["make"].append(ask(port, "POST", "/api/make", body))
        time.sleep(1)
    server.should_exit = True
    figures = {f"longest wait, {way}": round(max(found), 3) for way, found in waits.items()}
    figures |= {"asked": len(waits["make"]), "connections": args.connections, "reopened": len(reopened)}
    bars = {f"{way}: at most {LONGEST:g} s": max(found) <= LONGEST for way, found in waits.items()}
    print(json.dumps({"figures": figures, "bars": bars}))
    sys.exit(0 if all(bars.values()) else 1)


if __name__ == "__main__":
    main()
