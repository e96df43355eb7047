"""Cases of hostile input, as files of JSON lines, and the limits within which each must end.

A text in a case is a string, or a list of strings and of [string, how often] for a long one.
"""

from __future__ import annotations

import base64
import json
import signal
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SECONDS = 2.0  # of CPU for one case; a busy machine counts for nothing
Case = dict[str, Any]


def read(name: str) -> list[Case]:
    """The cases of a class."""
    return [json.loads(line) for line in (HERE / f"{name}.jsonl").read_text().splitlines()]


def spelled(text: str | list[Any]) -> str:
    """A text of a case, written out."""
    if isinstance(text, str):
        return text
    return "".join(part if isinstance(part, str) else part[0] * part[1] for part in text)


def data_of(case: Case) -> bytes:
    """The bytes of a case: `text`, `base64`, or `deflated`."""
    if "deflated" in case:
        return zlib.decompress(base64.b64decode(case["deflated"]))
    if "base64" in case:
        return base64.b64decode(case["base64"])
    return spelled(case["text"]).encode("utf-8", "surrogatepass")


class LateError(Exception):
    """A case took more than its time."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """LateError, in the midst of it, for what takes more CPU than `seconds`."""

    def late(*_: object) -> None:
        raise LateError(f"more than {seconds} s of CPU")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def failures(name: str, outcome: Callable[[Case], str]) -> str:
    """What is amiss with the cases of a class, a line each: `outcome` says it, "" for nothing."""
    found = []
    for number, case in enumerate(read(name), 1):
        try:
            with within(case.get("seconds", SECONDS)):
                wrong = outcome(case)
        except Exception as error:
            wrong = f"{type(error).__name__}: {str(error)[:200]}"
        if wrong:
            found.append(f"{name}.jsonl, line {number}: {str(case)[:160]}: {wrong}")
    return "\n".join(found)


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU of this process: the least of three, for a neighbour only makes it more."""
    least = float("inf")
    for _ in range(3):
        before = time.process_time()
        work()
        least = min(least, time.process_time() - before)
    return least
