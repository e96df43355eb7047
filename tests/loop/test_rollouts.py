"""The first half of Algorithm 1: plain rollouts, teacher rollouts, the caps (section 2, 1 to 3)."""

from collections import Counter

import numpy as np
from scripted_world import MANY, World, student_with
from story import CAP, G_S, G_T, MOST_REPLAYED, NEW, SETS, TAU, drawing_calls, tell

from zppo_core.protocols import Sampling
from zppo_core.rewards.where import extract_boxed
from zppo_core.types import Prompt


def test_the_story_has_every_case_that_the_paper_tells_apart(story) -> None:
    accuracies = Counter(float(np.mean(g.rewards_G)) for t in story.steps for g in t.result.plain)
    assert set(accuracies) == {0.0, 0.25, 0.5, 0.75, 1.0}
    asks = [a for t in story.steps for a in t.result.asks]
    assert {a.kind for a in asks} == {"bcq", "ncq"}
    accuracy = {
        (t.step, g.question_id): float(np.mean(g.rewards_G))
        for t in story.steps
        for g in t.result.plain
    }
    chosen = {accuracy[t.step, a.question_id] for t in story.steps for a in t.result.asks}
    assert {0.0, 0.25} <= chosen  # hard questions with right rollouts are reformulated too
    assert any(a.kind == "ncq" and len(a.negatives) < G_S for a in asks)
    draws = [d for t in story.steps for own in t.result.teacher.draws.values() for d in own]
    assert {d.grade.reward for d in draws} == {0.0, 1.0}
    events = {e.kind for t in story.steps for e in t.result.events}
    assert events == {"admit", "stay", "graduate", "evict"}
    outcomes = {g.outcome for t in story.steps for own in t.groups for g in own.grades}
    assert outcomes == {"correct", "wrong", "no_box"}


def test_new_questions_come_from_the_corpus_and_replayed_ones_from_the_buffer(story) -> None:
    sizes = set()
    for told in story.steps:
        plain = told.result.plain
        new = [g.question_id for g in plain if g.kind == "plain"]
        replayed = [g.question_id for g in plain if g.kind == "replay"]
        assert [g.kind for g in plain] == ["plain"] * len(new) + ["replay"] * len(replayed)
        assert new == story.world.corpus.new_ids(told.step, NEW)
        held = {e.question_id for e in told.entries}
        assert set(replayed) <= held - set(new)
        assert len(set(replayed)) == len(replayed)
        # the share is of the new questions, not of the buffer
        assert len(replayed) == min(MOST_REPLAYED, len(held - set(new)))
        sizes.add(len(replayed))
    assert {0, MOST_REPLAYED} <= sizes


def test_each_question_is_asked_with_its_pictures_and_the_closer(story) -> None:
    world = story.world
    for told in story.steps:
        asked = told.student[0].prompts
        assert [p.text for p in asked] == [world.closed(g.question_id) for g in told.result.plain]
        for prompt, group in zip(asked, told.result.plain, strict=True):
            assert prompt == Prompt(prompt.text, world.corpus[group.question_id].images, True)
            assert group.prompt == prompt
    assert world.templates.closer in world.student.prompts[0].text
    assert {bool(p.images) for p in world.student.prompts} == {True, False}


def test_the_student_is_asked_for_g_s_untempered_rollouts_of_the_cap(story) -> None:
    for told in story.steps:
        assert {c.sampling for c in told.student} == {Sampling(500, n=G_S)}
        assert {len(g.completions) for g in told.groups} == {G_S}
        assert len(told.student) == 1 + bool(told.result.asks)
    assert Sampling(500, n=G_S) == Sampling(500, G_S, 1.0, 1.0, 0, 0.0, 0.0, 1.0)


def test_every_prompt_of_every_step_has_a_seed_of_its_own(story, tmp_path) -> None:
    def seeds(steps):
        return [s for t in steps for c in t.student for s in c.seeds]

    mine = seeds(story.steps)
    assert len(set(mine)) == len(mine) > 100
    assert seeds(tell(tmp_path / "same", 4)[1]) == mine[: len(seeds(story.steps[:4]))]
    other = seeds(tell(tmp_path / "other", 2, **{"run.seed": 6})[1])
    assert not set(other) & set(mine)


def test_every_response_is_graded_against_its_own_questions_answer(story) -> None:
    for told in story.steps:
        for group in told.groups:
            gold = story.world.corpus[group.question_id].gold
            for completion, grade in zip(group.completions, group.grades, strict=True):
                box = extract_boxed(completion.text)
                assert grade.reward == float(box == gold)
                assert grade.answer == box
                assert completion.version == told.step


