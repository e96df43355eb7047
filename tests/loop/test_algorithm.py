"""Nine steps of Algorithm 1 in an unkind world, checked against the paper's sentences, one by one.

Nothing here asks the product what is right: what engines and trainer were asked, and what the step
left behind, is compared with values worked out from the recorded rollouts alone.
"""

import re
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from scripted_world import (
    MANY,
    Learner,
    World,
    changing_student,
    encoded,
    often_right,
    student_with,
    teacher_with,
)

from zppo_core.engines.base import Sampling
from zppo_core.grading import extract_boxed
from zppo_core.replay_buffer import Entry
from zppo_core.types import Prompt

STEPS, NEW, G_S, G_T, UPDATES = 9, 8, 4, 3, 3
TAU, CAP, MOST_REPLAYED, CAPACITY = 0.5, 5, 3, 11
SETS = {
    "replay.ratio": 0.4, "reformulation.ratio": 0.65, "replay.capacity": CAPACITY,
    "teacher.scope": "hard", "optimizer.updates": UPDATES, "run.seed": 5,
}  # fmt: skip


@dataclass
class Told:
    """One step: what stood before it, what it asked for, and what came out."""

    step: int
    entries: tuple[Entry, ...]  # of the buffer, before
    visits: dict[str, int]  # before
    student: list  # calls
    teacher: list
    scored: list
    updates: list
    did: list[str]
    result: object
    entries_after: tuple[Entry, ...]
    visits_after: dict[str, int]

    @property
    def hard(self) -> list:
        return [g for g in self.result.plain if np.mean(g.rewards_G) < TAU]

    @property
    def groups(self) -> list:
        return [*self.result.plain, *self.result.augmented]


def tell(folder, steps: int = STEPS, **sets) -> tuple[World, list[Told]]:
    world = World(folder, changing_student(), teacher_with(often_right), questions=MANY,
                  **{**SETS, **sets})  # fmt: skip
    told = []
    student, teacher, learner = world.student, world.teacher, world.learner
    logs = (student.calls, teacher.calls, learner.asked_to_score, learner.updates, learner.did)
    for _ in range(steps):
        state, marks = world.state, [len(log) for log in logs]
        entries, visits, step = state.buffer.entries(), dict(state.visits), state.step
        result = world.step()
        since = [log[mark:] for log, mark in zip(logs, marks, strict=True)]
        told.append(
            Told(step, entries, visits, *since, result, state.buffer.entries(), dict(state.visits))
        )
    return world, told


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    world, steps = tell(tmp_path_factory.mktemp("story"))
    return SimpleNamespace(world=world, steps=steps)


def route_of(text: str) -> str:
    return re.findall(r"(?:route|short) (\d+)", text)[-1]


def blocks(prompt: str) -> list[str]:
    return re.findall(r"<candidate>\n(.*?)\n</candidate>", prompt, re.DOTALL)


def drawing_calls(told: Told) -> list:
    return [c for c in told.teacher if "<response>" not in c.prompts[0].text]


def summary_calls(told: Told) -> list:
    return [c for c in told.teacher if "<response>" in c.prompts[0].text]


# --- the world is unkind


def test_the_story_has_every_case_that_the_paper_tells_apart(story) -> None:
    accuracies = Counter(float(np.mean(g.rewards_G)) for t in story.steps for g in t.result.plain)
    assert set(accuracies) == {0.0, 0.25, 0.5, 0.75, 1.0}
    asks = [a for t in story.steps for a in t.result.asks]
    assert {a.kind for a in asks} == {"bcq", "ncq"}
    accuracy = {
        (t.step, g.question_id): float(np.mean(g.rewards_G))
        for t in story.steps for g in t.result.plain
    }  # fmt: skip
    chosen = {accuracy[t.step, a.question_id] for t in story.steps for a in t.result.asks}
    assert {0.0, 0.25} <= chosen  # hard questions with right rollouts are reformulated too
    assert any(a.kind == "ncq" and len(a.negatives) < G_S for a in asks)
    draws = [d for t in story.steps for own in t.result.teacher.draws.values() for d in own]
    assert {d.grade.reward for d in draws} == {0.0, 1.0}
    events = {e.kind for t in story.steps for e in t.result.events}
    assert events == {"admit", "stay", "graduate", "evict"}
    outcomes = {g.outcome for t in story.steps for own in t.groups for g in own.grades}
    assert outcomes == {"correct", "wrong", "no_box"}


# --- 1. plain rollouts


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


# --- 2. teacher rollouts


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


