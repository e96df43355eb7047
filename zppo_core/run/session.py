"""Builds what a rollout step needs from the configuration: engines, trainer, store, state."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from zppo_core import models
from zppo_core.algorithm.compression import Compressor
from zppo_core.algorithm.replay_buffer import PromptReplayBuffer
from zppo_core.algorithm.step_types import Roles, RolloutState
from zppo_core.cluster.connect import prepare
from zppo_core.cluster.layout import overlaps, workers_of
from zppo_core.config import Config
from zppo_core.config.schema import method_of, workers_asked
from zppo_core.data.corpus import ListCorpus
from zppo_core.engines.base import ForwardingEngine
from zppo_core.engines.factory import Teacher, student_engine, teachers
from zppo_core.engines.watched import WatchedEngine
from zppo_core.models import lora
from zppo_core.models.threads import set_threads
from zppo_core.processes.crew import Crew
from zppo_core.processes.watchdog import Watchdog
from zppo_core.prompts import Templates
from zppo_core.protocols import Engine, Finished, Progress, Sampling
from zppo_core.records.phases import Clock, Role
from zppo_core.rewards.custom import OwnReward
from zppo_core.rewards.grader import Grader
from zppo_core.rewards.grading import RuleGrading
from zppo_core.rewards.judge import Judge
from zppo_core.run.corpus import build_corpus
from zppo_core.run.sharing import fitting, share_out
from zppo_core.store.objects import ObjectStore
from zppo_core.store.teacher_cache import Memo, TeacherCache
from zppo_core.types import Completion, Prompt

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedModel

    from zppo_core.algorithm.train_groups import TrainGroup, UpdateMetrics
    from zppo_core.cluster.cluster import Cluster
    from zppo_core.cluster.remote import RemoteTrainer
    from zppo_core.models.renderer import Renderer
    from zppo_core.training.updater import Trainer


@dataclass(frozen=True)
class TimedEngine(ForwardingEngine):
    """An engine whose generation counts as model compute of `role` on `clock`.

    One batch at a time, unless the engine joins the requests of several threads.
    """

    inner: Engine
    clock: Clock
    role: Role
    watchdog: Watchdog | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def _inner(self) -> Engine:
        if self.watchdog is None:
            return self.inner
        return WatchedEngine(self.inner, self.watchdog, self.role)

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """See `zppo_core.protocols.Engine`."""
        with self._alone(), self.clock.model(self.role):
            return self._inner().generate(prompts, sampling, seeds, progress)

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> Iterator[list[Finished]]:
        """See `zppo_core.protocols.Engine`."""
        with self._alone(), self.clock.model(self.role):
            yield from self._inner().stream(prompts, sampling, seeds, progress)

    def _alone(self) -> AbstractContextManager[object]:
        return nullcontext() if self.joins else self.lock


@dataclass(frozen=True)
class TimedLearner:
    """A trainer whose passes count as model compute on `clock`; `sharers` of its GPU sleep.

    The `student` among them gets new weights before it is asked again.
    """

    inner: Trainer | RemoteTrainer
    clock: Clock
    sharers: Sequence[Engine] = ()  # they wake by themselves
    student: Engine | None = None

    def score(self, groups: Sequence[TrainGroup]) -> list[tuple[np.ndarray, ...]]:
        self._make_room()
        with self.clock.model("learner"):
            return self.inner.score(groups)

    def update(self, groups: Sequence[TrainGroup], tokens: int | None = None) -> UpdateMetrics:
        self._make_room()
        with self.clock.model("learner"):
            return self.inner.update(groups, tokens)

    def _make_room(self) -> None:
        for engine in self.sharers:
            engine.sleep(replaced=engine is self.student)


@dataclass
class Session:
    """Everything alive while a run trains: models, engines, trainer, corpus, state."""

    config: Config
    corpus: ListCorpus
    roles: Roles
    state: RolloutState
    trainer: Trainer | RemoteTrainer
    model: PreTrainedModel
    renderer: Renderer
    teacher: Teacher | None  # the first, None where no teacher takes part
    clock: Clock = field(default_factory=Clock)
    cluster: Cluster | None = None  # where ranks and engines are, None: all in this process
    engines: tuple[Engine, ...] = ()  # that it opened
    crew: Crew | None = None  # who does the model work, None: this process

    @property
    def teacher_params(self) -> int:
        """Parameters of the teacher, 0 without one and behind an endpoint."""
        return 0 if self.teacher is None else self.teacher.parameters

    def close(self) -> None:
        """End processes of its own: another session may follow in this one."""
        for engine in self.engines:
            engine.close()
        if self.cluster is not None:
            self.cluster.close()
        if self.crew is not None:
            self.crew.close()

    def sync(self) -> dict[str, float]:
        """Give the student's engine the trainer's weights, as version `state.step`.

        Returns the time it took and the bytes that were copied: none where both share one model.
        """
        start = time.perf_counter()
        weights, copied = self._weights()
        self.roles.student.load_weights(weights, self.state.step)
        return {"sync_seconds": time.perf_counter() - start, "sync_bytes": copied}

    def _weights(self) -> tuple[Mapping[str, torch.Tensor], int]:
        """What the student's engine is to take, and the bytes that it copies."""
        if self.roles.student.shares_weights:
            self.trainer.publish()
            return dict(self.model.named_parameters()), 0
        weights: Mapping[str, torch.Tensor]
        if self.cluster is not None:
            staged = cast("RemoteTrainer", self.trainer).staged()
            return staged, staged.nbytes
        self.trainer.publish()
        weights = lora.parameters(self.model)
        # of the base, under whose adapters the merged weights are as large
        named = self.model.named_parameters()
        return weights, sum(p.nbytes for name, p in named if "lora_" not in name)


