import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zppo_core.errors import UserError
from zppo_core.processes.killable import Outcome, WorkerPool
from zppo_core.rewards.custom import OwnReward
from zppo_core.rewards.grader import Grader, grade
from zppo_core.rewards.numbers import exact_number
from zppo_core.rewards.where import extract_boxed
from zppo_core.types import Grade, Question


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{5}.", "5"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{3} and then \boxed{4", "3"),  # cut off by the length limit
        (r"\boxed {7}", "7"),
        (r"\boxed 7", None),
        (r"\boxed{", None),
        ("7", None),
        (r"\boxed{}", ""),
        (r"\boxed{5} I put it in \boxed{}.", "5"),
    ],
)
def test_the_last_balanced_box_is_the_answer(text: str, answer: str | None) -> None:
    assert extract_boxed(text) == answer


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_extraction_never_raises_and_takes_only_what_stands_in_the_text(text: str) -> None:
    answer = extract_boxed(text)
    assert answer is None or answer in text


def test_extraction_is_linear_in_adversarial_text() -> None:
    start = time.perf_counter()
    assert extract_boxed(r"\boxed{" * 200_000) is None
    assert time.perf_counter() - start < 3


@given(st.text(alphabet="abcxyz0123456789+-=/() .,", min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_the_gold_answer_itself_is_right(gold: str) -> None:
    assert grade(rf"thus \boxed{{{gold}}}", gold).reward == 1.0


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        ("1/2", "0.5", True),
        (r"\frac{1}{2}", "0.5", True),
        (r"\dfrac{1}{2}", "1/2", True),
        ("1,234", "1234", True),
        ("12,34", "1234", False),
        ("1.5e3", "1500", True),
        (r"1.5\times10^{3}", "1500", True),
        (r"50\%", "0.5", True),  # a percentage is a number
        (r"50\%", "50", True),  # and once more with the sign removed from both
        ("50", r"50\%", True),
        ("0.5", "50", False),
        (r"90^\circ", "90", True),
        ("90°", "90", True),
        ("0.33333333", "1/3", True),
        ("0.33", "1/3", False),
        ("1000000", "1000001", False),
        ("A", "A", True),
        ("B", "A", False),
        ("(A)", "A", True),
        ("cab", "abc", False),  # algebra would multiply the letters
        ("(cab)", "abc", False),
        ("cab1", "abc", False),
        (r"x \cdot y", "xy", True),
        ("(B)", "B", True),
        ("B", "(B)", True),
        ("{x}", "x", True),
        ("(A)", "B", False),
        ("A) B", "B", False),
        ("π", r"\pi", True),
        (r"\leftarrow", r"\rightarrow", False),
        (r"p\leftarrow q", r"p\rightarrow q", False),
        (r"A \rightarrow B", r"A \leftarrow B", False),
        (r"\left(\frac{1}{2}\right)", "0.5", True),
        (r"\text{Blue}", "blue", True),
        (r"2\sqrt{2}", r"\sqrt{8}", True),
        ("2x + 1", "1+2x", True),
        (r"\{2,1\}", r"\{1,2\}", True),
        ("x=5", "5", True),
        ("2x", "3x", False),
        ("", "5", False),
        ("٣", "3", False),  # digits of other scripts are text
        ("5\x00", "6", False),
    ],
)
def test_answers_are_compared_as_exact_numeric_and_latex(
    answer: str, gold: str, right: bool
) -> None:
    verdict = grade(rf"\boxed{{{answer}}}", gold)
    assert verdict.reward == float(right)
    assert verdict.outcome == ("correct" if right else "wrong")


def test_no_box_is_no_reward() -> None:
    assert grade("the answer is 5", "5").outcome == "no_box"


def test_a_power_tower_is_a_timeout_and_the_next_answers_are_still_graded() -> None:
    grader = Grader(workers=1, timeout=1.0)
    start = time.perf_counter()
    grades = grader.grade_many(
        [
            (r"\boxed{9^{9^{9^{9}}}}", "1"),
            (r"\boxed{10!!!!!}", "4"),
            (r"\boxed{2x+1}", "1+2x"),
            (r"\boxed{5}", "5"),
        ]
    )
    grader.close()
    assert [g.outcome for g in grades] == ["timeout", "timeout", "correct", "correct"]
    assert time.perf_counter() - start < 20


def test_digits_never_start_a_worker() -> None:
    grader = Grader()
    grades = grader.grade_many([(rf"\boxed{{{i}}}", str(i % 7)) for i in range(100)])
    assert all(p.process is None for p in grader._pool._idle.queue)
    assert [g.reward for g in grades] == [float(i < 7) for i in range(100)]


