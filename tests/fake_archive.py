"""A DICOMweb archive for tests, at 127.0.0.1: it keeps data sets in memory and fails as told."""

from __future__ import annotations

import io
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pydicom

LEVELS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
Fault = Callable[[str, str], int | str | None]
"""(method, path) → None, an HTTP status, "cut" (half of the answer), "drop" (no answer) or "empty" (no body)."""


class FakeArchive:
    """What it holds and what it was asked."""

    def __init__(self) -> None:
        self.instances: dict[str, pydicom.Dataset] = {}
        self.asked: list[tuple[str, str]] = []
        self.fault: Fault = lambda method, path: None
        self.authorization: str | None = None
        self.refuses = self.forgets = False
        self.ignores_filters = False
        self.omits: tuple[str, ...] = ()
        self.url = ""

    def add(self, content: bytes) -> None:
        dataset = pydicom.dcmread(io.BytesIO(content))
        self.instances[str(dataset.SOPInstanceUID)] = dataset

    def stored(self) -> list[pydicom.Dataset]:
        """What was made and stored."""
        return [dataset for dataset in self.instances.values() if "ConversionType" in dataset]

    def find(self, path: list[str], query: dict[str, list[str]]) -> list[pydicom.Dataset]:
        wanted = dict(zip(LEVELS, path[1::2]))
        filters = {} if self.ignores_filters else {k: v[0] for k, v in query.items() if k[0].isupper()}
        return [
            dataset
            for dataset in self.instances.values()
            if all(str(dataset.get(k)) == v for k, v in (wanted | filters).items())
        ]


def json_of(dataset: pydicom.Dataset) -> dict:
    header = pydicom.Dataset({e.tag: e for e in dataset if e.tag != 0x7FE00010})
    return header.to_json_dict()


def one_each(datasets: list[pydicom.Dataset], level: str) -> list[pydicom.Dataset]:
    return list({str(dataset[level].value): dataset for dataset in datasets}.values())


class Handler(BaseHTTPRequestHandler):
    archive: FakeArchive

    def do_GET(self) -> None:
        if self.misbehaves("GET"):
            return
        parts = urlsplit(self.path)
        path = parts.path.strip("/").split("/")[1:]
        metadata = path[-1] == "metadata"
        path = path[:-1] if metadata else path
        found = self.archive.find(path, parse_qs(parts.query))
        if len(path) == 6 and not metadata:
            self.send_instances(found)
            return
        answers = [json_of(dataset) for dataset in found]
        if not metadata:
            without = [f"{pydicom.datadict.tag_for_keyword(keyword):08X}" for keyword in self.archive.omits]
            answers = [json_of(dataset) for dataset in one_each(found, LEVELS[len(path) // 2])]
            answers = [{tag: value for tag, value in item.items() if tag not in without} for item in answers]
        self.answer(200, json.dumps(answers).encode(), "application/dicom+json")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.misbehaves("POST"):
            return
        boundary = self.headers["Content-Type"].split("boundary=")[1].split(";")[0].strip('"').encode()
        part = body.split(b"--" + boundary)[1].split(b"\r\n\r\n", 1)[1]
        dataset = pydicom.dcmread(io.BytesIO(part))
        item = pydicom.Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        answer = pydicom.Dataset()
        if self.archive.refuses:
            item.FailureReason = 272
            answer.FailedSOPSequence = [item]
        else:
            answer.FailedSOPSequence, answer.ReferencedSOPSequence = [], [item]
            if not self.archive.forgets:
                self.archive.instances[str(dataset.SOPInstanceUID)] = dataset
        self.answer(200, answer.to_json().encode(), "application/dicom+json")

    def misbehaves(self, method: str) -> bool:
        self.archive.asked.append((method, self.path))
        if self.archive.authorization and self.headers.get("Authorization") != self.archive.authorization:
            self.answer(401, b"who?", "text/plain")
            return True
        self.wrong = self.archive.fault(method, self.path)
        if isinstance(self.wrong, int):
            self.answer(self.wrong, b"no", "text/plain")
            return True
        if self.wrong == "drop":
            self.close_connection = True
            self.connection.close()
            return True
        return False

    def send_instances(self, found: list[pydicom.Dataset]) -> None:
        body = b""
        for dataset in found:
            stream = io.BytesIO()
            dataset.save_as(stream, enforce_file_format=True)
            body += b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + stream.getvalue() + b"\r\n"
        self.answer(200, body + b"--cut--\r\n", 'multipart/related; type="application/dicom"; boundary=cut')

    def answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        if status in (301, 302, 307):
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if getattr(self, "wrong", None) == "cut" else body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(certificate: Path | None = None) -> Iterator[FakeArchive]:
    """Serve in a thread until the block ends; with a certificate (PEM, with its key), over TLS."""
    archive = FakeArchive()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"archive": archive}))
    server.handle_error = lambda *_: None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    archive.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_port}/dicom-web"
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """An authority of one's own and a server's certificate for 127.0.0.1: (PEM of the server with its key, CA)."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    def build(name, issuer, key, signer, *, is_ca):
        now = datetime.datetime.now(datetime.timezone.utc)
        subject, by = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in (name, issuer))
        builder = x509.CertificateBuilder(by, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=2))
        builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        local = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        return builder.add_extension(local, critical=False).sign(signer, hashes.SHA256())

    authority, own = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    pem = serialization.Encoding.PEM
    ca, server = folder / "ca.pem", folder / "server.pem"
    ca.write_bytes(build("Test CA", "Test CA", authority, authority, is_ca=True).public_bytes(pem))
    key = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    server.write_bytes(key + build("archive", "Test CA", own, authority, is_ca=False).public_bytes(pem))
    return server, ca
