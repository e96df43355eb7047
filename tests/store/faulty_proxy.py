"""An HTTP proxy on loopback that fails as networks and servers do, by plan."""

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

WRITES = ("PUT", "POST", "DELETE")
# what befalls a request of (method, path), None for nothing: "cut" before it arrives, "lost" after
# it was done, "busy" (503), "denied" (403), "short" (the body ends early), "garbled" (a byte of it)
Plan = Callable[[str, str], str | None]


class FaultyProxy:
    """Stands before `endpoint`; `plan` decides, `asked` is every (method, fault) so far."""

    def __init__(self, endpoint: str) -> None:
        self.plan: Plan = lambda method, path: None
        self.asked: list[tuple[str, str | None]] = []
        target, lock, proxy = urlsplit(endpoint).netloc, threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or each answer waits 40 ms between head and body

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with lock:
                    fault = proxy.plan(self.command, self.path)
                    proxy.asked.append((self.command, fault))
                if fault == "cut":
                    self.close_connection = True
                    return
                if fault in ("busy", "denied"):
                    code, name = {"busy": (503, "SlowDown"), "denied": (403, "AccessDenied")}[fault]
                    text = f"<Error><Code>{name}</Code><Message>{fault}</Message></Error>".encode()
                    self.reply(code, [("Content-Type", "application/xml")], text, len(text))
                    return
                connection = http.client.HTTPConnection(target, timeout=30)
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                data = answer.read()
                connection.close()
                if fault == "lost":
                    self.close_connection = True
                    return
                size = int(answer.headers.get("Content-Length") or len(data))
                if fault == "short":
                    data, self.close_connection = data[: len(data) // 2], True
                if fault == "garbled":
                    data = bytes([data[0] ^ 1]) + data[1:]
                kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in DROPPED]
                self.reply(answer.status, kept, data, size)

            def reply(self, code: int, headers, data: bytes, size: int) -> None:
                self.send_response_only(code)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(size))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


DROPPED = ("content-length", "connection", "transfer-encoding", "keep-alive")


def first(count: int, fault: str, methods: tuple[str, ...] = ("GET", *WRITES)) -> Plan:
    """The first `count` requests with one of `methods` meet `fault`, the later ones none."""
    left = [count]

    def plan(method: str, path: str) -> str | None:
        if method not in methods or not left[0]:
            return None
        left[0] -= 1
        return fault

    return plan


def after(count: int, fault: str, methods: tuple[str, ...] = WRITES) -> Plan:
    """Every request with one of `methods` after the first `count` meets `fault`."""
    done = [0]

    def plan(method: str, path: str) -> str | None:
        if method not in methods:
            return None
        done[0] += 1
        return fault if done[0] > count else None

    return plan