# --- 3. and 5. the caps


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
        world = World(tmp_path, student_with(lambda prompt, member: False), questions=MANY,
                      **{**SETS, "run.seed": seed})  # fmt: skip
        for _ in range(3):
            result = world.step()
            asked = [g.question_id for g in result.plain]
            chosen = dict.fromkeys(q for q, _ in result.teacher.plan)
            places.add((seed, result.step, tuple(asked.index(q) for q in chosen)))
    assert len(places) == 9  # the seed that comes twice gives the same
    assert len({place for *_, place in places}) > 6


# --- 4. reformulation


def test_every_bcq_holds_one_right_draw_and_one_wrong_rollout_unlabelled(story) -> None:
    right_first, places = [], Counter()
    for told in story.steps:
        plain = {g.question_id: g for g in told.result.plain}
        for ask in (a for a in told.result.asks if a.kind == "bcq"):
            gold, group = story.world.corpus[ask.question_id].gold, plain[ask.question_id]
            pair = blocks(ask.prompt.text)
            assert len(pair) == 2
            boxes = [extract_boxed(text) for text in pair]
            right = boxes.index(gold)
            assert (right == 0) is ask.right_first
            right_first.append(ask.right_first)
            draws = told.result.teacher.draws[ask.question_id]
            routes = [route_of(d.draw.text) for d in draws]
            place = routes.index(route_of(pair[right]))
            assert draws[place].grade.reward == 1.0
            places[place, sum(d.grade.reward for d in draws)] += 1
            wrong = {
                route_of(c.text): c.text
                for c, g in zip(group.completions, group.grades, strict=True)
                if g.reward == 0.0
            }
            said = wrong[route_of(pair[1 - right])]
            assert boxes[1 - right] == extract_boxed(said) != gold
            # both are summaries of the teacher's, of one form
            assert all(re.fullmatch(r"short \d+ (\\boxed\{\d+\})?", text + " " * (
                "boxed" not in text)) for text in pair)  # fmt: skip
            assert (ask.positive.text, [n.text for n in ask.negatives]) == (
                pair[right], [pair[1 - right]],
            )  # fmt: skip
    assert len(right_first) > 12
    assert 0.2 < np.mean(right_first) < 0.8
    assert len({place for place, _ in places}) == G_T  # never always the same one


def test_a_bcqs_wrong_rollout_is_drawn_afresh_and_has_a_box_where_one_has(story) -> None:
    places = Counter()
    for told in story.steps:
        plain = {g.question_id: g for g in told.result.plain}
        for ask in (a for a in told.result.asks if a.kind == "bcq"):
            group = plain[ask.question_id]
            wrong = [
                (route_of(c.text), g.answer)
                for c, g in zip(group.completions, group.grades, strict=True) if g.reward == 0.0
            ]  # fmt: skip
            taken = [r for r, _ in wrong].index(route_of(ask.negatives[0].text))
            assert (wrong[taken][1] is None) <= all(a is None for _, a in wrong)
            places[taken] += 1
    assert len(places) >= 3


def test_every_ncq_holds_all_wrong_rollouts_and_none_that_is_right(story) -> None:
    for told in story.steps:
        plain = {g.question_id: g for g in told.result.plain}
        for ask in (a for a in told.result.asks if a.kind == "ncq"):
            gold, group = story.world.corpus[ask.question_id].gold, plain[ask.question_id]
            wrong = [
                c.text for c, g in zip(group.completions, group.grades, strict=True)
                if g.reward == 0.0
            ]  # fmt: skip
            shown = blocks(ask.prompt.text)
            assert [route_of(t) for t in shown] == [route_of(t) for t in wrong]
            assert [extract_boxed(t) for t in shown] == [extract_boxed(t) for t in wrong]
            assert all(text.startswith("short") for text in shown)
            listed = re.findall(r"\\boxed\{(\d+)\}", ask.prompt.text.split("<candidate>\n")[0])
            assert listed == list(dict.fromkeys(b for b in map(extract_boxed, wrong) if b))
            assert rf"\boxed{{{gold}}}" not in ask.prompt.text
            assert (ask.positive, ask.right_first) == (None, None)
            assert [n.text for n in ask.negatives] == shown


def test_a_reformulated_prompt_is_the_question_its_candidates_and_the_closer(story) -> None:
    for told in story.steps:
        for ask in told.result.asks:
            question = story.world.corpus[ask.question_id]
            text = ask.prompt.text
            assert text.startswith(f"{question.text}\n")
            assert text.endswith(f"\n{story.world.templates.closer}")
            assert ask.prompt == Prompt(text, question.images, True)
            for word in ("SENTINEL", "student", "teacher", "thinks", "Right:", "gold"):
                assert word not in text