def test_the_teacher_draws_for_the_hard_questions_and_for_no_other(story) -> None:
    for told in story.steps:
        assert list(told.result.teacher.draws) == [g.question_id for g in told.hard]
        asked = [p for c in drawing_calls(told) for p in c.prompts]
        assert [p.text for p in asked] == [story.world.closed(g.question_id) for g in told.hard]
        for prompt, group in zip(asked, told.hard, strict=True):
            # the teacher's thinking is its own setting
            images = story.world.corpus[group.question_id].images
            assert prompt == Prompt(prompt.text, images, thinking=False)
        for call in drawing_calls(told):
            assert call.sampling == Sampling(500, n=G_T)
        assert all(len(own) == G_T for own in told.result.teacher.draws.values())
    exactly = [g for t in story.steps for g in t.result.plain if np.mean(g.rewards_G) == TAU]
    assert exactly  # at the threshold itself a question is not hard


def test_draws_are_fresh_on_every_visit_replayed_or_not(story) -> None:
    seen: dict[str, set[str]] = {}
    seeds: list[int] = []
    again = 0
    for told in story.steps:
        seeds += [s for c in drawing_calls(told) for s in c.seeds]
        for question, own in told.result.teacher.draws.items():
            assert {d.visit for d in own} == {told.visits.get(question, 0)}
            assert [d.index for d in own] == list(range(G_T))
            assert {d.question_id for d in own} == {question}
            texts = {d.draw.text for d in own}
            assert not any(d.draw.cached for d in own)
            assert not texts & seen.setdefault(question, set())
            again += bool(seen[question])
            seen[question] |= texts
    assert again > 10
    assert len(set(seeds)) == len(seeds)
    replayed = {g.question_id for t in story.steps for g in t.hard if g.kind == "replay"}
    assert any(len(seen[q]) > G_T for q in replayed)


def test_visits_count_each_time_a_question_is_asked_plainly(story) -> None:
    counted: Counter[str] = Counter()
    for told in story.steps:
        assert told.visits == dict(counted)
        counted.update(g.question_id for g in told.result.plain)
        assert told.visits_after == dict(counted)
    assert max(counted.values()) > 3


def test_draws_are_graded_like_the_students_responses(story) -> None:
    for told in story.steps:
        for question, own in told.result.teacher.draws.items():
            gold = story.world.corpus[question].gold
            assert [d.grade.reward for d in own] == [
                float(extract_boxed(d.draw.text) == gold) for d in own
            ]


def test_the_plan_is_the_papers_walk(story) -> None:
    """Ties are the seed's to break, so all orders of equal accuracy are allowed."""
    lengths, replayed = set(), 0
    for told in story.steps:
        accuracy = {g.question_id: float(np.mean(g.rewards_G)) for g in told.hard}
        right = {
            q: any(d.grade.reward for d in own) for q, own in told.result.teacher.draws.items()
        }
        plan = told.result.teacher.plan
        lengths.add(len(plan))
        assert len(plan) <= CAP
        order = list(dict.fromkeys(q for q, _ in plan))
        assert set(order) <= set(accuracy)
        values = [accuracy[q] for q in order]
        assert values == sorted(values)
        # pre-cap: none of the questions passed over is harder than one that came in
        passed = [accuracy[q] for q in accuracy if q not in order]
        assert not passed or not values or min(passed) >= values[-1]
        expected = [(q, k) for q in order for k in ("bcq", "ncq") if k == "ncq" or right[q]]
        assert list(plan) == expected[: len(plan)]
        assert len(expected) - len(plan) <= 1
        if len(plan) < min(CAP, len(accuracy)):  # the walk ended for want of questions
            raise AssertionError(f"step {told.step}: {plan} of {accuracy}")
        replayed += sum(g.kind == "replay" and g.question_id in order for g in told.hard)
    assert CAP in lengths
    assert replayed > 0  # replayed questions are reformulated like new ones


def test_ties_are_broken_by_seed_and_step(tmp_path) -> None:
    """A student that is always wrong: all questions are as hard as one another."""
    places = set()
    for seed in (0, 1, 2, 0):
        world = World(
            tmp_path,
            student_with(lambda prompt, member: False),
            questions=MANY,
            **{**SETS, "run.seed": seed},
        )
        for _ in range(3):
            result = world.step()
            asked = [g.question_id for g in result.plain]
            chosen = dict.fromkeys(q for q, _ in result.teacher.plan)
            places.add((seed, result.step, tuple(asked.index(q) for q in chosen)))
    assert len(places) == 9  # the seed that comes twice gives the same
    assert len({place for *_, place in places}) > 6


def test_replayed_questions_are_drawn_afresh_each_step_by_the_seed(tmp_path) -> None:
    """A student that is always wrong: after a pass every question waits in the buffer."""
    places = set()
    for seed in (0, 1, 0):
        world = World(
            tmp_path,
            student_with(lambda prompt, member: False),
            questions=MANY,
            method="grpo_replay",
            **{"run.seed": seed, "replay.ratio": 0.5},
        )
        for step in range(9):
            held = [e.question_id for e in world.state.buffer.entries()]
            plain = world.step().plain
            new = [g.question_id for g in plain if g.kind == "plain"]
            pool = [q for q in held if q not in new]
            if step >= 3:
                replayed = [g.question_id for g in plain if g.kind == "replay"]
                places.add((seed, step, tuple(pool.index(q) for q in replayed)))
    assert len(places) == 12  # the seed that comes twice gives the same
    assert len({place for *_, place in places}) == 12
