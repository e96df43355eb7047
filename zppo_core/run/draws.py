"""The teacher's visit-0 draws, made beforehand up to a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zppo_core.algorithm.reformulation import floor_fraction
from zppo_core.algorithm.rollouts import teacher_request
from zppo_core.config.schema import method_of
from zppo_core.protocols import Sampling
from zppo_core.run.heartbeat import Heartbeat
from zppo_core.run.session import Session, open_session
from zppo_core.run.spec import Run
from zppo_core.run.timing import record_stage, stopwatch
from zppo_core.store.teacher_cache import Draw
from zppo_core.types import Grade, Question

GRADED = 128  # questions whose draws are graded for those who look on
SHOWN = 6  # of them, with their texts


@dataclass(frozen=True, eq=False)
class Sampled:
    """A question and what the teacher wrote, each text with its grade."""

    question: Question
    draws: tuple[tuple[str, Grade], ...]


@dataclass(frozen=True, eq=False)
class Seen:
    """What the draws came to: counts of draws and tokens, and how often a sample of them is right.

    `graded` draws of questions that a rule grades have the mean reward `accuracy` [fraction].
    """

    questions: int
    hits: int
    misses: int
    tokens: int
    graded: int
    accuracy: float
    shown: tuple[Sampled, ...]


def unseen(seen: Seen) -> None:
    """Looks at nothing."""


def draw_beforehand(
    run: Run,
    alone: bool = True,
    heartbeat: Heartbeat | None = None,
    look: Callable[[Seen], None] = unseen,
) -> dict[str, Any]:
    """Draw visit 0 of `teacher.prefill` of the corpus, in the order it will be asked.

    Draws that exist cost nothing, so a step that died goes on where it was. Methods without a
    teacher skip it. `alone`: the process does nothing else, and its start counts as this stage's.
    `heartbeat` hears of progress, `look` is given a sample of the draws in the end.
    """
    seconds = stopwatch(alone)
    config = run.config
    method = method_of(config)
    if not method.uses_teacher or config.teacher.prefill == 0:
        print("no teacher draws to make beforehand")
        return {"draws": 0, "hits": 0, "tokens": 0}
    session = open_session(config, run.cache, (heartbeat or Heartbeat()).progress)
    cache = session.roles.draws
    n = config.rollout.new_prompts
    steps = min(run.rollout_steps, session.corpus.steps_per_pass(n))
    order = [q for step in range(steps) for q in session.corpus.new_ids(step, n)]
    chosen = order[: floor_fraction(config.teacher.prefill, len(order))]
    requests = [teacher_request(session.corpus[q], 0, session.roles, config) for q in chosen]
    sampling = Sampling(config.rollout.max_tokens, config.teacher.rollouts)
    rounds: list[tuple[Draw, ...]] = []
    try:
        for teacher in session.roles.teachers:
            progress = session.roles.progress("teacher draws")
            drawn = cache.draws(requests, teacher, sampling, progress)
            rounds = rounds or drawn
        if look is not unseen:
            look(sampled(session, chosen, rounds))
    finally:
        session.close()
    stats = cache.counters
    print(f"teacher draws: {stats.hits} found, {stats.misses} made, {stats.tokens} tokens")
    spent = {
        "role": "teacher",
        "activity": "generate",
        "model_params": session.teacher_params,
        # in the paper's account a draw belongs to the step that uses it
        "tokens": stats.tokens,
        "tokens_cap": 0,
        "seconds": session.clock.model_seconds,
    }
    costs = [spent] if stats.misses else ()
    record_stage(run, "cache_teacher", session.clock.model_seconds, costs, seconds())
    return {"draws": stats.misses, "hits": stats.hits, "tokens": stats.tokens}


def sampled(session: Session, chosen: Sequence[str], rounds: Sequence[tuple[Draw, ...]]) -> Seen:
    """The counts of the draws, and grades of some questions' that a rule decides."""
    stats = session.roles.draws.counters
    asked = [(session.corpus[q], draws) for q, draws in zip(chosen, rounds, strict=True)]
    by_rule = [(q, draws) for q, draws in asked if not q.judged][:GRADED]
    grades = session.roles.grading.grade_all([(q, d.text) for q, draws in by_rule for d in draws])
    left = iter(grades)
    graded = [Sampled(q, tuple((d.text, next(left)) for d in draws)) for q, draws in by_rule]
    accuracy = sum(g.reward for g in grades) / len(grades) if grades else 0.0
    return Seen(
        len(chosen),
        stats.hits,
        stats.misses,
        stats.tokens,
        len(grades),
        accuracy,
        tuple(graded[:SHOWN]),
    )
