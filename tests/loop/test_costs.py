"""What a step writes about its cost is what its models were given."""

from dataclasses import replace

import pytest
from scripted_world import World, asked_of, some_right, student_with, teacher_with

from zppo_core.algorithm.compression import Compressed
from zppo_core.config.methods import METHODS
from zppo_core.records.context import RecordContext
from zppo_core.records.step_tables import cost_rows

CAP, PROMPT, SUMMARY = 1000, 300, 70
LONGEST = CAP + PROMPT


def costs_of(world: World, result) -> dict[tuple[str, str], tuple[int, int]]:
    loss = METHODS[world.config.run.method].loss
    context = RecordContext("run", 0, world.corpus, False, len, 10, 20, CAP, loss, PROMPT, SUMMARY)
    return {
        (r["role"], r["activity"]): (r["tokens"], r["tokens_cap"])
        for r in cost_rows(context, result)
    }


def tokens_of(groups) -> int:
    return sum(len(c.token_ids_T) - c.forced for g in groups for c in g.completions)


@pytest.mark.parametrize("method", ["grpo", "zppo", "grpo_replay_prefix"])
def test_the_surrogate_trains_on_what_is_not_trivial_and_the_paper_counts_all(
    tmp_path, method
) -> None:
    world = World(tmp_path, student_with(some_right), method=method)
    result = world.step()
    groups = [*result.plain, *result.augmented]
    active = [g for g in groups if not g.trivial]
    assert len(active) < len(groups)
    found = costs_of(world, result)
    longest = sum(len(g.completions) for g in groups) * LONGEST
    assert found["student", "train"] == found["student", "rescore"]
    assert found["student", "train"] == (tokens_of(active), longest)
    assert found["student", "generate"] == (tokens_of(groups), longest)
    assert ("teacher", "rescore") not in found


def test_a_step_without_anything_to_learn_costs_in_the_papers_account_all_the_same(
    tmp_path,
) -> None:
    world = World(tmp_path, student_with(lambda p, m: True), method="grpo")
    result = world.step()
    assert all(g.trivial for g in result.plain)
    found = costs_of(world, result)
    assert found["student", "train"][1] == found["student", "generate"][1] > 0


def test_draws_of_another_run_and_summaries_are_in_the_papers_account(tmp_path) -> None:
    """A second run with the same cache draws nothing, and its account is that of the first."""
    found, summaries = [], 0
    for _ in range(2):
        world = World(tmp_path, student_with(some_right))
        result = world.step()
        found.append(costs_of(world, result)["teacher", "generate"])
        draws = [d for own in result.teacher.draws.values() for d in own]
        texts = {c for a in result.asks for c in (a.positive, *a.negatives) if c is not None}
        summaries = sum(c.attempts for c in texts)
        assert found[-1][1] == len(draws) * LONGEST + summaries * SUMMARY
    assert summaries > 0
    (first, cap), (second, same) = found
    assert cap == same
    assert all(d.draw.cached for d in draws)
    assert 0 < second < first  # the summaries alone


def test_a_summary_that_was_recalled_was_not_generated(tmp_path) -> None:
    world = World(tmp_path, student_with(some_right))
    result = world.step()

    def recalled(c: Compressed | None) -> Compressed | None:
        return None if c is None else replace(c, recalled=c.tokens)

    asks = [
        replace(a, positive=recalled(a.positive), negatives=tuple(map(recalled, a.negatives)))
        for a in result.asks
    ]
    draws = sum(len(d.draw.token_ids_T) for own in result.teacher.draws.values() for d in own)
    before, after = (
        costs_of(world, r)["teacher", "generate"] for r in (result, replace(result, asks=asks))
    )
    assert before[0] > after[0] == draws > 0
    assert before[1] == after[1]


def test_on_distillation_trains_on_every_response_and_the_teacher_reads_them(tmp_path) -> None:
    world = World(tmp_path, student_with(some_right), method="on_distill")
    result = world.step()
    assert any(g.trivial for g in result.plain)
    found = costs_of(world, result)
    everything = tokens_of(result.plain), 4 * len(result.plain) * LONGEST
    assert found == {
        ("student", "generate"): everything,
        ("student", "train"): everything,
        ("teacher", "rescore"): everything,
    }


def test_off_distillation_trains_on_the_teachers_right_responses(tmp_path) -> None:
    right = teacher_with(lambda p, m: m < 2 and asked_of(p).id != "q3")
    world = World(tmp_path, student_with(some_right), right, method="off_distill")
    result = world.step()
    draws = [d for own in result.teacher.draws.values() for d in own]
    taught = [d for d in draws if d.grade.reward == 1.0]
    assert 0 < len(taught) < len(draws)
    found = costs_of(world, result)
    learned = sum(len(d.draw.token_ids_T) for d in taught), len(taught) * LONGEST
    assert found["student", "train"] == found["teacher", "rescore"] == learned
    assert ("student", "rescore") not in found
    generated = sum(len(d.draw.token_ids_T) for d in draws), len(draws) * LONGEST
    assert found["teacher", "generate"] == generated


def test_a_summary_costs_at_the_cap_what_each_attempt_may_and_once_in_a_step(tmp_path) -> None:
    world = World(tmp_path, student_with(some_right))
    result = world.step()
    short = Compressed("a", "1", False, attempts=3, tokens=5, source_answer="1")
    ask = replace(result.asks[0], positive=None, negatives=(short,))
    alone = replace(result, teacher=replace(result.teacher, draws={}), asks=(ask, ask))
    assert costs_of(world, alone)["teacher", "generate"] == (5, 3 * SUMMARY)


def test_a_model_that_reads_costs_by_its_own_size(tmp_path) -> None:
    world = World(tmp_path, student_with(some_right), method="opsd", **{"student.thinking": False})
    result = world.step()
    found = costs_of(world, result)
    learned = found["student", "train"]
    assert found["student", "rescore"] == learned  # after its evidence
    assert learned[0] > 0
    context = RecordContext(
        "run", 0, world.corpus, False, len, 10, 20, CAP, "opsd", PROMPT, SUMMARY
    )
    rows = cost_rows(context, result)
    assert {(r["role"], r["model_params"]) for r in rows} == {("student", 10), ("teacher", 20)}
