"""Text that no model should write neither ends a run nor earns a reward."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from zppo_core import grade
from zppo_core.engines.openai import OpenAIEngine
from zppo_core.errors import UserError
from zppo_core.protocols import Sampling
from zppo_core.types import Prompt, whole_characters


@pytest.fixture
def answering() -> Iterator[Any]:
    """Serves the bodies that it is given, one a request, the last one for ever."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = bodies.pop(0) if len(bodies) > 1 else bodies[0]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def serve(*given: bytes) -> OpenAIEngine:
        bodies[:] = given
        address = f"http://127.0.0.1:{server.server_port}/v1"
        encode = lambda text: list(text.encode())  # noqa: E731 - fails on a lone surrogate
        return OpenAIEngine(address, "m", "NO_KEY", 1, encode=encode)

    yield serve
    server.shutdown()


def choice(content: Any, **more: Any) -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop", **more}]}).encode()


def said(engine: OpenAIEngine) -> str:
    return engine.generate([Prompt("q")], Sampling(8), [0])[0][0].text


def test_a_lone_surrogate_of_an_endpoint_is_replaced(answering) -> None:
    engine = answering(b'{"choices": [{"message": {"content": "two \\ud800 cats"}}]}')
    assert said(engine) == "two \ufffd cats"


@pytest.mark.parametrize("content", [7, True, {"text": "x"}, [1, 2], [{"type": "image"}]])
def test_what_is_no_text_is_no_answer(answering, monkeypatch, content: Any) -> None:
    monkeypatch.setattr("zppo_core.engines.openai.BACKOFF", 0.001)
    assert said(answering(choice(content), choice("well"))) == "well"  # asked once more
    with pytest.raises(UserError, match="no completion") as caught:
        said(answering(choice(content)))
    assert len(str(caught.value).splitlines()) == 1


def test_parts_of_text_are_one_text_and_a_strange_index_is_none(answering) -> None:
    parts = [{"type": "text", "text": "two "}, {"type": "text", "text": "cats"}]
    assert said(answering(choice(parts, index="first"))) == "two cats"


def test_json_of_any_depth_is_no_answer(answering, monkeypatch) -> None:
    monkeypatch.setattr("zppo_core.engines.openai.BACKOFF", 0.001)
    deep = b'{"choices": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    assert said(answering(deep, choice("well"))) == "well"


@pytest.mark.parametrize("answer", ["1\x002", "\x0012", "1\ud8002", "1\u200b2", "12\x00x"])
def test_what_a_file_cannot_hold_earns_nothing(answer: str) -> None:
    assert grade(f"\\boxed{{{answer}}}", "1").reward == 0.0


def test_whole_characters_keeps_all_that_is_whole() -> None:
    assert whole_characters("a\U0001f600é\x00") == "a\U0001f600é\x00"
    assert whole_characters("\udc00\ud800") == "\ufffd\ufffd"