def build_trainer(
    config: Config,
    student: PreTrainedModel,
    renderer: Renderer,
    teacher: PreTrainedModel | None = None,
    cluster: Cluster | None = None,
) -> Trainer | RemoteTrainer:
    """The student's trainer: in this process, or in ranks that DeepSpeed shares it among."""
    method = method_of(config)
    if cluster is None:
        from zppo_core.training.updater import Trainer

        return Trainer(
            student,
            renderer.forbidden_ids,
            renderer.pad_id,
            config.trainer,
            config.optimizer,
            config.loss,
            config.compute.device,
            teacher,
            method.loss,
        )
    from zppo_core.cluster.remote import RemoteTrainer

    return RemoteTrainer(
        student,
        config.student.model,
        cluster,
        config.trainer,
        config.optimizer,
        config.loss,
        config.teacher.model if method.objective.teacher_weights else "",
        method.loss,
    )


def open_session(
    config: Config,
    cache: ObjectStore,
    progress: Callable[[str], Progress],
    watchdog: Watchdog | None = None,
) -> Session:
    """Load both models and wire engines, trainer, grader and compressor (seconds at nano).

    UserError if several processes are asked for and Ray has no room for them.
    """
    workers = workers_of(config)
    if workers is None:
        return _session(config, cache, progress, None, watchdog)
    # one process needs no Ray, whose import takes 0.3 s and its start 5 s
    prepare(config)
    from zppo_core.cluster.cluster import Cluster

    cluster = Cluster(config, workers)
    try:
        return _session(config, cache, progress, cluster, watchdog)
    except BaseException:
        cluster.close()
        raise


def _session(
    config: Config,
    cache: ObjectStore,
    progress: Callable[[str], Progress],
    cluster: Cluster | None,
    watchdog: Watchdog | None,
) -> Session:
    import torch

    config = fitting(config)
    set_threads(config, alone=workers_asked(config) == 0)
    dtype = getattr(torch, config.student.dtype)
    method = method_of(config)
    # beside engines with models of their own and ranks that train, this process keeps a copy
    apart = cluster is not None and bool(cluster.engines)
    device = "cpu" if apart else config.compute.device
    student, renderer = models.load(config.student.model, dtype, device)
    near = method.objective.teacher_weights and cluster is None
    clock, templates = Clock(), Templates(config.data.prompts)
    corpus = build_corpus(config)
    judging = corpus.judged() > 0
    sampler, helpers = _engines(config, student, renderer, judging, near, cluster)
    distilled = helpers[0].model if near else None
    trainer = build_trainer(config, student, renderer, distilled, cluster)
    crew = None
    if cluster is None:
        crew = share_out(config, cast("Trainer", trainer), [sampler, *(t.engine for t in helpers)])
    engines = tuple(TimedEngine(t.engine, clock, "teacher", watchdog) for t in helpers)
    beside = overlaps(config, None if cluster is None else cluster.workers)
    sharers = [sampler] if config.compute.teacher_gpus else [sampler, *(t.engine for t in helpers)]
    writer = engines[0] if engines and config.reformulation.compression == "teacher" else None
    count = (helpers[0].renderer or renderer if helpers else renderer).encode_text
    memo = Memo(cache)
    judge, reward = (
        Judge(engines[0], templates, memo) if judging else None,
        config.data.reward,
    )
    cap, retries = config.reformulation.candidate_tokens, config.reformulation.retries
    roles = Roles(
        student=TimedEngine(sampler, clock, "student", watchdog),
        teachers=engines if method.uses_teacher else (),
        learner=TimedLearner(trainer, clock, () if beside else sharers, sampler),
        grading=OwnReward(reward) if reward else RuleGrading(Grader(), judge),
        compressor=Compressor(writer, templates, lambda text: len(count(text)), cap, retries, memo),
        draws=TeacherCache(cache),
        encode=renderer.encode,
        templates=templates,
        progress=progress,
        overlaps=beside,
    )
    buffer = PromptReplayBuffer(
        config.replay.capacity, config.replay.threshold, config.replay.refresh
    )
    return Session(
        config,
        corpus,
        roles,
        RolloutState(buffer),
        trainer,
        student,
        renderer,
        helpers[0] if method.uses_teacher else None,
        clock,
        cluster,
        (sampler, *(t.engine for t in helpers)),
        crew,
    )


def _engines(
    config: Config,
    student: PreTrainedModel,
    renderer: Renderer,
    judging: bool,
    near: bool,
    cluster: Cluster | None,
) -> tuple[Engine, list[Teacher]]:
    """The student's engine and the teachers, in this process or where the cluster has them."""
    sampler: Engine | None = None
    helpers: list[Teacher] = []
    if cluster is not None:
        from zppo_core.cluster.engines import open_engines

        sampler, helpers = open_engines(config, cluster.engines, cluster.threads, judging)
    return (
        sampler or student_engine(config, student, renderer),
        helpers or teachers(config, renderer, judging, near),
    )
