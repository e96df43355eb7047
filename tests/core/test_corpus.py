"""Each pass asks every question at most once, in an order of its own that the seed decides."""

import dataclasses
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


def test_a_corpus_is_known_by_all_that_its_questions_hold_and_by_their_order() -> None:
    base = [Question(f"q{i}", "Q?", "1", (b"one",), "VLM", "sums") for i in range(3)]
    changes = {
        "id": "other",
        "text": "Which?",
        "gold": "2",
        "images": (b"two",),
        "family": "LLM",
        "category": "parts",
        "judged": True,
        "kind": "number",
        "options": ("A", "B"),
        "accepted": ("1.0",),
        "tolerance": 0.1,
    }
    assert set(changes) == {f.name for f in dataclasses.fields(Question)}
    others = [[dataclasses.replace(base[0], **{n: v}), *base[1:]] for n, v in changes.items()]
    digests = [ListCorpus(some, 0).digest() for some in (base, base[::-1], base[:2], *others)]
    assert len(set(digests)) == len(digests)
    assert ListCorpus(base, seed=1).digest() == digests[0]  # the seed only orders what is asked
