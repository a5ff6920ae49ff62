"""Who may come in, how errors are answered, and that a request that is given up frees the model."""

import contextlib
import http.client
import json
import logging
import socket
import threading
import time

import pytest
import uvicorn
from starlette.testclient import TestClient

from biomedjourney_monai.clinic.web import server as web_server
from biomedjourney_monai.clinic.web.arrivals import Arrivals
from biomedjourney_monai.clinic.web.login import Logins, add_user
from biomedjourney_monai.clinic.web.server import HEADERS, Cancelled, WebServer
from biomedjourney_monai.errors import ImageError

NAME = "ZZTOP^HERMINE"
ASKED = {
    "description": f"New edema. {NAME}",
    "seed": 0,
    "steps": 2,
    "samples": 1,
    "text_guidance_scale": 3,
    "image_guidance_scale": 1,
}
BASE = "http://127.0.0.1:7860"


class FakeWorkshop:
    """Answers at once, or as the test says."""

    def __init__(self):
        self.error, self.begun, self.ended, self.hold = None, threading.Event(), threading.Event(), threading.Event()
        self.hold.set()

    def page_facts(self):
        facts = {"size": 128, "model": "f" * 64, "software": "s", "data_source": "<b>rendered</b>", "examples": ["one"]}
        return {**facts, "defaults": {"seed": 0, "steps": 2, "samples": 1}}

    def example(self, number):
        return b"png" if number == 0 else None

    def inspect(self, data):
        if self.error:
            raise self.error
        return {"bytes": len(data)}

    def make(self, request, data, *, tell, is_cancelled):
        self.begun.set()
        try:
            tell(state="sampling", done=1, steps=2)
            if self.error:
                raise self.error
            while not self.hold.wait(0.01):
                if is_cancelled():
                    raise Cancelled
            return {"description": request.description, "bytes": len(data)}
        finally:
            self.ended.set()


def wait_for(look, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come to be")


@pytest.fixture
def workshop():
    return FakeWorkshop()


@pytest.fixture
def client(workshop):
    with TestClient(WebServer(workshop, waiting=2, seconds=30, max_bytes=4096).app(), base_url=BASE) as client:
        yield client


def make(client, data=b"image", **changes):
    return client.post("/api/make", content=json.dumps(ASKED | changes).encode() + b"\n" + data)


def lines(response):
    return [json.loads(line) for line in response.text.splitlines()]


def test_the_page_may_load_from_and_send_to_its_own_server_only(client):
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy and "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "http" not in answer.text.replace("http-equiv", "")
    assert "&lt;b&gt;rendered" in answer.text


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/static/none", "/x", "/api/make", "/api/inspect"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_every_answer_carries_the_security_headers(client, method, path):
    answer = client.request(method, path)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_an_upload_that_is_still_arriving_takes_no_place_in_the_queue(workshop):
    import anyio

    server = WebServer(workshop, waiting=1)

    async def run():
        scope = {"type": "http", "method": "POST", "path": "/api/make", "query_string": b"", "http_version": "1.1"}
        scope |= {"headers": [(b"host", b"127.0.0.1")], "server": ("127.0.0.1", 80), "scheme": "http", "root_path": ""}
        asked = []

        async def receive():
            asked.append(1)
            if len(asked) == 1:
                return {"type": "http.request", "body": b"x", "more_body": True}
            await anyio.sleep(60)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(server.app(), scope, receive, anyio.sleep)
            await anyio.sleep(0.1)
            inside = server.queue.inside
            group.cancel_scope.cancel()
        return len(asked), inside

    asked, inside = anyio.run(run)
    assert asked >= 3 and inside == 0


def test_uploads_that_arrive_at_the_same_time_share_the_memory(workshop):
    """The upload that began first, and stopped, makes room for the next one."""
    import anyio

    from biomedjourney_monai.clinic.web.arrivals import LineFullError

    async def stalled():
        yield bytes(600)
        await anyio.sleep(60)

    async def quick():
        yield bytes(600)

    async def run():
        arrivals, ended = Arrivals(together=1000), []
        limits = {"announced": "", "max_bytes": 1000, "shown": 1000}

        async def first():
            try:
                await arrivals.receive(stalled(), **limits)
            except LineFullError:
                ended.append(True)

        async with anyio.create_task_group() as group:
            group.start_soon(first)
            await anyio.sleep(0.05)
            assert len(await arrivals.receive(quick(), **limits)) == 600
        return ended

    with anyio.from_thread.start_blocking_portal() as portal:
        assert portal.call(run) == [True]


def test_a_page_with_a_password_file_lets_its_users_in_only(workshop, tmp_path, monkeypatch):
    monkeypatch.setattr(web_server, "WRONG_LOGIN_SECONDS", 0)
    add_user(tmp_path / "users", "ana", "correct horse")
    with TestClient(WebServer(workshop, logins=Logins(tmp_path / "users")).app(), base_url=BASE) as client:
        for path in ("/", "/static/page.js", "/examples/0.png"):
            answer = client.get(path)
            assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Basic ")
            assert client.get(path, auth=("ana", "wrong horse")).status_code == 401
            assert client.get(path, auth=("ana", "correct horse")).status_code == 200
        assert make(client).status_code == 401


@pytest.mark.parametrize(("name", "kind"), [("page.js", "text/javascript"), ("page.css", "text/css")])
def test_static_files_are_served(client, name, kind):
    answer = client.get(f"/static/{name}")
    assert answer.headers["content-type"].startswith(kind)
    assert len(answer.content) > 1000


@pytest.mark.parametrize(
    "path", ["/static/page.html.j2", "/static/..%2fweb_server.py", "/examples/1.png", "/x", "/docs"]
)
def test_nothing_else_is_served(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"host": "127.0.0.1.evil.example:7860"}, {"origin": "http://evil.example"}]
)
def test_other_names_and_other_pages_are_refused(client, headers):
    assert client.post("/api/inspect", content=b"image", headers=headers).status_code == 403


