"""Answers beyond the limits end, over real sockets."""

import gzip
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from biomedjourney_monai.clinic.pacs import archive
from biomedjourney_monai.clinic.pacs.archive import AnswerTooLarge, LimitedSession


@pytest.fixture
def address():
    """Answers /small, /large without an announced length, /bomb packed, and /slow."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            body = {"/bomb": gzip.compress(bytes(5000)), "/small": b"few"}.get(self.path)
            if self.path == "/bomb":
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            try:
                if body is not None:
                    self.wfile.write(body)
                for _ in range(50 if body is None else 0):
                    self.wfile.write(bytes(100))
                    time.sleep(0.1 if self.path == "/slow" else 0)
            except OSError:
                pass

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_an_answer_within_the_limits_is_read_whole(address):
    answer = LimitedSession().get(f"{address}/small")
    assert (answer.content, list(answer.iter_content(2))) == (b"few", [b"fe", b"w"])


@pytest.mark.parametrize("path", ["/large", "/bomb"])
def test_a_large_answer_is_given_up(address, path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_ANSWER_BYTES", 1000)
    with pytest.raises(AnswerTooLarge):
        LimitedSession().get(address + path)


def test_an_answer_that_drips_is_given_up(address, monkeypatch):
    monkeypatch.setattr(archive, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(archive, "CHUNK", 100)
    with pytest.raises(requests.exceptions.Timeout):
        LimitedSession().get(f"{address}/slow")


def test_the_archive_says_so(address, monkeypatch):
    monkeypatch.setattr(archive, "MAX_ANSWER_BYTES", 1000)
    with pytest.raises(archive.ArchiveError, match="at most") as error:
        archive.Archive(f"{address}/large").studies(patient_id="X")
    assert error.value.reason == "answer too large" and address not in str(error.value)
