"""A long phase says how far it is: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

import pytest

from zppo_core.run import heartbeat
from zppo_core.run.heartbeat import Heartbeat, bar, in_words, status


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that a test sets."""
    now = [0.0]
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now[0])
    return now


def test_lines_say_the_rate_of_what_was_made_and_the_time_left(clock: list[float]) -> None:
    stream = io.StringIO()
    report = Heartbeat(stream).progress("teacher draws")
    report(100, 300)  # found in the cache
    clock[0] = 10.0
    report(150, 300)
    clock[0] = 12.0
    report(160, 300)
    assert stream.getvalue() == "  teacher draws: 150 of 300 prompts, 5 a second, 30 s left\n"


def test_a_terminal_has_a_bar_that_ends_its_line_once(clock: list[float]) -> None:
    stream = Terminal()
    report = Heartbeat(stream).progress("plain")
    for i in range(5):
        clock[0] = 0.3 * i
        report(12 * i, 48)
    shown = stream.getvalue()
    assert shown.count("\n") == 1
    assert shown.endswith(f"\r\x1b[K  {bar(48, 48)} plain: 48 of 48 prompts\n")
    assert f"{bar(24, 48)} plain: 24 of 48" in shown


def test_a_listener_hears_every_few_seconds(clock: list[float]) -> None:
    heard: list[tuple[str, int, int]] = []

    class Listener:
        def working(self, phase: str, done: int, total: int) -> None:
            heard.append((phase, done, total))

        def finished(self, result: object, seconds: dict[str, float]) -> None:
            raise AssertionError

    beat = Heartbeat(Terminal())
    beat.listener = Listener()
    report = beat.progress("plain")
    for second in range(12):
        clock[0] = float(second)
        report(second, 12)
    assert heard == [("plain", 5, 12), ("plain", 10, 12)]


def test_words_of_progress() -> None:
    assert bar(1, 2) == "[############............]"
    assert bar(0, 0) == f"[{'#' * 24}]"
    assert [in_words(s) for s in (40, 200, 9000)] == ["40 s", "3 min", "2.5 h"]
    assert status("x", 5, 10, 0, 100.0) == "x: 5 of 10 prompts"
    assert status("x", 10, 10, 5, 100.0) == "x: 10 of 10 prompts"
