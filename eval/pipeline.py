"""The whole pipeline in one process, without Metaflow: `zppo_core.train`.

Data, teacher draws, rollout steps, evaluation, database: the stages of `flows/zppo_flow.py` in the
same order, through the same functions. A run that was killed goes on when it is called again with
its `name`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from eval import scores
from eval.overlap import evaluation_signatures
from eval.preflight import check
from eval.report import database, tables
from eval.report.connection import open_database
from eval.report.rows import Summary
from zppo_core.config import Config, from_dict, load
from zppo_core.data.own import Frame, Rows, table_of
from zppo_core.errors import UserError
from zppo_core.models.weights import folder_hash
from zppo_core.processes.startup import prepare_threads
from zppo_core.run import corpus, sharing
from zppo_core.run.draws import draw_beforehand
from zppo_core.run.heartbeat import Heartbeat
from zppo_core.run.loop import Listening, advance
from zppo_core.run.preflight import check_stores
from zppo_core.run.setup import open_run, sweep_stores
from zppo_core.run.spec import Run
from zppo_core.store.checkpoint import Checkpoint, latest_checkpoint
from zppo_core.types import Grade, Question

Reward = str | Callable[[Question, str], Grade]
Questions = str | Path | Rows | Frame


@dataclass(frozen=True)
class Trained:
    """What a run came to: its summary, and where everything is."""

    run: Run
    summary: Summary

    @property
    def accuracy(self) -> dict[str, dict[str, float | None]]:
        """Percent by family of benchmarks: base, student, gain, teacher; None if not measured."""
        return {
            row["family"]: {
                "base": row["base"],
                "student": row["student"],
                "gain": row["gain"],
                "teacher": row["teacher"],
            }
            for row in self.summary["accuracy"]
        }

    @property
    def checkpoint(self) -> str:
        """The trained student, a Hugging Face folder in the run's store."""
        return f"{self.run.store_url}/{self._latest().prefix}/student"

    @property
    def weight_hash(self) -> str:
        """SHA-256 of the trained student's weights: on a CPU the same seed gives the same."""
        with tempfile.TemporaryDirectory() as folder:
            self._latest().fetch(folder, "student")
            return folder_hash(Path(folder))

    def _latest(self) -> Checkpoint:
        latest = latest_checkpoint(self.run.store, self.run.key)
        if latest is None:
            raise UserError(f"no checkpoint in {self.run.store_url}/{self.run.key}; train the run")
        return latest

    def connect(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """The result database, open for reading, as a context."""
        return open_database(self.run.database)


def train(
    config: Config | str = "nano",
    questions: Questions | None = None,
    reward: Reward | None = None,
    student: str = "",
    teacher: str = "",
    name: str = "",
    listening: Listening | None = None,
) -> Trained:
    """Train, evaluate, and file a run; returns its scores and where everything lies.

    `config` is a configuration or the name of a preset. `questions` are rows with at least
    "question" and "answer" (a list, `datasets.Dataset`, pandas frame), or a path or hub id.
    `reward` is a function of (Question, response) that gives a Grade, importable by its name, or
    that name ("package.module:function"). `student` and `teacher` are folders or hub ids; a teacher
    may be an address, http://host:8000/v1#model. With a `name` the run goes on where it was.
    UserError on the first fault, before anything is spent.
    """
    prepare_threads()
    config = load(config) if isinstance(config, str) else config
    config = given(config, questions, reward, student, teacher)
    check(config)
    run = open_run(config, datetime.now(UTC).strftime("%Y%m%d%H%M%S%f"), name)
    check_stores(run)
    corpus.prepare(run, evaluation_signatures(config), Heartbeat().progress("corpus"), False)
    run = corpus.settled(run)
    draw_beforehand(run, alone=False)
    done = 0
    while done < run.rollout_steps:
        done = advance(run, done, listening, fresh=False)
    evaluate(run)
    scores.conclude(run)
    sweep_stores(run)
    database.ingest(run.journal, run.key, run.database)
    return Trained(run, tables.summary(run.database, run.key))


def evaluate(run: Run) -> None:
    """Score the run's models on every share of the suite, as many at a time as it has workers.

    A share is one process's with one thread, here as in a flow: the scores are the same.
    """
    shares = scores.plan(run)
    crew = sharing.crew_for(
        run.config, {"evaluate": lambda share: len(scores.evaluate(run, share, alone=False))}
    )
    if crew is None:
        for share in shares:
            scores.evaluate(run, share, alone=False)
        return
    try:
        for _ in crew.perform("evaluate", [(share,) for share in shares]):
            pass
    finally:
        crew.close()


def given(
    config: Config, questions: Questions | None, reward: Reward | None, student: str, teacher: str
) -> Config:
    """`config` with what a caller brings in place of what it names; UserError on faults."""
    data = config.data
    if questions is not None:
        place = Path(config.store.root) / "corpora"
        data = replace(data, source=table_of(questions, place), columns={}, format="")
    if reward is not None:
        data = replace(data, reward=reward if isinstance(reward, str) else path_of(reward))
    config = replace(config, data=data)
    if student:
        config = replace(config, student=replace(config.student, model=student))
    if teacher:
        address, _, model = teacher.partition("#")
        far = address.startswith(("http://", "https://"))
        far_or_near = (address, model) if far else ("", teacher)
        config = replace(
            config, teacher=replace(config.teacher, endpoint=far_or_near[0], model=far_or_near[1])
        )
    return from_dict(config.to_dict())  # what was changed is checked as what was loaded


def path_of(function: Callable[..., object]) -> str:
    """The dotted path of a function; UserError if another process could not import it by that."""
    module, name = function.__module__, function.__qualname__
    if module == "__main__" or not name.isidentifier():
        raise UserError(
            f"the reward {name} cannot be imported by the processes that grade; put it at the top "
            "of a module of its own, like my_rewards.py"
        )
    return f"{module}:{name}"