def test_its_own_page_is_let_in(client):
    assert client.post("/api/inspect", content=b"image", headers={"origin": BASE}).json() == {"bytes": 5}


def test_the_name_of_a_proxy_is_let_in_where_it_is_given(workshop):
    server = WebServer(workshop, host_names=("127.0.0.1", "page.example"))
    with TestClient(server.app(), base_url="http://page.example") as client:
        assert client.post("/api/inspect", content=b"image", headers={"origin": "https://page.example"}).is_success
        assert client.get("/", headers={"host": "other.example"}).status_code == 403


def test_a_request_is_answered_as_it_goes_on(client):
    answer = make(client)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert lines(answer) == [
        {"state": "reading"},
        {"state": "sampling", "done": 1, "steps": 2},
        {"state": "done", "result": {"description": ASKED["description"], "bytes": 5}},
    ]


def test_a_refusal_is_told_in_words(client, workshop):
    workshop.error = ImageError("a prior must be frontal", found="a lateral one", reason="lateral")
    words = {"code": "lateral", "message": "a prior must be frontal; found a lateral one."}
    assert lines(make(client))[-1] == {"state": "error", **words}
    answer = client.post("/api/inspect", content=b"image")
    assert (answer.status_code, answer.json()) == (400, words)


@pytest.mark.parametrize("path", ["/api/inspect", "/api/make"])
def test_too_many_bytes_are_refused(client, path):
    answer = client.post(path, content=b"x" * 40_000)
    assert answer.status_code == 413
    assert "at most" in answer.json()["message"]


def test_too_many_bytes_are_refused_though_their_number_was_not_announced(client):
    answer = client.post("/api/inspect", content=(b"x" * 1000 for _ in range(9)))
    assert answer.status_code == 413


@pytest.mark.parametrize("body", [b"", b"no line", b"{}\nimage", b"x" * 20_000 + b"\n"])
def test_a_request_that_the_form_does_not_send_is_refused(client, body):
    answer = client.post("/api/make", content=body)
    assert answer.status_code in (400, 413)
    assert "must" in answer.json()["message"]


