"""What a phase commits is what comes back, and what the tables say is what happened."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scripted_world import MANY, METRICS, World, changing_student

from zppo_core.algorithm.compression import Compressed
from zppo_core.algorithm.replay_buffer import BufferEvent
from zppo_core.algorithm.step_types import StepResult
from zppo_core.config.methods import METHODS
from zppo_core.records.codecs import AsksCodec, GroupsCodec, TeacherCodec, candidate_columns
from zppo_core.records.context import RecordContext
from zppo_core.records.phases import Spent
from zppo_core.records.schema import decode
from zppo_core.records.step_tables import step_files

SPENT = Spent(5.0, 4.0, 3.0, 2.0, 1.0)
SYNC = {"sync_seconds": 0.5, "sync_bytes": 7}


def rows_of(files, table: str) -> list[dict]:
    return decode(table, files[f"{table}.parquet"]).to_pylist()


def context_of(world: World, step: int) -> RecordContext:
    loss = METHODS[world.config.run.method].loss
    return RecordContext(
        "run-a", step, world.corpus, True, lambda p: len(p.text), 10, 20, 500, loss
    )


@pytest.fixture(scope="module", params=["zppo", "grpo_replay_prefix", "grpo_replay_hint"])
def told(request, tmp_path_factory):
    world = World(
        tmp_path_factory.mktemp("w"),
        changing_student(),
        method=request.param,
        questions=MANY,
        **{"replay.ratio": 0.5, "replay.capacity": 6, "teacher.scope": "hard"},
    )
    results = [world.step() for _ in range(5)]
    return SimpleNamespace(world=world, results=results)


def same_groups(found, groups) -> None:
    assert len(found) == len(groups)
    for mine, theirs in zip(found, groups, strict=True):
        for name in ("uid", "question_id", "kind", "prompt", "grades"):
            assert getattr(mine, name) == getattr(theirs, name)
        for a, b in zip(mine.completions, theirs.completions, strict=True):
            assert (a.text, a.finish, a.version, a.forced) == (
                b.text,
                b.finish,
                b.version,
                b.forced,
            )
            np.testing.assert_array_equal(a.token_ids_T, b.token_ids_T)
            np.testing.assert_array_equal(a.logp_T, b.logp_T)
            assert (a.token_ids_T.dtype, a.logp_T.dtype) == (np.int32, np.float32)


def test_groups_come_back_as_they_were(told) -> None:
    for result in told.results:
        codec = GroupsCodec(context_of(told.world, result.step), "plain")
        same_groups(codec.decode(codec.encode(result.plain, SPENT)), result.plain)
        same_groups(codec.decode(codec.encode(result.augmented, SPENT)), result.augmented)


def cut(group):
    """The group with one response that ended at the cap."""
    first, *rest = group.completions
    return replace(group, completions=(replace(first, finish="length"), *rest))


def test_a_response_that_was_cut_stays_so(told) -> None:
    result = told.results[0]
    codec = GroupsCodec(context_of(told.world, 0), "plain")
    groups = [cut(g) for g in result.plain]
    files = codec.encode(groups, SPENT)
    same_groups(codec.decode(files), groups)
    assert {r["finish"] for r in rows_of(files, "rollouts")} == {"stop", "length"}
    draws = {
        q: tuple(replace(d, draw=replace(d.draw, finish="length", cached=True)) for d in own)
        for q, own in result.teacher.draws.items()
    }
    teacher = TeacherCodec(context_of(told.world, 0))
    files = teacher.encode(replace(result.teacher, draws=draws), SPENT)
    found = [d for own in teacher.decode(files).draws.values() for d in own]
    assert {(d.draw.finish, d.draw.cached) for d in found} == {("length", True)}
    assert {r["cached"] for r in rows_of(files, "teacher_draws")} == {True}


def test_group_rows_say_what_was_asked_and_rollout_rows_what_came(told) -> None:
    result = told.results[-1]
    asks = {a.uid(result.step): a for a in result.asks}
    codec = GroupsCodec(context_of(told.world, result.step), "augmented", asks)
    files = codec.encode(result.augmented, SPENT)
    rows, rollouts = rows_of(files, "groups"), rows_of(files, "rollouts")
    assert len(rows) == len(result.augmented) > 1
    for row, group, ask in zip(rows, result.augmented, result.asks, strict=True):
        question = told.world.corpus[group.question_id]
        expected = {
            "run_key": "run-a",
            "step": result.step,
            "uid": group.uid,
            "kind": group.kind,
            "question_id": question.id,
            "family": question.family,
            "category": question.category or None,
            "gold": question.gold,
            "prompt_text": group.prompt.text,
            "prompt_digest": group.prompt.digest(),
            "prompt_tokens": len(group.prompt.text),
            "accuracy": group.accuracy,
            "right_first": ask.right_first,
        }
        assert {k: row[k] for k in expected} == expected
        assert row["positive_answer"] == (ask.positive.answer if ask.positive else None)
        assert row["negative_answers"] == [n.answer for n in ask.negatives if n.answer is not None]
        for text in row["candidate_texts"]:
            assert text in group.prompt.text
        places = [group.prompt.text.index(text) for text in row["candidate_texts"]]
        assert places == sorted(places)  # as they stand in the prompt
    flat = [(g, i) for g in result.augmented for i in range(len(g.completions))]
    for row, (group, i) in zip(rollouts, flat, strict=True):
        completion, grade = group.completions[i], group.grades[i]
        logp = row.pop("logp")
        np.testing.assert_allclose(logp, completion.logp_T)
        assert row == {
            "run_key": "run-a",
            "step": result.step,
            "uid": group.uid,
            "member": i,
            "text": completion.text,
            "token_ids": completion.token_ids_T.tolist(),
            "reward": grade.reward,
            "outcome": grade.outcome,
            "answer": grade.answer,
            "finish": completion.finish,
            "forced": completion.forced,
            "version": completion.version,
        }
    (phase,) = rows_of(files, "phases")
    assert {
        k: phase[k]
        for k in (
            "run_key",
            "step",
            "phase",
            "seconds",
            "model_seconds",
            "student_seconds",
            "teacher_seconds",
            "learner_seconds",
        )
    } == {
        "run_key": "run-a",
        "step": result.step,
        "phase": "augmented",
        "seconds": 5.0,
        "model_seconds": 4.0,
        "student_seconds": 3.0,
        "teacher_seconds": 2.0,
        "learner_seconds": 1.0,
    }


def test_plain_groups_have_no_candidates(told) -> None:
    result = told.results[0]
    files = GroupsCodec(context_of(told.world, 0), "plain").encode(result.plain, SPENT)
    for row in rows_of(files, "groups"):
        for name in ("right_first", "positive_answer", "negative_answers", "candidate_texts"):
            assert row[name] is None


def test_teacher_rollouts_and_the_plan_come_back_as_they_were(told) -> None:
    for result in told.results:
        codec = TeacherCodec(context_of(told.world, result.step))
        files = codec.encode(result.teacher, SPENT)
        found = codec.decode(files)
        assert found.plan == result.teacher.plan
        assert list(found.draws) == list(result.teacher.draws)
        for question, own in result.teacher.draws.items():
            for mine, theirs in zip(found.draws[question], own, strict=True):
                for name in ("question_id", "visit", "index", "grade"):
                    assert getattr(mine, name) == getattr(theirs, name)
                for name in ("text", "finish", "cached"):
                    assert getattr(mine.draw, name) == getattr(theirs.draw, name)
                np.testing.assert_array_equal(mine.draw.token_ids_T, theirs.draw.token_ids_T)
        flat = [d for own in result.teacher.draws.values() for d in own]
        rows = rows_of(files, "teacher_draws")
        for row, d in zip(rows, flat, strict=True):
            expected = {
                "run_key": "run-a",
                "step": result.step,
                "question_id": d.question_id,
                "visit": d.visit,
                "draw": d.index,
                "purpose": "draw",
                "text": d.draw.text,
                "tokens": len(d.draw.token_ids_T),
                "reward": d.grade.reward,
                "outcome": d.grade.outcome,
                "answer": d.grade.answer,
                "cached": d.draw.cached,
                "fallback": False,
                "attempts": 1,
            }
            assert {k: row[k] for k in expected} == expected
    assert max(d.visit for r in told.results for own in r.teacher.draws.values() for d in own) > 0


def test_reformulated_prompts_come_back_as_they_were(told) -> None:
    kinds = set()
    for result in told.results:
        codec = AsksCodec(context_of(told.world, result.step))
        files = codec.encode(result.asks, SPENT)
        assert tuple(codec.decode(files)) == result.asks
        kinds |= {a.kind for a in result.asks}
        shown = [
            (a, c)
            for a in result.asks
            for c in ([a.positive] if a.positive else []) + list(a.negatives)
        ]
        rows = rows_of(files, "teacher_draws")
        counts: dict[str, int] = {}
        for row, (ask, c) in zip(rows, shown, strict=True):
            draw = counts.setdefault(ask.question_id, 0)
            counts[ask.question_id] += 1
            expected = {
                "question_id": ask.question_id,
                "visit": 0,
                "draw": draw,
                "text": c.text,
                "purpose": "hint" if ask.kind == "hint" else "compress",
                "tokens": c.tokens,
                "answer": c.answer,
                "cached": False,
                "fallback": c.fallback,
                "attempts": c.attempts,
            }
            assert {k: row[k] for k in expected} == expected
    assert kinds == set(METHODS[told.world.config.run.method].reformulations)


def test_how_a_candidate_came_about_is_recorded(told) -> None:
    made = Compressed("text", "1", True, 3, 17, 16)
    asks = [replace(a, positive=made, negatives=()) for a in told.results[0].asks]
    assert asks
    codec = AsksCodec(context_of(told.world, 0))
    files = codec.encode(asks, SPENT)
    assert codec.decode(files) == asks
    for row in rows_of(files, "teacher_draws"):
        assert (row["fallback"], row["attempts"], row["tokens"]) == (True, 3, 17)
        assert not row["cached"]  # one token of it is new
    asks = [replace(a, positive=replace(made, recalled=17), negatives=()) for a in asks]
    assert {r["cached"] for r in rows_of(codec.encode(asks, SPENT), "teacher_draws")} == {True}


def test_candidates_are_named_in_the_order_of_the_prompt(told) -> None:
    for ask in (a for r in told.results for a in r.asks if a.kind == "bcq"):
        shown = candidate_columns(ask)["candidate_texts"]
        pair = [ask.positive.text, ask.negatives[0].text]
        assert shown == (pair if ask.right_first else pair[::-1])


def files_of(told, result: StepResult) -> dict[str, bytes]:
    return step_files(context_of(told.world, result.step), result, 0.5, SPENT, SYNC)


def test_a_step_counts_its_prompts_and_what_was_hard(told) -> None:
    for result in told.results:
        (row,) = rows_of(files_of(told, result), "steps")
        hard = [g for g in result.plain if np.mean(g.rewards_G) < 0.5]
        right = [
            g
            for g in hard
            if any(d.grade.reward for d in result.teacher.draws.get(g.question_id, ()))
        ]
        kinds = [kind for _, kind in result.teacher.plan]
        assert row == {
            "run_key": "run-a",
            "step": result.step,
            "new_prompts": sum(g.kind == "plain" for g in result.plain),
            "replay_prompts": sum(g.kind == "replay" for g in result.plain),
            "hard": len(hard),
            "hard_in_buffer": sum(g.kind == "replay" for g in hard),
            "eligible_bcq": len(right),
            "eligible_ncq": len(hard),
            **{f"used_{k}": kinds.count(k) for k in ("bcq", "ncq", "hint", "prefix")},
            "buffer_size": result.buffer_size,
            "mismatch_mean": result.update.mismatch_mean,
            "mismatch_max": result.update.mismatch_max,
            "weight_version": result.step,
        }
    assert any(g.kind == "replay" for r in told.results for g in r.plain)


def test_each_kind_of_a_step_has_its_own_row(told) -> None:
    for result in told.results:
        groups = [*result.plain, *result.augmented]
        rows = {r["kind"]: r for r in rows_of(files_of(told, result), "step_kinds")}
        assert set(rows) == {g.kind for g in groups}
        for kind, row in rows.items():
            own = [g for g in groups if g.kind == kind]
            advantages = [result.update.advantages[g.uid] for g in own]
            assert row == {
                "run_key": "run-a",
                "step": result.step,
                "kind": kind,
                "groups": len(own),
                "trivial": sum(len(set(g.rewards_G)) == 1 for g in own),
                "rollouts": 4 * len(own),
                "positive_advantage": int(sum((a > 0).sum() for a in advantages)),
                "accuracy": pytest.approx(np.mean([g.rewards_G for g in own])),
                "tokens": sum(len(c.token_ids_T) - c.forced for g in own for c in g.completions),
            }


def test_updates_and_advantages_are_written_by_value(told) -> None:
    result = told.results[1]
    update = replace(
        result.update,
        metrics=tuple(
            replace(METRICS, loss=0.1 * i, groups=3 + i, computed_tokens=9 + i, sent_bytes=70 + i)
            for i in range(2)
        ),
    )
    files = files_of(told, replace(result, update=update))
    for i, row in enumerate(rows_of(files, "updates")):
        expected = {
            "run_key": "run-a",
            "step": 1,
            "update_index": i,
            "loss": 0.1 * i,
            "grad_norm": 1.0,
            "entropy": 0.25,
            "clip_low_share": 0.1,
            "clip_high_share": 0.2,
            "dual_clip_share": 0.05,
            "ratio_mean": 1.0,
            "tokens": 8,
            "groups": 3 + i,
            "computed_tokens": 9 + i,
            "sent_bytes": 70 + i,
            "seconds": 2.0,
        }
        assert {k: row[k] for k in expected} == pytest.approx(expected)
    found = {(r["uid"], r["member"]): r["advantage"] for r in rows_of(files, "advantages")}
    assert found == {
        (uid, i): float(a) for uid, own in update.advantages.items() for i, a in enumerate(own)
    }
    (phase,) = rows_of(files, "phases")
    assert (phase["phase"], phase["seconds"]) == ("update", 5.0)
    assert (phase["sync_seconds"], phase["sync_bytes"]) == (0.5, 7)


def test_events_of_the_buffer_are_written_with_their_admission(told) -> None:
    for result in told.results:
        replayed = {g.question_id for g in result.plain if g.kind == "replay"}
        for row, e in zip(
            rows_of(files_of(told, result), "buffer_events"), result.events, strict=True
        ):
            assert row == {
                "run_key": "run-a",
                "step": result.step,
                "question_id": e.question_id,
                "event": e.kind,
                "accuracy": None if np.isnan(e.accuracy) else e.accuracy,
                "entry_accuracy": e.entry_accuracy,
                "entry_step": e.entry_step,
                "visits": e.visits,
                "replayed": e.question_id in replayed,
            }
    unasked = BufferEvent("evict", "q1", 0, float("nan"), 0.25, 0, 0)
    (row,) = rows_of(files_of(told, replace(told.results[0], events=(unasked,))), "buffer_events")
    assert (row["accuracy"], row["entry_accuracy"]) == (None, 0.25)