def test_each_shown_response_is_summarised_once_a_step(story) -> None:
    for told in story.steps:
        bodies = [
            p.text.split("<response>")[-1] for c in summary_calls(told) for p in c.prompts
        ]  # the example in the instruction comes first
        shown = {route_of(t) for a in told.result.asks for t in blocks(a.prompt.text)}
        assert Counter(route_of(b) for b in bodies) == Counter(shown)
        for call in summary_calls(told):
            assert call.sampling == Sampling(200 + 32, 1, 0.0)
            assert not any(p.thinking or p.images for p in call.prompts)


# --- 5. rollouts on reformulated prompts


def test_reformulated_prompts_are_asked_of_the_student_as_they_are(story) -> None:
    for told in story.steps:
        asks, groups = told.result.asks, told.result.augmented
        assert [(a.question_id, a.kind) for a in asks] == list(told.result.teacher.plan)
        assert [(g.question_id, g.kind) for g in groups] == list(told.result.teacher.plan)
        assert [g.prompt for g in groups] == [a.prompt for a in asks]
        if asks:
            assert list(told.student[1].prompts) == [a.prompt for a in asks]


# --- 6. advantages and updates


def standardised(groups, norm: str = "nonzero", eps: float = 1e-6) -> dict[str, np.ndarray]:
    """Section 3, written out: each group's own baseline, one deviation for all."""
    centred = {g.uid: g.rewards_G - np.mean(g.rewards_G) for g in groups}
    if norm == "none":
        return centred
    if norm == "grpo":
        return {g.uid: centred[g.uid] / (np.std(g.rewards_G) + eps) for g in groups}
    pool = [a for a in centred.values() if norm == "all" or np.any(a != 0)]
    deviation = np.sqrt(np.mean(np.concatenate(pool) ** 2)) if pool else 1.0
    return {uid: a / (deviation + eps) for uid, a in centred.items()}


def reached(told: Told) -> list:
    return [g for groups, _ in told.updates for g in groups]


def active(groups) -> list:
    return [g for g in groups if len(set(g.rewards_G)) > 1]


def test_advantages_are_those_of_the_whole_rollout_batch(story) -> None:
    for told in story.steps:
        expected = standardised(told.groups)
        found = told.result.update.advantages
        assert set(found) == set(expected)
        for uid, values in expected.items():
            np.testing.assert_allclose(found[uid], values, atol=1e-9)
        trained = {g.uid: g for g in reached(told)}
        for group in active(told.groups):
            for value, suffix in zip(expected[group.uid], trained[group.uid].suffixes, strict=True):
                np.testing.assert_allclose(suffix.weights_T, value, rtol=1e-5)
    uids = [g.uid for t in story.steps for g in t.groups]
    assert len(set(uids)) == len(uids)


@pytest.mark.parametrize("norm", ["nonzero", "all", "none", "grpo"])
@pytest.mark.parametrize("scope", ["rollout", "minibatch"])
def test_norm_eps_and_scope_are_the_configurations(tmp_path, norm: str, scope: str) -> None:
    _, steps = tell(tmp_path, 2, **{"advantage.norm": norm, "advantage.eps": 0.25,
                                    "advantage.scope": scope})  # fmt: skip
    for told in steps:
        rewards = {g.uid: g for g in told.groups}
        if scope == "rollout":
            scopes = [told.groups]
        elif norm == "all":  # trivial groups of a mini-batch count: its parts follow from uids
            continue
        else:
            scopes = [[rewards[g.uid] for g in part] for part, _ in told.updates]
        expected = {k: v for s in scopes for k, v in standardised(s, norm, 0.25).items()}
        for group in reached(told):
            for value, suffix in zip(expected[group.uid], group.suffixes, strict=True):
                np.testing.assert_allclose(suffix.weights_T, value, rtol=1e-5, atol=1e-7)


def test_the_trainer_gets_what_was_sampled_and_nothing_else(story) -> None:
    for told in story.steps:
        groups = {g.uid: g for g in told.groups}
        for given in reached(told):
            own = groups[given.uid]
            assert given.kind == own.kind
            np.testing.assert_array_equal(given.prompt.input_ids_P, encoded(own.prompt).input_ids_P)
            for suffix, completion in zip(given.suffixes, own.completions, strict=True):
                np.testing.assert_array_equal(suffix.token_ids_T, completion.token_ids_T)
                np.testing.assert_array_equal(suffix.sampler_logp_T, completion.logp_T)
                assert suffix.mask_T.all()
                assert bytes(suffix.token_ids_T.astype(np.uint8)).startswith(b"student thinks")


