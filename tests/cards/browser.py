"""Headless Chromium, driven over a pipe: pages opened at a width and in a colour scheme."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""


@dataclass
class Opened:
    """What a page did when it was opened, and what a question to it gave."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Browser:
    """One Chromium; pages are opened one after the other."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp()
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def wire() -> None:  # Chromium reads from 3 and writes to 4
            read, write = (fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (theirs_in, theirs_out))
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.process = subprocess.Popen(
            [
                CHROMIUM,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-pipe",
                "--hide-scrollbars",
                "--disable-background-networking",
                "--no-first-run",
                f"--user-data-dir={self.folder}",
                "about:blank",
            ],
            close_fds=False,
            preexec_fn=wire,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.reader, self.writer = os.fdopen(ours_in, "rb"), os.fdopen(ours_out, "wb")
        self.number, self.buffer, self.events = 0, b"", list[dict[str, Any]]()
        target = self.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        self.session = self.send("Target.attachToTarget", {"targetId": target, "flatten": True})[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def close(self) -> None:
        self.writer.close()
        self.process.kill()
        self.process.wait()
        self.reader.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.send(method, parameters, self.session)

    def send(self, method: str, parameters: dict[str, Any], session: str = "") -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self.writer.write(json.dumps(message).encode() + b"\0")
        self.writer.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            data = os.read(self.reader.fileno(), 1 << 20)
            if not data:
                raise RuntimeError("Chromium ended")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\0")
        return dict(json.loads(line))

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; promises are waited for."""
        found = self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until the expression holds, ten seconds at most."""
        began = time.monotonic()
        while not self.run(f"Boolean({expression})"):
            assert time.monotonic() - began < 10, f"never: {expression}"
            time.sleep(0.02)

    def open(
        self, path: Path, width: int = 1440, dark: bool = False, ready: str = "true"
    ) -> Opened:
        """Open a file, wait until the expression `ready` holds, and say what went wrong."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        began = time.monotonic()
        self.ask("Page.navigate", url=path.as_uri())
        wait = (
            f"document.readyState === 'complete' && location.href.startsWith('file') && ({ready})"
        )
        while not self.run(f"Boolean({wait})"):
            assert time.monotonic() - began < 30, f"{path.name} is not ready"
            time.sleep(0.02)
        opened = Opened(seconds=time.monotonic() - began)
        for event in self.events:
            name, about = event.get("method", ""), event.get("params", {})
            if name == "Runtime.exceptionThrown":
                opened.errors.append(str(about["exceptionDetails"]))
            elif name == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
                opened.errors.append(str(about["args"]))
            elif name == "Log.entryAdded" and about["entry"]["level"] == "error":
                opened.errors.append(about["entry"]["text"])
            elif name == "Network.requestWillBeSent":
                opened.requests.append(about["request"]["url"])
        return opened

    def png(self, top: float = 0, height: float = 0) -> bytes:
        """A picture of the page from `top` on, `height` pixels of it; 0: to its end."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        rest = size["height"] - top
        clip = {"x": 0, "y": top, "width": size["width"], "height": min(rest, height or rest)}
        shot = self.ask(
            "Page.captureScreenshot", clip=clip | {"scale": 1}, captureBeyondViewport=True
        )
        return base64.b64decode(shot["data"])


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser for as long as the context lasts."""
    started = Browser()
    try:
        yield started
    finally:
        started.close()