def test_a_full_house_is_told_in_words_and_empties(workshop):
    workshop.hold.clear()
    server, answers = WebServer(workshop, waiting=2), []
    with TestClient(server.app(), base_url=BASE) as client:
        threads = [threading.Thread(target=lambda: answers.append(make(client))) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_for(lambda: server.queue.inside == 2 and workshop.begun.is_set())
        refused = client.post("/api/inspect", content=b"image")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        assert "takes 2 requests at a time; found 2 already. Try again in a minute." in refused.json()["message"]
        workshop.hold.set()
        for thread in threads:
            thread.join(30)
        assert [lines(answer)[-1]["state"] for answer in answers] == ["done", "done"]
        assert {"state": "waiting", "ahead": 1} in [line for answer in answers for line in lines(answer)]
        assert lines(make(client))[-1]["state"] == "done"


def test_a_full_house_is_told_after_a_large_upload_too(workshop):
    """Over a real connection, where an answer before the end of the question would be lost."""
    import http.client

    import uvicorn

    workshop.hold.clear()
    app = WebServer(workshop, waiting=1).app()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, http="h11", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        first = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        first.request("POST", "/api/make", json.dumps(ASKED).encode() + b"\nimage")
        assert workshop.begun.wait(30)
        second = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        second.request("POST", "/api/make", json.dumps(ASKED).encode() + b"\n" + bytes(30_000_000))
        answer = second.getresponse()
        assert answer.status == 503
        assert b"Try again" in answer.read()
        workshop.hold.set()
        assert b'"done"' in first.getresponse().read()
    finally:
        workshop.hold.set()
        server.should_exit = True
        thread.join(30)


def test_a_request_that_takes_too_long_is_ended(workshop):
    workshop.hold.clear()
    with TestClient(WebServer(workshop, seconds=0.1).app(), base_url=BASE) as client:
        error = lines(make(client))[-1]
    assert error["state"] == "error"
    assert "done within 0.1 seconds" in error["message"]
    assert workshop.ended.is_set()


def test_a_slow_upload_is_ended(workshop):
    import anyio

    async def run():
        app = WebServer(workshop, arrivals=Arrivals(seconds=0.05)).app()
        scope = {"type": "http", "method": "POST", "path": "/api/inspect", "query_string": b"", "http_version": "1.1"}
        scope |= {"headers": [(b"host", b"127.0.0.1")], "server": ("127.0.0.1", 80), "scheme": "http", "root_path": ""}
        sent = []

        async def receive():
            if not sent:
                await anyio.sleep(0.2)
            return {"type": "http.request", "body": b"x", "more_body": True}

        async def send(message):
            sent.append(message)

        await app(scope, receive, send)
        return sent

    sent = anyio.run(run)
    assert sent[0]["status"] == 413
    assert b"arrive within 0.05 seconds" in sent[1]["body"]


def test_a_bug_is_told_without_its_text(client, workshop, caplog):
    workshop.error = ValueError(f"cannot read {NAME}")
    with caplog.at_level(logging.DEBUG):
        error = lines(make(client))[-1]
    assert error["code"] == "internal_error"
    assert NAME not in json.dumps(error)
    assert "ValueError in make, line" in caplog.text


def test_nothing_of_a_request_is_logged_at_any_level(client, workshop, caplog):
    with caplog.at_level(logging.DEBUG):
        make(client, data=NAME.encode())
        client.post(f"/api/inspect?name={NAME}", content=NAME.encode(), headers={"x-name": NAME})
        workshop.error = ImageError("an image must be one", found="none", reason="image damaged")
        make(client, data=NAME.encode())
        client.post("/api/make", content=NAME.encode())
    own = [record for record in caplog.records if record.name.startswith("biomedjourney_monai")]
    assert len(own) >= 4
    assert "ZZTOP" not in " ".join(record.getMessage() for record in own)


def test_who_goes_away_frees_the_model(workshop):
    """The browser's side of a running request is closed; the thread ends, and the next request has the model."""
    import anyio

    workshop.hold.clear()
    server = WebServer(workshop)

    async def run():
        body = json.dumps(ASKED).encode() + b"\nimage"
        scope = {"type": "http", "method": "POST", "path": "/api/make", "query_string": b"", "http_version": "1.1"}
        scope |= {"headers": [(b"host", b"127.0.0.1")], "server": ("127.0.0.1", 80), "scheme": "http", "root_path": ""}
        scope |= {"asgi": {"version": "3.0", "spec_version": "2.3"}}
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            while not workshop.begun.is_set():
                await anyio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(message):
            pass

        await server.app()(scope, receive, send)
        assert not workshop.hold.is_set()
        with anyio.fail_after(10):
            while server.queue.inside:
                await anyio.sleep(0.01)
        assert workshop.ended.is_set()

    anyio.run(run)


def test_a_status_fits_each_error():
    assert web_server.status_of(ZeroDivisionError()) == 500
    assert web_server.status_of(ImageError("no")) == 400


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
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=web_server.LimitedConnection, **options))
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
    monkeypatch.setattr(web_server, "HEADER_SECONDS", 0.5)
    connection, started = talk(port, content), time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() - started < 10:
            connection.sendall(b"x" if content else b"G")
            time.sleep(0.1)
    assert 0.4 < time.monotonic() - started < 5


def test_the_longest_idle_connection_makes_room(port, monkeypatch):
    monkeypatch.setattr(web_server, "MAX_CONNECTIONS", 3)
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
