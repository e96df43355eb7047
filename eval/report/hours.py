"""How long a run or a sweep will take on this machine: measured parts, multiplied.

The parts are a task's start, and what the stages of a run take: a rollout step, a teacher's draw,
an evaluated answer. They are read from a run on record of the same configuration, or else from a
short trial in a folder of its own. Both are runs, so both are read by the same statements.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import duckdb

from eval import scores, suite
from eval.harness import expected_of
from eval.overlap import evaluation_signatures
from eval.report import database
from eval.report.connection import open_database, query
from eval.report.task_times import task_times
from zppo_core.algorithm.step_types import StepResult
from zppo_core.config import Config
from zppo_core.config.methods import find_method
from zppo_core.config.schema import method_of
from zppo_core.processes.machine import machine
from zppo_core.run import corpus
from zppo_core.run.draws import draw_beforehand
from zppo_core.run.heartbeat import Heartbeat
from zppo_core.run.loop import advance
from zppo_core.run.preflight import check_machine
from zppo_core.run.setup import open_run
from zppo_core.run.spec import Run

TRIAL_STEPS, TRIAL_SAMPLES, ROLES = 4, 100, 3
BUDGET = 30.0  # seconds after which the trial begins no further part
LIGHT = 4  # tasks without torch: start, plan_evaluation, aggregate, end
# what a run of before must have as it is wanted; the rest only says how often
SAME = ("student", "teacher", "rollout", "replay", "reformulation", "trainer", "compute")


@dataclass(frozen=True)
class Rates:
    """Seconds of each part on this machine; `how` they were measured."""

    how: str
    task: float  # a Metaflow task that does nothing
    start: float  # what a task with a model takes beside its stage: start, imports, card, end
    bare: float  # of it what a task has that opens no model: no imports of one
    card: float  # of it the filings of its card
    corpus: float
    draw: float  # a question's draws of the teacher, beforehand
    opening: float  # of models, for an epoch task
    marking: float  # of a benchmark: its models' opening, its questions, its grades
    steps: dict[str, float]  # a rollout step's phases
    answer: float  # one model's answer to a question of a benchmark

    @property
    def step(self) -> float:
        """A whole rollout step."""
        return sum(self.steps.values())


@dataclass(frozen=True)
class Forecast:
    """Seconds of a run by stage, on the clock."""

    stages: dict[str, float]

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(self.stages.values())


def forecast(config: Config, rates: Rates, workers: int, shared: bool = False) -> Forecast:
    """A run's seconds; `workers` tasks evaluate at once. `shared`: draws and scores are there."""
    r, evaluation = config.rollout, config.evaluation
    steps = config.run.rollout_steps
    questions = steps * r.new_prompts
    if config.data.train_questions:
        questions = min(questions, config.data.train_questions)
    asks_teacher = method_of(config).uses_teacher and not shared
    draws = math.floor(config.teacher.prefill * questions) if asks_teacher else 0
    looks = method_of(config).uses_teacher and config.teacher.prefill > 0
    asking = rates.start + rates.opening if looks else rates.bare
    tasks = math.ceil(steps / config.run.steps_per_task)
    names = suite.benchmarks(evaluation.suite)
    asked = sum(expected_of(b, evaluation.limit) for b in names)
    parts = sum(math.ceil(expected_of(b, evaluation.limit) / evaluation.shard) or 1 for b in names)
    models = 1 if shared else ROLES
    shares = min(evaluation.tasks or parts, parts)  # tasks, each with some of the parts
    at_once = max(min(workers, shares), 1)
    # what a part takes beside its answers: questions and grades count like one model's opening
    marking = rates.marking * (1 + models) / (1 + ROLES)
    each = shares * rates.start + parts * marking + asked * models * rates.answer
    return Forecast(
        {
            "tasks without a model": LIGHT * rates.task + rates.card,
            "prepare_data": rates.bare + rates.corpus,
            "cache_teacher": asking + draws * rates.draw,
            "epoch": tasks * (rates.start + rates.opening) + steps * step_of(config, rates),
            "evaluate": each / at_once,
        }
    )