def test_old_log_probabilities_are_the_trainers_before_its_first_update(story) -> None:
    learner = story.world.learner
    for told in story.steps:
        assert told.did == ["score"] + ["update"] * UPDATES
        (scored,) = told.scored
        assert {g.uid for g in scored} == {g.uid for g in reached(told)}
        assert len(scored) == len(reached(told))
        for group in reached(told):
            for i, suffix in enumerate(group.suffixes):
                assert suffix.old_logp_T is not None
                np.testing.assert_allclose(suffix.old_logp_T, learner.old_logp(group, i))
                assert np.abs(suffix.old_logp_T - suffix.sampler_logp_T).max() > 1e-3


def test_the_mismatch_is_that_of_sampler_and_trainer(story) -> None:
    learner = story.world.learner
    for told in story.steps:
        gaps = np.concatenate(
            [np.abs(learner.old_logp(g, i) - s.sampler_logp_T)
             for g in reached(told) for i, s in enumerate(g.suffixes)]
        )  # fmt: skip
        assert told.result.update.mismatch_mean == pytest.approx(gaps.mean(), rel=1e-4)
        assert told.result.update.mismatch_max == pytest.approx(gaps.max(), rel=1e-4)


def tokens_of(group) -> int:
    return sum(len(c.token_ids_T) for c in group.completions)


