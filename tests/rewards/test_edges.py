"""Edges of readers and workers that pairs of answers do not reach."""

from __future__ import annotations

import time
from pathlib import Path

import mpmath
import pytest

from zppo_core.processes.killable import WorkerPool
from zppo_core.rewards.choices import named_letter
from zppo_core.rewards.clean import without_units
from zppo_core.rewards.regions import read_region
from zppo_core.rewards.values import MAX_BITS, Complex, Real, TooLargeError

JOBS = '''"""What a worker is asked for in these tests."""


def allocates(n: int) -> int:
    return len(bytearray(n))


def prints(text: str) -> str:
    print(text, flush=True)
    return "value"
'''


def equal(answer: str, gold: str) -> bool:
    return answer == gold


def test_degrees_and_percent_signs_are_no_part_of_a_number() -> None:
    assert without_units("45°") == "45"
    assert without_units("12 %") == "12"


def test_a_named_letter_has_its_own_text_beside_it() -> None:
    fruit = ("apple", "pear")
    assert named_letter("B. pear", fruit, equal) == "B"
    assert named_letter("B. apple", fruit, equal) is None
    assert named_letter("C. apple", fruit, equal) is None


def test_a_letter_with_another_or_with_doubt_is_none() -> None:
    assert named_letter("B. forty", (), equal) == "B"
    for text in ("B or C", "B. not sure", "B. " + "word " * 200):
        assert named_letter(text, (), equal) is None, text


def test_a_region_is_of_one_variable() -> None:
    union = read_region("x<1 or x>2", False)
    assert union is not None
    assert union.name == "x"
    assert read_region("x<1 or y>2", False) is None


@pytest.mark.parametrize("kind", [Real, Complex])
def test_a_tower_is_given_up_before_it_is_computed(kind: type[Real]) -> None:
    values = kind({})
    assert values.power(mpmath.mpf(2), mpmath.mpf(10)) == 1024
    for base, exponent in ((2, 2 * MAX_BITS), (2.0**1000, MAX_BITS / 2)):
        with pytest.raises(TooLargeError):
            values.power(mpmath.mpf(base), mpmath.mpf(exponent))


def test_a_job_ends_at_its_limit_of_time() -> None:
    pool = WorkerPool("time:sleep", workers=1, timeout=0.3)
    began = time.monotonic()
    assert pool.map([[2.0]])[0].fault == "timeout"
    assert time.monotonic() - began < 30
    pool.close()


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "worker_jobs.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    return "worker_jobs"


def test_a_job_has_its_limit_of_memory(jobs: str) -> None:
    pool = WorkerPool(f"{jobs}:allocates", workers=1, memory_mb=64)
    small, large = pool.map([[1 << 20], [1 << 28]])
    assert small.value == 1 << 20
    assert "MemoryError" in large.fault
    pool.close()


def test_what_a_function_prints_is_no_answer(jobs: str) -> None:
    pool = WorkerPool(f"{jobs}:prints", workers=1)
    assert [o.value for o in pool.map([['{"value": 7}'], ["no JSON"]])] == ["value", "value"]
    pool.close()
