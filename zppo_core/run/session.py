"""Builds what a rollout step needs from the configuration: engines, trainer, store, state."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from zppo_core.algorithm.compression import Compressor
from zppo_core.algorithm.replay_buffer import PromptReplayBuffer
from zppo_core.algorithm.step_types import Roles, RolloutState
from zppo_core.cluster.hosts import Hosts
from zppo_core.cluster.remote import RemoteTrainer, workers_of
from zppo_core.config import Config
from zppo_core.config.schema import method_of
from zppo_core.data.corpus import ListCorpus
from zppo_core.engines.base import ForwardingEngine, kind_of
from zppo_core.engines.factory import Teacher, student_engine, teachers
from zppo_core.models.threads import set_threads
from zppo_core.prompts import Templates
from zppo_core.protocols import Engine, Progress, Sampling
from zppo_core.records.phases import Clock, Role
from zppo_core.rewards.custom import OwnReward
from zppo_core.rewards.grading import RuleGrading
from zppo_core.rewards.judge import Judge
from zppo_core.run.corpus import build_corpus
from zppo_core.store.objects import ObjectStore
from zppo_core.store.teacher_cache import Memo, TeacherCache
from zppo_core.types import Completion, Prompt

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel

    from zppo_core.algorithm.train_groups import TrainGroup, UpdateMetrics
    from zppo_core.models.renderer import Renderer
    from zppo_core.training.updater import Trainer


@dataclass(frozen=True)
class TimedEngine(ForwardingEngine):
    """An engine whose generation counts as model compute of `role` on `clock`.

    One batch at a time: the teacher may draw and judge from two threads.
    """

    inner: Engine
    clock: Clock
    role: Role
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def _inner(self) -> Engine:
        return self.inner

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        with self.lock, self.clock.model(self.role):
            return self.inner.generate(prompts, sampling, seeds, progress)


@dataclass(frozen=True)
class TimedLearner:
    """A trainer whose passes count as model compute on `clock`; `sharers` of its GPU sleep."""

    inner: Trainer | RemoteTrainer
    clock: Clock
    sharers: Sequence[Engine] = ()  # they wake by themselves

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
            engine.sleep()


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
    hosts: Hosts | None = None  # those beside this one
    engines: tuple[Engine, ...] = ()  # that it opened

    @property
    def teacher_params(self) -> int:
        """Parameters of the teacher, 0 without one and behind an endpoint."""
        return 0 if self.teacher is None else self.teacher.parameters

    def close(self) -> None:
        """End processes of its own: another session may follow in this one."""
        if self.hosts is not None:
            self.hosts.close()
        self.trainer.close()
        for engine in self.engines:
            engine.close()

    def sync(self) -> dict[str, float]:
        """Give the student's engine the trainer's weights, as version `state.step`.

        Returns the time it took and the bytes that were copied: none where both share one model.
        """
        start = time.perf_counter()
        self.trainer.publish()
        from zppo_core.models import lora

        shared = self.roles.student.shares_weights
        model = self.model
        weights = dict(model.named_parameters()) if shared else lora.parameters(model)
        self.roles.student.load_weights(weights, self.state.step)
        copied = 0 if shared else sum(w.numel() * w.element_size() for w in weights.values())
        return {"sync_seconds": time.perf_counter() - start, "sync_bytes": copied}


def build_trainer(
    config: Config,
    student: PreTrainedModel,
    renderer: Renderer,
    teacher: PreTrainedModel | None = None,
    hosts: Hosts | None = None,
) -> Trainer | RemoteTrainer:
    """The student's trainer: in this process, or in workers that DeepSpeed shares it among."""
    workers, method = workers_of(config), method_of(config)
    if workers is None:
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

    return RemoteTrainer(
        student,
        config.student.model,
        workers,
        config.trainer,
        config.optimizer,
        config.loss,
        None if hosts is None else hosts.program,
        config.teacher.model if method.objective.teacher_weights else "",
        method.loss,
    )


def open_session(
    config: Config, cache: ObjectStore, progress: Callable[[str], Progress]
) -> Session:
    """Load both models and wire engines, trainer, grader and compressor (seconds at nano)."""
    import torch

    from zppo_core import models
    from zppo_core.rewards.grader import Grader

    set_threads(config)
    dtype = getattr(torch, config.student.dtype)
    method = method_of(config)
    # beside engines with models of their own and workers that train, this process keeps a copy
    copy = not kind_of(config).in_process and workers_of(config) is not None
    device = "cpu" if copy else config.compute.device
    student, renderer = models.load(config.student.model, dtype, device)
    distils = method.objective.teacher_weights
    clock, templates = Clock(), Templates(config.data.prompts)
    corpus = build_corpus(config)
    near = distils and workers_of(config) is None
    helpers = teachers(config, renderer, judging=corpus.judged() > 0, near=near)
    sampler = student_engine(config, student, renderer)
    distilled = helpers[0].model if near else None
    hosts = Hosts(config) if config.compute.update_hosts > 1 else None
    trainer = build_trainer(config, student, renderer, distilled, hosts)
    if hosts is not None:
        hosts.meet(cast("RemoteTrainer", trainer), len(helpers), corpus.judged() > 0)
        sampler, helpers = hosts.join("student", sampler), hosts.join_teachers(helpers)
    engines = tuple(TimedEngine(t.engine, clock, "teacher") for t in helpers)
    sharers = [sampler] if config.compute.teacher_gpus else [sampler, *(t.engine for t in helpers)]
    writer = engines[0] if engines and config.reformulation.compression == "teacher" else None
    count = (helpers[0].renderer or renderer if helpers else renderer).encode_text
    memo = Memo(cache)
    judge, reward = (
        Judge(engines[0], templates, memo) if corpus.judged() else None,
        config.data.reward,
    )
    cap, retries = config.reformulation.candidate_tokens, config.reformulation.retries
    roles = Roles(
        student=TimedEngine(sampler, clock, "student"),
        teachers=engines if method.uses_teacher else (),
        learner=TimedLearner(trainer, clock, sharers),
        grading=OwnReward(reward) if reward else RuleGrading(Grader(), judge),
        compressor=Compressor(writer, templates, lambda text: len(count(text)), cap, retries, memo),
        draws=TeacherCache(cache),
        encode=renderer.encode,
        templates=templates,
        progress=progress,
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
        hosts,
        (sampler, *(t.engine for t in helpers)),
    )
