"""Each pass asks every question at most once, in an order of its own that the seed decides."""

from collections import Counter

import pytest

from zppo_core.data.corpus import ListCorpus
from zppo_core.errors import UserError
from zppo_core.types import Question

QUESTIONS = [Question(f"q{i}", "?", "1") for i in range(25)]


def order(seed: int, steps: range, n: int = 8) -> list[list[str]]:
    corpus = ListCorpus(QUESTIONS, seed)
    return [corpus.new_ids(step, n) for step in steps]


def test_a_pass_has_no_question_twice_and_the_rest_waits_for_the_next() -> None:
    passes = [order(0, range(3 * i, 3 * i + 3)) for i in range(4)]
    asked = Counter()
    for one in passes:
        flat = [q for step in one for q in step]
        assert len(flat) == len(set(flat)) == 24
        asked.update(flat)
    assert len(asked) == 25  # whoever was left out is asked later
    assert len({tuple(map(tuple, one)) for one in passes}) == 4
    assert ListCorpus(QUESTIONS, 0).steps_per_pass(8) == 3


def test_the_order_is_shuffled_by_the_seed_and_always_the_same() -> None:
    assert order(0, range(6)) == order(0, range(6))
    assert order(0, range(6)) != order(1, range(6))
    first = [q for step in order(0, range(3)) for q in step]
    assert first != sorted(first, key=lambda q: int(q[1:]))


def test_a_corpus_smaller_than_a_step_is_refused() -> None:
    assert len(ListCorpus(QUESTIONS, 0).new_ids(0, 25)) == 25
    with pytest.raises(UserError, match="25 questions"):
        ListCorpus(QUESTIONS, 0).new_ids(0, 26)