@given(st.fractions(max_denominator=10**6))
@settings(max_examples=100, deadline=None)
def test_fractions_are_read_exactly(number) -> None:  # type: ignore[no-untyped-def]
    text = rf"\frac{{{abs(number.numerator)}}}{{{number.denominator}}}"
    assert exact_number(("-" if number < 0 else "") + text) == number


def test_a_very_long_number_is_compared_as_text() -> None:
    long = "9" * 100_000
    assert grade(rf"\boxed{{{long}}}", long).reward == 1.0
    assert grade(rf"\boxed{{{long}8}}", long + "9").reward == 0.0
    assert grade(rf"\boxed{{{long}}}", "1").outcome == "wrong"


def bomb(size: int) -> int:
    return len(bytearray(size))


def whoami() -> int:
    return os.getpid()


PATH = "test_grader:"


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.mark.usefixtures("importable")
def test_memory_is_limited_and_the_pool_lives_on() -> None:
    pool = WorkerPool(PATH + "bomb", workers=1, timeout=20, memory_mb=2048)
    outcomes = pool.map([(10,), (1 << 40,), (20,)])
    pool.close()
    assert outcomes[0] == Outcome(10)
    assert "MemoryError" in outcomes[1].fault
    assert outcomes[2] == Outcome(20)


@pytest.mark.usefixtures("importable")
def test_no_worker_outlives_its_pool() -> None:
    pool = WorkerPool(PATH + "whoami", workers=1, timeout=20)
    pid = pool.map([()])[0].value
    pool.close()
    alive = subprocess.run(["ps", "-p", str(pid)], capture_output=True, check=False)
    assert alive.returncode != 0


def test_a_function_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="no_such_module"):
        WorkerPool("no_such_module:f").map([()])


QUESTION = Question("q", "How many?", (), "5")
SLOW_IMPORT = """
import time
from zppo_core.types import Grade
time.sleep(1.5)
def reward(question, response):
    return Grade(1.0, "correct", response)
"""


def test_the_import_of_an_own_reward_costs_no_answer_its_grade(tmp_path, monkeypatch) -> None:
    (tmp_path / "slow_import.py").write_text(SLOW_IMPORT)
    monkeypatch.syspath_prepend(str(tmp_path))
    reward = OwnReward("slow_import:reward", workers=1, timeout=0.7)
    assert reward.grade_all([(QUESTION, "5")]) == [Grade(1.0, "correct", "5")]


def test_an_own_reward_whose_import_fails_stops_the_run_in_one_line(tmp_path, monkeypatch) -> None:
    (tmp_path / "broken_import.py").write_text("raise ValueError('no\\nkey')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=r"import of broken_import fails: ValueError: no key$"):
        OwnReward("broken_import:reward", workers=1).grade_all([(QUESTION, "5")])


def test_the_import_of_the_algebra_costs_no_answer_its_grade(tmp_path, monkeypatch) -> None:
    """As on a slow disk; the real package stands behind."""
    package = tmp_path / "mpmath"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import importlib, sys, time\ntime.sleep(1.5)\n"
        f"sys.path.remove({str(tmp_path)!r})\ndel sys.modules['mpmath']\n"
        "sys.modules['mpmath'] = importlib.import_module('mpmath')\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    grader = Grader(workers=1, timeout=1.0)
    assert grader.grade_many([(r"\boxed{\sin 2x}", r"2\sin x\cos x")])[0].outcome == "correct"
    grader.close()


@pytest.mark.usefixtures("importable")
def test_a_worker_that_died_while_idle_costs_no_job_its_value(capfd) -> None:
    pool = WorkerPool(PATH + "whoami", workers=1, timeout=20)
    pid = pool.map([()])[0].value
    worker = psutil.Process(pid)
    worker.send_signal(signal.SIGKILL)
    while worker.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    (outcome,) = pool.map([()])
    pool.close()
    assert outcome.fault == ""
    assert outcome.value != pid
    assert "died while it was idle" in capfd.readouterr().err


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures("importable")
def test_a_job_that_kills_its_worker_is_not_tried_again(capfd) -> None:
    pool = WorkerPool(PATH + "die", workers=1, timeout=20)
    assert [o.fault for o in pool.map([(), ()])] == ["the worker died (memory?)"] * 2
    pool.close()
    assert capfd.readouterr().err == ""