def step_of(config: Config, rates: Rates) -> float:
    """A rollout step of the method: phases that it has, and the update by its groups."""
    method, p = method_of(config), rates.steps
    replayed, extra = config.replay.ratio, config.reformulation.ratio
    plain = (1 + replayed * method.replay) / (1 + replayed)
    second = bool(method.reformulations)
    groups = (1 + replayed * method.replay + extra * second) / (1 + replayed + extra)
    parts = {"plain": plain, "teacher": second, "reformulate": second, "augmented": second}
    return sum(s * float(parts.get(name, groups)) for name, s in p.items())


def calibrated(config: Config) -> Rates:
    """The rates of the latest run of such a configuration in its database, or of a trial."""
    path = Path(config.store.database)
    key = ""
    if path.is_file():
        with open_database(str(path)) as connection:
            key = like(connection, config)
    if not key:
        return measured(config)
    times = task_times()
    with open_database(str(path)) as connection:
        rates = rates_of(connection, key)
    # a stage's seconds begin with its process
    rates = replace(rates, how=f"run {key}", task=times.task, card=times.card)
    return replace(rates, start=times.outside, bare=times.outside)


def like(connection: duckdb.DuckDBPyConnection, config: Config) -> str:
    """The latest finished run on this machine of the same models and sizes; "" if none is there.

    One that drew from its teacher before one that found the draws of others.
    """
    sections = json.loads(config.to_json())
    for key, text, steps in query(
        connection,
        "SELECT run_key, config_json, (SELECT count(*) FROM steps s WHERE s.run_key = r.run_key)"
        " FROM runs r WHERE machine = ? AND method = ? AND EXISTS (SELECT 1 FROM eval_samples e"
        " WHERE e.run_key = r.run_key) ORDER BY EXISTS (SELECT 1 FROM costs c"
        " WHERE c.run_key = r.run_key AND step = -1 AND seconds > 0) DESC, created_at DESC",
        [machine(), method_of(config).name],
    ):
        recorded = json.loads(text)
        updates = recorded["optimizer"]["updates"] == config.optimizer.updates
        if steps > 1 and updates and all(recorded.get(name) == sections[name] for name in SAME):
            return str(key)
    return ""


def measured(config: Config) -> Rates:
    """The rates by a short trial, in a folder that is deleted."""
    check_machine(config)
    times = task_times()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        run = trial(config, Path(folder))
        with open_database(run.database) as connection:
            bare = times.task + times.card + times.ending
            rates = replace(rates_of(connection, run.key), task=times.task, card=times.card)
            return replace(rates, start=bare + times.imports, bare=bare)


@dataclass(frozen=True)
class Ingesting:
    """What an epoch task does beside its steps: it takes what they recorded into the database."""

    run: Run
    beside: ThreadPoolExecutor

    def working(self, phase: str, done: int, total: int) -> None:
        """Nothing to do."""

    def finished(self, result: StepResult, seconds: dict[str, float]) -> None:
        """Take the step in while the next one computes."""
        self.beside.submit(database.ingest_new, self.run.journal, self.run.key, self.run.database)


def trial(config: Config, folder: Path) -> Run:
    """A short run of the configuration below `folder`, in its database."""
    began = time.monotonic()
    small = replace(
        config,
        run=replace(config.run, rollout_steps=TRIAL_STEPS, steps_per_task=2, trackers=()),
        evaluation=replace(
            config.evaluation, limit=min(config.evaluation.limit or TRIAL_SAMPLES, TRIAL_SAMPLES)
        ),
        store=replace(
            config.store, root=str(folder / "runs"), cache="", database=str(folder / "d.duckdb")
        ),
    )
    run = open_run(small, "trial")
    corpus.prepare(run, evaluation_signatures(small), Heartbeat().progress("corpus"), False)
    run = corpus.settled(run)
    draw_beforehand(run, alone=False)
    done = 0
    while done < TRIAL_STEPS and (done == 0 or time.monotonic() - began < BUDGET):
        with ThreadPoolExecutor(1) as beside:
            done = advance(run, done, lambda _: Ingesting(run, beside), fresh=False)
    run = run.with_steps(done)
    items = [item for share in scores.plan(run) for item in share]
    for item in (items[0], *items[-1:]) if len(items) > 1 else items:
        scores.evaluate(run, [item], alone=False)
        if time.monotonic() - began > BUDGET:
            break
    database.ingest(run.journal, run.key, run.database)
    return run


