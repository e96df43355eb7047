"""The teacher's visit-0 draws, made beforehand up to a budget."""

from __future__ import annotations

from typing import Any

from zppo_core.algorithm.reformulation import share
from zppo_core.algorithm.rollout_step import teacher_request
from zppo_core.config.schema import method_of
from zppo_core.protocols import Sampling
from zppo_core.run.heartbeat import Heartbeat
from zppo_core.run.session import open_session
from zppo_core.run.spec import Run
from zppo_core.run.timing import record_stage, stopwatch


def draw_beforehand(run: Run, alone: bool = True) -> dict[str, Any]:
    """Draw visit 0 of `teacher.prefill` of the corpus, in the order it will be asked.

    Draws that exist cost nothing, so a step that died goes on where it was. Methods without a
    teacher skip it. `alone`: the process does nothing else, and its start counts as this stage's.
    """
    seconds = stopwatch(alone)
    config = run.config
    method = method_of(config)
    if not method.uses_teacher or config.teacher.prefill == 0:
        print("no teacher draws to make beforehand")
        return {"draws": 0, "hits": 0, "tokens": 0}
    session = open_session(config, run.cache, Heartbeat().progress)
    cache = session.roles.draws
    n = config.rollout.new_prompts
    steps = min(run.rollout_steps, session.corpus.steps_per_pass(n))
    order = [q for step in range(steps) for q in session.corpus.new_ids(step, n)]
    wanted = order[: share(config.teacher.prefill, len(order))]
    requests = [teacher_request(session.corpus[q], 0, session.roles, config) for q in wanted]
    sampling = Sampling(config.rollout.max_tokens, config.teacher.rollouts)
    try:
        for teacher in session.roles.teachers:
            cache.draws(requests, teacher, sampling, session.roles.progress("teacher draws"))
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
