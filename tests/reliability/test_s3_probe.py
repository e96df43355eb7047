"""Stores that speak S3 in a dialect: found at the start, and served or refused in one line."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from zppo_core.errors import UserError
from zppo_core.store.objects import S3Store


class Dialect(BaseHTTPRequestHandler):
    """Objects in memory; `checksums` and `conditions` say what the store understands."""

    protocol_version = "HTTP/1.1"  # or boto waits a second for each "100 Continue"
    checksums = conditions = True
    refusal = (400, "InvalidArgument", "Unsupported header x-amz-sdk-checksum-algorithm")
    objects: dict[str, tuple[bytes, dict[str, str]]]

    def answer(self, status: int, body: bytes = b"", headers: Any = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fault(self, status: int, code: str, message: str) -> None:
        text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        self.answer(status, text.encode(), {"Content-Type": "application/xml"})

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        names = [name.lower() for name in self.headers]
        if not self.checksums and any(n.startswith("x-amz-sdk-checksum") for n in names):
            self.fault(*self.refusal)
            return
        if self.conditions and self.headers.get("If-None-Match") and self.path in self.objects:
            self.fault(412, "PreconditionFailed", "it exists")
            return
        meta = {n: v for n, v in self.headers.items() if n.lower().startswith("x-amz-meta")}
        if "aws-chunked" in (self.headers.get("Content-Encoding") or ""):
            size, _, rest = body.partition(b"\r\n")
            body = rest[: int(size.partition(b";")[0], 16)]
        self.objects[self.path] = (body, meta)
        self.answer(200, headers={"ETag": '"x"'})

    def do_GET(self) -> None:
        if self.path not in self.objects:
            self.fault(404, "NoSuchKey", "none")
            return
        body, meta = self.objects[self.path]
        self.answer(200, body, {**meta, "ETag": '"x"'})

    def do_DELETE(self) -> None:
        self.objects.pop(self.path, None)
        self.answer(204)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def speaking(monkeypatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    servers = []

    def store(**dialect: Any) -> S3Store:
        handler = type("Handler", (Dialect,), {**dialect, "objects": {}})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return S3Store("bucket", "p", f"http://127.0.0.1:{server.server_port}")

    yield store
    for server in servers:
        server.shutdown()


def test_a_store_that_refuses_checksum_headers_is_asked_without(speaking, capsys) -> None:
    store = speaking(checksums=False)
    store.probe()
    assert "AWS_REQUEST_CHECKSUM_CALCULATION=when_required" in capsys.readouterr().out
    store.put("k", b"value")
    assert store.get("k") == b"value"
    assert capsys.readouterr().out == ""  # said once


@pytest.mark.parametrize(
    "refusal",
    [
        (501, "NotImplemented", "A header you provided implies functionality not implemented."),
        (400, "InvalidArgument", "Unsupported value for x-amz-content-sha256"),
        (400, "InvalidRequest", "Content-Encoding aws-chunked is not supported"),
        (400, "XAmzContentSHA256Mismatch", "The provided hash does not match what was computed."),
        (403, "AccessDenied", "STREAMING-UNSIGNED-PAYLOAD-TRAILER is not supported"),
        (411, "MissingContentLength", "You must provide the Content-Length HTTP header."),
    ],
)
def test_every_way_to_refuse_checksums_is_understood_by_all_first_writers(
    speaking, capsys, monkeypatch, refusal
) -> None:
    monkeypatch.setattr("zppo_core.store.s3.FIRST_PAUSE", 0.001)
    store = speaking(checksums=False, refusal=refusal)
    values = {f"k{i}": b"value %d" % i for i in range(24)}
    assert store.put_many(values, new=True) == []
    assert {key: store.get(key) for key in values} == values
    assert capsys.readouterr().out.count("refuses checksum headers") == 1


def test_a_refusal_of_something_else_is_a_fault_at_once(speaking) -> None:
    store = speaking(checksums=False, refusal=(403, "AccessDenied", "not yours"))
    with pytest.raises(UserError, match="AccessDenied") as said:
        store.put("k", b"value")
    assert len(str(said.value).splitlines()) == 1


def test_a_store_that_lets_a_second_writer_in_is_refused(speaking) -> None:
    with pytest.raises(UserError, match="ignores If-None-Match") as said:
        speaking(conditions=False).probe()
    assert len(str(said.value).splitlines()) == 1


def test_a_sound_store_is_left_as_it_was(speaking) -> None:
    store = speaking()
    store.probe()
    store.put("k", b"1")
    assert store.get("k") == b"1"
