"""Controls of the reformulations: the prompts differ from BCQ's and NCQ's in one thing each."""

from __future__ import annotations

import numpy as np
import pytest
from scripted_world import MANY, World, changing_student, often_right, teacher_with
from story import blocks, route_of

from zppo_core.algorithm.controls import WORDS, exchanged, lorem
from zppo_core.algorithm.reformulation import Chosen, Instance
from zppo_core.algorithm.reformulations import find
from zppo_core.config import ReformulationConfig
from zppo_core.types import Completion, Grade, Group, Prompt, Question

KINDS = (
    "placebo_bcq",
    "placebo_ncq",
    "shuffled_bcq",
    "lorem",
    "bcq_right_only",
    "bcq_wrong_only",
    "again",
)


def told(folder, kind: str, steps: int = 3):
    """The world of a control's method, and its steps."""
    sets = {"teacher.scope": "hard", "reformulation.ratio": 0.65, "run.seed": 5}
    world = World(
        folder,
        changing_student(),
        teacher_with(often_right),
        questions=MANY,
        method=f"grpo_replay_{kind}",
        **sets,
    )
    return world, [world.step() for _ in range(steps)]


def texts_of(result, question_id: str) -> tuple[set[str], set[str]]:
    """The numbers of a question's right teacher rollouts, and of its wrong student rollouts."""
    group = next(g for g in result.plain if g.question_id == question_id)
    right = {d.draw.text for d in result.teacher.draws.get(question_id, ()) if d.grade.reward == 1}
    pairs = zip(group.completions, group.grades, strict=True)
    return right, {c.text for c, grade in pairs if grade.reward == 0}


@pytest.mark.parametrize("kind", KINDS)
def test_a_control_asks_as_many_groups_and_keeps_its_name(tmp_path, kind: str) -> None:
    _, results = told(tmp_path, kind)
    reference = "bcq" if find(kind).needs_teacher else "ncq"
    _, plain = told(tmp_path / "reference", reference)
    assert len(results[0].asks) == len(plain[0].asks) > 1
    assert {a.kind for r in results for a in r.asks} == {kind}
    assert {g.kind for r in results for g in r.augmented} == {kind}


@pytest.mark.parametrize("kind", ["placebo_bcq", "placebo_ncq"])
def test_a_placebo_shows_what_belongs_to_another_question_of_the_step(tmp_path, kind) -> None:
    """A summary keeps the route of the response that it is of."""
    _, results = told(tmp_path, kind)
    for result in results:
        routes = {
            a.question_id: {route_of(t) for some in texts_of(result, a.question_id) for t in some}
            for a in result.asks
        }
        shown = [{route_of(t) for t in blocks(a.prompt.text)} for a in result.asks]
        owners = [
            {q for q, routes_of in routes.items() if some & routes_of} for some in shown if some
        ]
        assert len(owners) > 1
        for ask, owner in zip(result.asks, owners, strict=True):
            assert len(owner) == 1  # all of one question
            assert ask.question_id not in owner
        assert sorted(q for owner in owners for q in owner) == sorted(routes)  # each of them once


def test_shuffled_candidates_are_two_wrong_responses_and_the_order_is_unmarked(tmp_path) -> None:
    _, results = told(tmp_path, "shuffled_bcq")
    for result in results:
        for ask in result.asks:
            assert len(ask.negatives) == 2
            assert ask.positive is None
            assert ask.right_first is None
            assert len(blocks(ask.prompt.text)) == 2
            assert "One is right and one is wrong" in ask.prompt.text


def test_shuffled_candidates_are_two_rollouts_where_there_are_two_and_boxed_ones_first() -> None:
    def drawn(*answers: str | None, boxed: bool = True) -> set[tuple[str, ...]]:
        completions = [
            Completion(f"w{i}", np.zeros(0, np.int32), np.zeros(0, np.float32), "stop", 0)
            for i in range(len(answers))
        ]
        grades = [Grade(0.0, "wrong", a) for a in answers]
        group = Group("u", "q", "plain", Prompt("Q?"), tuple(completions), tuple(grades))
        settings = ReformulationConfig(wrong="boxed" if boxed else "any")
        kind = find("shuffled_bcq")
        seeds = range(60)
        return {kind.choose(group, (), np.random.default_rng(s), settings).wrong for s in seeds}

    assert drawn("1", "2", None) == {("w0", "w1"), ("w1", "w0")}
    assert drawn("1", None) == {("w0", "w1")}
    assert drawn("1") == {("w0", "w0")}
    assert len(drawn("1", "2", None, boxed=False)) == 6


def test_lorem_has_the_length_of_bcqs_candidates_and_only_random_words(tmp_path) -> None:
    _, results = told(tmp_path, "lorem")
    _, reference = told(tmp_path / "b", "bcq")
    real = {a.question_id: blocks(a.prompt.text) for a in reference[0].asks}
    for ask in results[0].asks:
        shown = blocks(ask.prompt.text)
        # `blocks` drops white space at the ends
        lengths = sorted(map(len, shown)), sorted(map(len, real[ask.question_id]))
        for text, length in zip(*lengths, strict=True):
            assert length - 1 <= text <= length
        for text in shown:
            assert all(any(w.startswith(word) for w in WORDS) for word in text.split())


@pytest.mark.parametrize(("kind", "place"), [("bcq_right_only", 0), ("bcq_wrong_only", 1)])
def test_one_candidate_is_shown_and_nothing_says_which(tmp_path, kind: str, place: int) -> None:
    _, results = told(tmp_path, kind)
    for result in results:
        for ask in result.asks:
            (shown,) = blocks(ask.prompt.text)
            assert (ask.positive is None) is (place == 1)
            assert shown == (ask.positive.text if place == 0 else ask.negatives[0].text)
            assert "may be right or wrong" in ask.prompt.text


def test_a_placebo_is_made_of_the_next_in_length_and_the_longest_of_the_shortest() -> None:
    rng, kind = np.random.default_rng(0), find("placebo_ncq")
    question = Question("q", "Q?", "1")
    made = [Instance(question, kind, Chosen(None, ("x" * n,)), rng) for n in (10, 30, 20, 40)]
    assert [len(one.chosen.wrong[0]) for one in exchanged(made)] == [20, 40, 30, 10]


def test_again_asks_the_plain_question_with_seeds_of_its_own(tmp_path) -> None:
    world, results = told(tmp_path, "again", steps=1)
    plain, again = world.student.calls
    for group in results[0].augmented:
        assert group.prompt.text == world.closed(group.question_id)
    assert len(again.seeds) == len(results[0].augmented)
    assert not set(again.seeds) & set(plain.seeds)


def test_a_single_instance_has_random_words_for_a_placebo(tmp_path) -> None:
    from zppo_core.algorithm.reformulation import Chosen, Instance
    from zppo_core.store.teacher_cache import Draw

    draw = Draw("the right answer", np.zeros(3, np.int32), "stop", False)
    kind = find("placebo_bcq")
    one = Instance(MANY[0], kind, Chosen(draw, ("wrong",)), np.random.default_rng(0))
    (other,) = exchanged([one])
    assert other.right.text != draw.text
    assert len(other.right.text) == len(draw.text)
    assert len(other.chosen.wrong[0]) == 5
    assert lorem(np.random.default_rng(1), 0) == ""
