"""A run's training: rollout steps with the engines kept alive, each phase committed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

from zppo_core.algorithm.rollout_step import rollout_step
from zppo_core.algorithm.step_types import StepResult
from zppo_core.algorithm.student_update import NotFiniteError
from zppo_core.config.schema import method_of
from zppo_core.errors import UserError
from zppo_core.processes.watchdog import HUNG, Watchdog
from zppo_core.records.codecs import AsksCodec, GroupsCodec, TeacherCodec
from zppo_core.records.context import RecordContext
from zppo_core.records.phases import Codec, PhaseJournal, PhaseRecorder, step_unit
from zppo_core.records.step_tables import step_files
from zppo_core.run.changes import settle, way_on
from zppo_core.run.heartbeat import Heartbeat, Listener
from zppo_core.run.preflight import check_machine
from zppo_core.run.record import record_run
from zppo_core.run.resume import checkpoint, restore, same_beginning
from zppo_core.run.session import Session, open_session
from zppo_core.run.spec import Run
from zppo_core.run.timing import record_stage
from zppo_core.run.trackers import Trackers
from zppo_core.store.checkpoint import latest_checkpoint
from zppo_core.store.lock import RunLock

After = Callable[[int, str], None]  # told of each commit: (rollout step, phase)
Listening = Callable[[Session], Listener]


def nobody(step: int, phase: str) -> None:
    """Told of a commit, does nothing."""


def advance(
    run: Run,
    steps_done: int,
    listening: Listening | None = None,
    after: After = nobody,
    fresh: bool = True,
) -> int:
    """Take the run from `steps_done` by at most `run.steps_per_task` rollout steps; the new count.

    A process that died goes on from the last checkpoint. Phases that were committed since are read
    back, not computed again. `listening` makes who hears of progress, `after` is told of each
    commit. Only the first call of a process is `fresh` and counts the process's start.
    """
    began = time.monotonic()
    config = run.config
    check_machine(config)
    target = min(steps_done + config.run.steps_per_task, run.rollout_steps)
    with RunLock(run.store, run.key), ExitStack() as keep:
        latest = latest_checkpoint(run.store, run.key)
        settings = settle(run, config, 0 if latest is None else latest.step)
        if settings.until is not None:  # the next task goes on with others, from a checkpoint there
            target = min(target, settings.until)
        if settings.config != config:
            check_machine(config := settings.config)
        heartbeat = Heartbeat()
        watchdog = keep.enter_context(Watchdog(config.compute.patience, HUNG))
        session = open_session(config, run.cache, heartbeat.progress, watchdog)
        try:
            print(f"trainer: {session.trainer.mode} ({session.trainer.mode_reason})", flush=True)
            same_beginning(session, run)
            restore(session, latest)
            if settings.changed:  # a new try has all its mini-batches before it
                session.state.skipped = 0
            record_run(run, session.model, session.teacher)
            listener = heartbeat.listener = listening(session) if listening else None
            trackers = keep.enter_context(closing(Trackers(run, config.run.trackers)))
            while session.state.step < target:
                if crossing := new_pass(session):
                    print(crossing, flush=True)
                more = session.state.step + 1 < run.rollout_steps
                result, seconds = one_step(session, run, after, begin_next=more)
                trackers.finished(result, seconds)
                if listener is not None:
                    listener.finished(result, seconds)
                print(summary_line(result, run.rollout_steps, sum(seconds.values())), flush=True)
                if session.state.step % config.store.checkpoint_every == 0 or (
                    session.state.step == target
                ):
                    checkpoint(session, run)
                    after(result.step, "checkpoint")
        finally:
            session.close()
        if malformed := session.roles.grading.malformed:
            print(f"judge: {malformed} malformed verdicts, graded wrong", flush=True)
        seconds_here = None if fresh else time.monotonic() - began
        record_stage(run, f"epoch/{steps_done}", session.clock.model_seconds, seconds=seconds_here)
        return max(target, min(session.state.step, run.rollout_steps))


def new_pass(session: Session) -> str:
    """What is said where a pass over the corpus that is not the first begins; else empty."""
    per_pass = session.corpus.steps_per_pass(session.config.rollout.new_prompts)
    passes, position = divmod(session.state.step, per_pass)
    if position or not passes:
        return ""
    return (
        f"pass {passes + 1} over the corpus begins at rollout step {session.state.step + 1}: its "
        "questions were asked before"
    )


def one_step(
    session: Session,
    run: Run,
    after: After = nobody,
    journal: PhaseJournal | None = None,
    begin_next: bool = True,
) -> tuple[StepResult, dict[str, float]]:
    """One rollout step: phases through the journal, then the step's own tables.

    `journal` stands in for the run's own, where a step is verified. With `compute.staleness` the
    next step's plain rollouts are begun, unless `begin_next` says that there is none.
    """
    config, step = session.config, session.state.step
    journal = run.journal if journal is None else journal
    context = RecordContext(
        run.key,
        step,
        session.corpus,
        config.student.thinking,
        session.renderer.length,
        session.model.num_parameters(),
        session.teacher_params,
        config.rollout.max_tokens,
        method_of(config).loss,
        config.data.max_prompt_tokens,
        config.reformulation.candidate_tokens,
    )
    asks_by_uid: dict[str, Any] = {}
    asks = AsksCodec(context)
    codecs: dict[str, Codec] = {
        "plain": GroupsCodec(context, "plain"),
        "teacher": TeacherCodec(context),
        "reformulate": asks,
        "augmented": GroupsCodec(context, "augmented", asks_by_uid),
    }
    seconds: dict[str, float] = {}
    last = session.clock.now()

    def committed(phase: str) -> None:
        after(step, phase)

    recorder = PhaseRecorder(journal, step, codecs, session.clock, committed)
    overlaps = session.roles.overlaps
    following = PhaseRecorder(
        journal,
        step + 1,
        {"plain": GroupsCodec(replace(context, step=step + 1), "plain")},
        None if overlaps else session.clock,
        lambda phase: after(step + 1, phase),
    )

    def record(phase: str, compute: Callable[[], Any], ahead: int = 0) -> Any:
        nonlocal last
        value = (following if ahead else recorder)(phase, compute)
        if ahead and overlaps:  # beside the update, in a thread of its own
            return value
        if phase == "reformulate":
            asks_by_uid.update({a.uid(step): a for a in value})
        now = session.clock.now()
        spent = recorder.replayed.get(phase, now.seconds - last.seconds)
        seconds[phase], last = seconds.get(phase, 0.0) + spent, now
        return value

    try:
        begin_next = begin_next and config.compute.staleness > 0
        result = rollout_step(
            session.state, session.roles, session.corpus, config, record, begin_next
        )
    except NotFiniteError as error:
        raise UserError(f"{error}; {way_on(config, run.key)}") from None
    if line := skipped_line(result):
        print(line, flush=True)
    sync = session.sync()
    spent = session.clock.now() - last
    seconds["update"] = spent.seconds
    unit = step_unit(step, "update")
    if journal.read(unit) is None:  # a replayed update has its tables already
        files = step_files(context, result, config.replay.threshold, spent, sync)
        journal.commit(unit, files)
        after(step, "update")
    return result, seconds


def skipped_line(result: StepResult) -> str:
    """What is said of a step whose gradient was not finite somewhere; else empty."""
    skipped = [m for m in result.update.metrics if m.skipped]
    if not skipped:
        return ""
    return (
        f"step {result.step + 1}: {len(skipped)} of {len(result.update.metrics)} mini-batches "
        f"skipped, their gradient is not finite (norm {skipped[-1].grad_norm}): no weight moved"
    )


def summary_line(result: StepResult, total: int, seconds: float) -> str:
    """One line a step: a bar, the accuracies by kind, the buffer, the time."""
    done = result.step + 1
    filled = 20 * done // total
    groups = [*result.plain, *result.augmented]
    accuracy = []
    for kind in dict.fromkeys(g.kind for g in groups):
        accuracies = [g.accuracy for g in groups if g.kind == kind]
        accuracy.append(f"{kind} {sum(accuracies) / len(accuracies):4.0%}")
    skipped = f"{sum(g.trivial for g in groups)}/{len(groups)} groups trivial"
    return (
        f"[{'#' * filled}{'.' * (20 - filled)}] step {done}/{total}  {'  '.join(accuracy)}  "
        f"buffer {result.buffer_size}  {skipped}  {seconds:.1f} s"
    )