def rates_of(connection: duckdb.DuckDBPyConnection, run: str) -> Rates:
    """What a run in the database took, part by part; a task's start is not in it."""

    def one(statement: str) -> float:
        ((value,),) = query(connection, f"SELECT coalesce(({statement}), 0)", [run])
        return float(value)

    phases = "FROM phases WHERE run_key = ? AND phase NOT LIKE '%/%' AND step >= "
    count = one("SELECT count(DISTINCT step) FROM steps WHERE run_key = ?")
    first = 1 if count > 1 else 0  # the first step has no replayed questions yet
    spent = f"SELECT phase, sum(seconds) / count(DISTINCT step) {phases} {first} GROUP BY phase"
    stage = "SELECT sum(seconds) FROM phases WHERE step = -1 AND run_key = ? AND phase"
    stages = "SELECT count(*) FROM phases WHERE step = -1 AND run_key = ? AND phase LIKE"
    opening = one(f"{stage} LIKE 'epoch/%'") - one(f"SELECT sum(seconds) {phases} 0")
    opening /= max(one(f"{stages} 'epoch/%'"), 1)
    drawn = one("SELECT sum(seconds) FROM costs WHERE step = -1 AND run_key = ?")
    questions = one("SELECT sum(new_prompts) FROM steps WHERE run_key = ?")
    answers = one("SELECT count(*) FROM eval_samples WHERE run_key = ?")
    answering = one("SELECT sum(seconds) FROM eval_samples WHERE run_key = ?")
    by_role = query(
        connection,
        "SELECT sum(seconds) FROM eval_samples WHERE run_key = ? AND role <> 'student' "
        "GROUP BY role",
        [run],
    )
    whole = one(f"{stage} LIKE 'evaluate/%'")
    marking = whole - answered_here(whole, answering, [seconds for (seconds,) in by_role])
    marked = one("SELECT count(DISTINCT benchmark) FROM eval_scores WHERE run_key = ?")
    return Rates(
        how="a trial",
        task=0.0,
        start=0.0,
        bare=0.0,
        card=0.0,
        corpus=one(f"{stage} = 'prepare_data'"),
        draw=drawn / questions if questions else 0.0,
        opening=max(opening, 0.0),
        marking=max(marking, 0.0) / max(marked, 1),
        steps={str(phase): float(seconds) for phase, seconds in query(connection, spent, [run])},
        answer=answering / max(answers, 1),
    )


def answered_here(whole: float, answering: float, others: Sequence[float]) -> float:
    """Of the seconds of all answers those of this run: base and teacher may be another's [s].

    The most that goes into the `whole` of the stage; the student's are always this run's.
    """
    sums = [
        answering - sum(left) for n in range(len(others) + 1) for left in combinations(others, n)
    ]
    return max((s for s in sums if s <= whole), default=min(sums))


def sweep_forecast(members: Sequence[Config], rates: Rates, at_once: int = 1) -> float:
    """Seconds of a sweep, one member after another; the first draws and scores for the rest.

    Members run their tasks one at a time, and `at_once` members side by side.
    """
    total = sum(
        forecast(config, rates, 1, shared=i > 0).seconds + 2 * rates.task
        for i, config in enumerate(members)
    )
    return total / at_once + LIGHT * rates.task


def told(config: Config, workers: int, methods: str = "", seeds: str = "") -> list[str]:
    """The forecast as comments of TOML, with the way it was calibrated.

    `methods` and `seeds` are those of a sweep, with commas; UserError on a name that is none.
    """
    chosen = [find_method(m.strip()).name for m in methods.split(",") if m.strip()]
    count = len([s for s in seeds.split(",") if s.strip()]) or 1
    load_before, began = os.getloadavg()[0], time.monotonic()
    rates = calibrated(config)
    took = time.monotonic() - began
    rows = [f"calibrated by {rates.how} in {took:.0f} s, load {load_before:.1f}"]
    if chosen or count > 1:
        run = config.run
        members = [
            replace(config, run=replace(run, method=m))
            for _ in range(count)
            for m in chosen or [run.method]
        ]
        rows.append(f"the sweep of {len(members)} runs: {spell(sweep_forecast(members, rates))}")
        return [f"# {row}" for row in rows]
    whole = forecast(config, rates, workers)
    rows.append(f"the run: {spell(whole.seconds)}")
    rows += [f"{name}: {spell(seconds)}" for name, seconds in whole.stages.items()]
    rows.append(f"a rollout step: {step_of(config, rates):.1f} s")
    return [f"# {row}" for row in rows]


def spell(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