def test_each_group_is_in_one_mini_batch_and_trivial_ones_count_in_its_divisor(story) -> None:
    for told in story.steps:
        assert len(told.updates) == UPDATES
        groups = {g.uid: g for g in told.groups}
        seen = [g.uid for g in reached(told)]
        assert len(set(seen)) == len(seen)
        still = [uid for uid in seen if len(set(groups[uid].rewards_G)) == 1]
        assert {g.uid for g in active(told.groups)} == set(seen) - set(still)
        assert sum(tokens for _, tokens in told.updates) == sum(map(tokens_of, told.groups))
        size = -(-len(groups) // UPDATES)
        for part, tokens in told.updates:
            own = sum(tokens_of(groups[g.uid]) for g in part)
            assert own <= tokens
            assert len(part) <= size
        trivial = len(groups) - len(active(told.groups))
        assert trivial > 0


def test_mini_batches_are_shuffled_anew_each_step_by_the_seed(story, tmp_path) -> None:
    def shape(told):
        """Where each group of the step's order went."""
        where = {g.uid: i for i, (part, _) in enumerate(told.updates) for g in part}
        return [where.get(g.uid) for g in told.groups]

    shapes = [shape(t) for t in story.steps]
    for places in shapes:
        known = [p for p in places if p is not None]
        assert known != sorted(known)
    again = tell(tmp_path / "same", 2)[1]
    assert [shape(t) for t in again] == shapes[:2]
    # the same groups in another order with another seed: the first step's questions are the same
    other = tell(tmp_path / "other", 2, **{"run.seed": 6})[1]
    assert [shape(t) for t in other] != shapes[:2]


def test_kinds_are_mixed_in_the_mini_batches(story) -> None:
    mixed = [
        {g.kind for g in part} & {"bcq", "ncq"} and {g.kind for g in part} & {"plain", "replay"}
        for t in story.steps for part, _ in t.updates
    ]  # fmt: skip
    assert sum(map(bool, mixed)) > len(mixed) / 2


# --- 6. the buffer


def test_the_buffer_is_what_the_plain_rollouts_make_of_it(story) -> None:
    held: list[Entry] = []
    for told in story.steps:
        assert list(told.entries) == held
        events = []
        for group in told.result.plain:
            question, accuracy = group.question_id, float(np.mean(group.rewards_G))
            known = next((e for e in held if e.question_id == question), None)
            if known is not None:
                moved = Entry(question, known.entry_accuracy, known.entry_step, known.visits + 1)
                held[held.index(known)] = moved
            if accuracy < TAU and known is None:
                held.append(Entry(question, accuracy, told.step))
                events.append(("admit", question, accuracy, held[-1]))
            elif accuracy < TAU:
                events.append(("stay", question, accuracy, moved))
            elif known is not None:
                held.remove(moved)
                events.append(("graduate", question, accuracy, moved))
        today = {g.question_id: float(np.mean(g.rewards_G)) for g in told.result.plain}
        while len(held) > CAPACITY:
            oldest = held.pop(0)
            last = today.get(oldest.question_id, float("nan"))
            events.append(("evict", oldest.question_id, last, oldest))
        assert list(told.entries_after) == held
        assert told.result.buffer_size == len(held)
        found = [
            (e.kind, e.question_id, e.accuracy, Entry(e.question_id, e.entry_accuracy,
                                                      e.entry_step, e.visits))
            for e in told.result.events
        ]  # fmt: skip
        assert repr(found) == repr(events)  # NaN equals itself so
        assert {e.step for e in told.result.events} <= {told.step}
    admitted = {e.entry_accuracy for e in story.world.state.buffer.entries()}
    assert len(admitted) > 1
    assert max(e.visits for t in story.steps for e in t.entries_after) > 1


def test_the_buffer_stores_no_response(story) -> None:
    text = repr(story.world.state.state_dict())
    for word in ("student", "SENTINEL", "short", "boxed", "What is"):
        assert word not in text


def test_steps_are_numbered_and_so_is_what_is_in_them(story) -> None:
    for i, told in enumerate(story.steps):
        assert told.step == told.result.step == i
        for group in told.groups:
            assert group.uid == f"{i:06d}/{group.question_id}/{group.kind}"
    assert story.world.state.step == STEPS


# --- variations


def test_the_lazy_teacher_gives_the_same_prompts_and_weights_with_fewer_draws(
    story, tmp_path
) -> None:
    _, lazy = tell(tmp_path, 5, **{"teacher.scope": "augmented"})
    for mine, theirs in zip(lazy, story.steps, strict=False):
        assert mine.result.teacher.plan == theirs.result.teacher.plan
        drawn = mine.result.teacher.draws
        assert set(drawn) <= set(theirs.result.teacher.draws)
        assert {q for q, _ in mine.result.teacher.plan} <= set(drawn)
    assert sum(len(t.result.teacher.draws) for t in lazy) < sum(
        len(t.result.teacher.draws) for t in story.steps[:5]
    )


def test_with_one_update_nothing_is_scored_and_the_mismatch_is_the_updates(tmp_path) -> None:
    world = World(tmp_path, changing_student(), learner=Learner(gap=0.01), questions=MANY,
                  **{**SETS, "optimizer.updates": 1})  # fmt: skip
    result = world.step()
    assert world.learner.did == ["update"]
    assert (result.update.mismatch_mean, result.update.mismatch_max) == (0.01, 0.02)


def test_a_mismatch_is_refused_at_the_first_step_alone(tmp_path) -> None:
    world, _ = tell(tmp_path, 1)
    world.learner.gap = 0.5
    assert world.step().update.mismatch_mean > 0.4


def test_the_threshold_decides_what_is_hard_everywhere(tmp_path) -> None:
    world, steps = tell(tmp_path, 3, **{"replay.threshold": 0.25})
    for told in steps:
        zeros = [g.question_id for g in told.result.plain if np.mean(g.rewards_G) < 0.25]
        assert list(told.result.teacher.draws) == zeros
        admitted = {e.question_id for e in told.result.events if e.kind == "admit"}
        assert admitted <= set(zeros)
    assert len(world.state.buffer) > 0


def test_a_question_that_stays_hard_may_go_to_the_back(tmp_path) -> None:
    _, steps = tell(tmp_path, 6, **{"replay.refresh": "true"})
    stayed = 0
    for told in steps:
        stays = [e.question_id for e in told.result.events if e.kind == "stay"]
        order = [e.question_id for e in told.entries_after]
        untouched = [
            e.question_id for e in told.entries
            if e.question_id in order and e.question_id not in stays
        ]  # fmt: skip
        assert order[: len(untouched)] == untouched
        stayed += len(stays)
    assert stayed > 3


@pytest.mark.parametrize("overlap", [2, 3])
def test_slices_ask_the_same_of_everyone(story, tmp_path, overlap: int) -> None:
    world, steps = tell(tmp_path, 3, **{"compute.overlap": overlap})
    for mine, theirs in zip(steps, story.steps, strict=False):
        for calls in (lambda t: t.student, drawing_calls, summary_calls):
            asked = [(p, s) for c in calls(mine) for p, s in zip(c.prompts, c.seeds, strict=True)]
            plain = [(p, s) for c in calls(theirs) for p, s in zip(c.prompts, c.seeds, strict=True)]
            assert sorted(asked, key=repr) == sorted(plain, key=repr)
        assert mine.entries_after == theirs.entries_after
    assert max(len(c.prompts) for c in world.student.calls) <= -(-11 // overlap)
