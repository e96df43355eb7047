"""The `epoch` step: some rollout steps with the engines kept alive, each phase committed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from steps.cards.epoch import EpochCard
from zppo_core.algorithm.rollout_step import NotFiniteError, rollout_step
from zppo_core.algorithm.step_types import StepResult
from zppo_core.config import Config
from zppo_core.config.methods import METHODS
from zppo_core.errors import UserError
from zppo_core.protocols import Progress
from zppo_core.records.codecs import (
    AsksCodec,
    GroupsCodec,
    RecordContext,
    TeacherCodec,
    step_files,
)
from zppo_core.records.phases import Codec, PhaseRecorder, step_unit
from zppo_core.run.changes import (
    began_with,
    changes,
    next_change,
    next_update,
    pending_changes,
    record_changes,
    settings_at,
    way_on,
)
from zppo_core.run.preflight import check_machine
from zppo_core.run.record import record_run
from zppo_core.run.resume import checkpoint, restore, same_beginning
from zppo_core.run.session import World, build_world
from zppo_core.run.setup import Setup, config_of, prefix_of
from zppo_core.run.timing import record_stage
from zppo_core.store.checkpoint import latest_checkpoint
from zppo_core.store.journal import Journal
from zppo_core.store.lock import RunLock
from zppo_core.store.objects import open_store

HEARTBEAT = 5.0  # seconds between lines of a phase that takes long
After = Callable[[int, str], None]


def epoch(setup: Setup, steps_done: int, card: Any = None,
          after: After = lambda step, phase: None, rendezvous: str = "",
          fresh: bool = True) -> int:  # fmt: skip
    """Advance the run from `steps_done` by at most `run.steps_per_task`; the new count.

    A task that died goes on from the last checkpoint; phases that were committed since are read
    back, not computed again. `after` is told of each commit (the kill tests use it).
    `rendezvous` is where the hosts meet, if the configuration leaves that to flows/hosts_flow.py,
    where one process has many epochs: only the first is `fresh`, and counts the process's start.
    """
    began = time.monotonic()
    config, store, prefix = config_of(setup), open_store(setup["store"]), prefix_of(setup)
    if config.compute.rendezvous == "auto":
        if not rendezvous:
            return trained_elsewhere(setup)
        config = replace(config, compute=replace(config.compute, rendezvous=rendezvous))
    check_machine(config)
    target = min(steps_done + config.run.steps_per_task, setup["rollout_steps"])
    total, every = setup["rollout_steps"], config.store.checkpoint_every
    with RunLock(store, prefix):
        journal = Journal(store, f"{prefix}/journal")
        found = latest_checkpoint(store, prefix)
        settings = settle(setup, config, journal, 0 if found is None else found.step)
        if settings.until is not None:  # the next task goes on with others, from a checkpoint there
            target = min(target, settings.until)
        if settings.config != config:
            check_machine(config := settings.config)
        heartbeat = Heartbeat()
        world = build_world(config, open_store(setup["cache"]), heartbeat.progress)
        try:
            print(f"trainer: {world.trainer.mode} ({world.trainer.mode_reason})", flush=True)
            same_beginning(world, store, prefix, journal)
            restore(world, found)
            if settings.changed:  # a new try has all its mini-batches before it
                world.state.skipped = 0
            record_run(setup, journal, world.model, world.teacher)
            title = f"{config.run.method}, seed {config.run.seed}, scale {config.scale}"
            board = EpochCard(card, world.corpus, setup["rollout_steps"], title)
            heartbeat.board = board
            while world.state.step < target:
                if crossing := new_pass(world):
                    print(crossing, flush=True)
                result, seconds = one_step(world, journal, setup, after)
                board.finished(result, seconds)
                print(summary_line(result, total, sum(seconds.values())), flush=True)
                if world.state.step % every == 0 or world.state.step == target:
                    checkpoint(world, store, prefix)
                    after(result.step, "checkpoint")
        finally:
            world.close()
        judge = getattr(world.roles.grading, "judge", None)
        if judge is not None and judge.malformed:
            print(f"judge: {judge.malformed} malformed verdicts, graded wrong", flush=True)
        own = None if fresh else time.monotonic() - began
        record_stage(setup, f"epoch/{steps_done}", world.clock.model_seconds, seconds=own)
        return max(target, min(world.state.step, setup["rollout_steps"]))


class Settings(NamedTuple):
    """What a task trains with: up to rollout step `until`, if the settings change there.

    `changed`: they changed at the very step at which the task begins.
    """

    config: Config
    until: int | None = None
    changed: bool = False


def settle(setup: Setup, config: Config, journal: Journal, step: int) -> Settings:
    """The run's settings at rollout step `step`; what `setup` changes is written down first.

    For the holder of the run's lock.
    """
    first = began_with(journal)
    if first is None:
        return Settings(config)
    pending = pending_changes(
        setup.get("changes", {}), settings_at(config, first, changes(journal))
    )
    if pending:
        since = next_update(journal, step)
        if since < setup["rollout_steps"]:
            record_changes(journal, setup["run_key"], pending, since)
        else:
            print("all rollout steps are taken: settings stay what they were", flush=True)
    made = changes(journal)
    changed = any(change.step == step for change in made)
    return Settings(settings_at(config, first, made, step), next_change(made, step), changed)


def new_pass(world: World) -> str:
    """What is said where a pass over the corpus that is not the first begins; else empty."""
    per_pass = world.corpus.steps_per_pass(world.config.rollout.new_prompts)
    passes, position = divmod(world.state.step, per_pass)
    if position or not passes:
        return ""
    return (
        f"pass {passes + 1} over the corpus begins at rollout step {world.state.step + 1}: its "
        "questions were asked before"
    )


def trained_elsewhere(setup: Setup) -> int:
    """The steps that flows/hosts_flow.py took; UserError if it is not done."""
    found = latest_checkpoint(open_store(setup["store"]), prefix_of(setup))
    if found is None or found.step < setup["rollout_steps"]:
        raise UserError(
            "several hosts train by flows/hosts_flow.py; run it with this --name first, or start "
            "the others by hand with --set compute.rendezvous=HOST:29500"
        )
    return found.step


def one_step(world: World, journal: Journal, setup: Setup,
             after: After) -> tuple[StepResult, dict[str, float]]:  # fmt: skip
    """One rollout step: phases through the journal, then the step's own tables."""
    config, step = world.config, world.state.step
    context = RecordContext(
        setup["run_key"], step, world.corpus, config.student.thinking, world.renderer.length,
        world.model.num_parameters(), world.teacher_params, config.rollout.max_tokens,
        METHODS[config.run.method].loss, config.data.max_prompt_tokens,
        config.reformulation.candidate_tokens,
    )  # fmt: skip
    asks_by_uid: dict[str, Any] = {}
    asks = AsksCodec(context)
    codecs: dict[str, Codec] = {
        "plain": GroupsCodec(context, "plain"),
        "teacher": TeacherCodec(context),
        "reformulate": asks,
        "augmented": GroupsCodec(context, "augmented", asks_by_uid),
    }
    seconds: dict[str, float] = {}
    last = world.clock.now()

    def committed(phase: str) -> None:
        after(step, phase)

    recorder = PhaseRecorder(journal, step, codecs, world.clock, committed)

    def record(phase: str, compute: Callable[[], Any]) -> Any:
        nonlocal last
        value = recorder(phase, compute)
        if phase == "reformulate":
            asks_by_uid.update({a.uid(step): a for a in value})
        now = world.clock.now()
        seconds[phase], last = now.seconds - last.seconds, now
        return value

    try:
        result = rollout_step(world.state, world.roles, world.corpus, config, record)
    except NotFiniteError as error:
        raise UserError(f"{error}; {way_on(config, setup['run_key'])}") from None
    if line := skipped_line(result):
        print(line, flush=True)
    sync = world.sync()
    spent = world.clock.now() - last
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


