"""An engine that hangs ends its step in one line; what goes on ends as if nothing had been."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from whole_run import opened, trained

from eval import scores
from eval.engines import LazyEngine
from zppo_core.engines.hf import HfEngine
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.errors import UserError
from zppo_core.processes.watchdog import Watchdog
from zppo_core.protocols import Sampling
from zppo_core.records.phases import Clock
from zppo_core.run.session import TimedEngine
from zppo_core.store.checkpoint import latest_checkpoint
from zppo_core.types import Prompt

LEARNING = {
    "run.method": "grpo",
    "data.train_questions": 8,
    "rollout.new_prompts": 4,
    "rollout.group_size": 2,
    "rollout.max_tokens": 6,
    "optimizer.updates": 1,
}


class Hanging(ScriptedEngine):
    """Sleeps before the answer to a prompt that says so; else gives a sign a prompt."""

    def generate(self, prompts, sampling, seeds, progress=None):
        if any("hang" in prompt.text for prompt in prompts):
            time.sleep(60)
        return super().generate(prompts, sampling, seeds, progress)


def ask(watchdog: Watchdog, texts: list[str], joins: bool) -> int:
    inner = Hanging(lambda prompt, member: "x", "theirs", seconds=0.2, joins=joins)
    engine = TimedEngine(inner, Clock(), "teacher", watchdog)
    prompts = [Prompt(text) for text in texts]
    with watchdog:
        return sum(
            len(part)
            for part in engine.stream(prompts, Sampling(n=1, max_tokens=8), range(len(texts)))
        )


@pytest.mark.parametrize("joins", [False, True])
def test_an_engine_that_hangs_ends_in_one_line_that_names_it(joins: bool) -> None:
    began = time.monotonic()
    with pytest.raises(UserError) as fault:
        ask(Watchdog(1.0, "mend it, then `resume`"), ["fine", "these hang"], joins)
    assert time.monotonic() - began < 30
    line = str(fault.value)
    assert len(line.splitlines()) == 1
    assert "the teacher's engine theirs, asked 2 prompts, last 'these hang'" in line
    assert "nothing came back for 1 s, since " in line
    assert line.endswith("mend it, then `resume`")


def test_one_that_gives_signs_is_left_to_work() -> None:
    assert ask(Watchdog(1.0, "", end=pytest.fail), ["fine"] * 10, True) == 10  # 2 s in all
    assert ask(Watchdog(0.0, "", end=pytest.fail), ["fine"] * 2, True) == 2


class Plodding(ScriptedEngine):
    """Gives nothing back before its end, but says how far it is."""

    def generate(self, prompts, sampling, seeds, progress=None):
        for done in range(6):
            time.sleep(0.3)
            progress(done, 6)
        return super().generate(prompts, sampling, seeds, progress)


@pytest.mark.parametrize("way", ["generate", "stream"])
def test_progress_is_a_sign_of_life(way: str) -> None:
    watchdog = Watchdog(1.0, "", end=pytest.fail)
    engine = TimedEngine(Plodding(lambda p, m: "x"), Clock(), "student", watchdog)
    heard: list[int] = []
    with watchdog:
        asked = [Prompt("a")], Sampling(n=1, max_tokens=8), [0]
        answered = getattr(engine, way)(*asked, lambda done, total: heard.append(done))
        assert len(list(answered)) == 1
    assert heard[:6] == list(range(6))


def test_time_between_two_waits_is_nobodys_silence() -> None:
    watchdog = Watchdog(0.5, "", end=pytest.fail)
    engine = TimedEngine(ScriptedEngine(lambda p, m: "x", joins=True), Clock(), "student", watchdog)
    with watchdog:
        for _ in engine.stream([Prompt("a"), Prompt("b")], Sampling(n=1, max_tokens=8), (0, 1)):
            time.sleep(0.8)


def test_where_nothing_can_be_raised_the_line_is_printed_and_the_process_ends(capfd) -> None:
    """Not in the main thread: as in code that never comes back to Python."""
    ended: list[int] = []
    over = threading.Event()

    def work() -> None:
        def end(status: int) -> None:
            ended.append(status)
            over.set()

        with Watchdog(0.2, "mend it", end=end) as watchdog, watchdog.over("the engine x"):
            assert over.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [1]
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("zppo: the engine x: nothing came back for 0 s, since ")


def test_a_run_whose_engine_hangs_goes_on_and_ends_bit_for_bit_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = []
    generate, calls = HfEngine.generate, []

    def hanging(self, *given, **named):
        calls.append(1)
        if len(calls) == 2:  # the second step's
            time.sleep(600)
        return generate(self, *given, **named)

    for hangs in (False, True):
        run = opened(tmp_path / str(hangs), LEARNING | {"compute.patience": 6 if hangs else 0})
        if hangs:
            monkeypatch.setattr(HfEngine, "generate", hanging)
            with pytest.raises(UserError, match=r"^the student's engine .* compute\.patience"):
                trained(run)
        trained(run)
        found = latest_checkpoint(run.store, run.key)
        assert found is not None
        assert found.step == 2
        weights.append(found.read("student/model.safetensors"))
    assert weights[0] == weights[1]


def test_an_engine_that_hangs_in_an_evaluation_ends_it_in_one_line_and_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"evaluation.suite": "nano_text,nano_rows", "evaluation.limit": 2}
    run = opened(tmp_path, LEARNING | small | {"compute.patience": 6})
    trained(run)
    (share,) = [[item for part in scores.plan(run) for item in part]]
    generate, calls = HfEngine.generate, []

    def hanging(self, *given, **named):
        calls.append(1)
        if len(calls) == 2:
            time.sleep(600)
        return generate(self, *given, **named)

    monkeypatch.setattr(HfEngine, "generate", hanging)
    with pytest.raises(UserError, match=r"^the base's engine .* compute\.patience") as fault:
        scores.evaluate(run, share, alone=False)
    assert len(str(fault.value).splitlines()) == 1
    rows = scores.evaluate(run, share, alone=False)
    assert len(calls) == 2 + 1  # what was scored before stands; the student learned nothing
    assert [row["benchmark"] for row in rows].count("nano_rows") == 2  # base and student


def test_a_judge_that_hangs_is_named_too() -> None:
    lazy = LazyEngine(lambda: Hanging(lambda prompt, member: "x", "theirs"))
    asked = [Prompt("these hang")], Sampling(n=1, max_tokens=8), [0]
    with Watchdog(1.0, "mend it") as watchdog:
        lazy.watch(watchdog, "judge")
        with pytest.raises(UserError, match=r"^the judge's engine theirs, asked 1 prompts, "):
            lazy.generate(*asked)