class Heartbeat:
    """Progress of long phases: a line every few seconds, and the card."""

    def __init__(self) -> None:
        self.board: EpochCard | None = None
        self._last = time.monotonic()

    def progress(self, phase: str) -> Progress:
        def report(done: int, total: int) -> None:
            now = time.monotonic()
            if now - self._last < HEARTBEAT:
                return
            self._last = now
            print(f"  {phase}: {done} of {total} prompts", flush=True)
            if self.board is not None:
                self.board.working(phase, done, total)

        return report


def summary_line(result: StepResult, total: int, seconds: float) -> str:
    """One line a step: a bar, the accuracies by kind, the buffer, the time."""
    done = result.step + 1
    filled = 20 * done // total
    groups = [*result.plain, *result.augmented]
    accuracy = []
    for kind in dict.fromkeys(g.kind for g in groups):
        own = [g.accuracy for g in groups if g.kind == kind]
        accuracy.append(f"{kind} {sum(own) / len(own):4.0%}")
    skipped = f"{sum(g.trivial for g in groups)}/{len(groups)} groups trivial"
    return (
        f"[{'#' * filled}{'.' * (20 - filled)}] step {done}/{total}  {'  '.join(accuracy)}  "
        f"buffer {result.buffer_size}  {skipped}  {seconds:.1f} s"
    )
