"""Whom an evaluation compares, and who judges: models that are opened only if they are asked."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from eval.engines import LazyEngine, ModelSpec
from eval.judges import Judge
from eval.pins import pinned
from eval.protocol import Evaluator
from eval.settings import parse
from eval.suite import benchmarks
from zppo_core import models
from zppo_core.config import Config
from zppo_core.config.schema import method_of
from zppo_core.engines.base import is_address, kind_of
from zppo_core.engines.factory import evaluation_engine, teacher_engine
from zppo_core.errors import UserError
from zppo_core.models.weights import load_weights
from zppo_core.prompts import Templates
from zppo_core.protocols import Engine
from zppo_core.records.schema import decode
from zppo_core.rewards.grader import Grader
from zppo_core.run.spec import Run
from zppo_core.store.checkpoint import latest_checkpoint
from zppo_core.store.journal import Journal
from zppo_core.store.objects import ObjectStore
from zppo_core.store.teacher_cache import Memo

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class EvalModel:
    """A model to be scored: `key` is the identity of its weights."""

    role: str
    key: str
    thinking: bool
    engine: LazyEngine

    def close(self) -> None:
        """Give back what it holds; the next one needs the room."""
        self.engine.close()


def evaluator_of(config: Config, cache: ObjectStore) -> tuple[Evaluator, LazyEngine]:
    """The run's evaluator, and its teacher, who also judges unless another judge is named."""
    teacher = LazyEngine(lambda: teacher_engine(config))
    protocol = pinned(config.evaluation, cache)
    templates, settings = Templates(config.data.prompts), parse(protocol.settings)
    evaluator = Evaluator(protocol, templates, Grader())
    named = config.evaluation.judge
    if named == "none" or all(b.kind == "rule" for b in benchmarks(config.evaluation.suite)):
        return evaluator, teacher
    judge = Judge(
        judge_engine(config, named) if named else teacher,
        templates,
        Memo(cache),
        settings.judge_tokens,
        settings.prompts,
        label=named or config.teacher.model,
    )
    return Evaluator(protocol, templates, evaluator.grader, judge), teacher


def judge_engine(config: Config, name: str) -> LazyEngine:
    """The judge that `evaluation.judge` names, run as the teacher would be."""
    if is_address(name):
        return LazyEngine(endpoint(config, name).open)
    return LazyEngine(lambda: teacher_engine(config, name))


def endpoint(config: Config, address: str) -> ModelSpec:
    """The model behind `address`, asked as the teacher's endpoint is."""
    key, at_once = config.teacher.api_key_env, config.teacher.concurrency
    return ModelSpec(address, api_key_env=key, concurrency=at_once)


def named_model(name: str, config: Config) -> EvalModel:
    """The model as the configuration names it: an endpoint, or weights on the student's GPUs."""
    import torch

    model, thinking = config.student.model, config.student.thinking
    if is_address(model):
        engine = LazyEngine(endpoint(config, model).open)
        return EvalModel(name, engine.name, thinking, engine)
    key = name_of(model, getattr(torch, config.student.dtype))
    return EvalModel(name, key, thinking, LazyEngine(lambda: evaluation_engine(config)))


def eval_models(run: Run, teacher: LazyEngine) -> Iterator[EvalModel]:
    """Base, trained student and, if the method has one, teacher; one at a time.

    UserError if the newest sound checkpoint is not the one after the run's last rollout step.
    """
    import torch

    config, store, prefix, steps = run.config, run.store, run.key, run.rollout_steps
    keys = known_keys(run.journal)
    thinking = config.student.thinking
    dtype = getattr(torch, config.student.dtype)

    def base(model: PreTrainedModel | None = None) -> Callable[[], Engine]:
        return lambda: evaluation_engine(config, model)

    key = keys.get("base_model_key")
    yield EvalModel(
        "base", key or name_of(config.student.model, dtype), thinking, LazyEngine(base())
    )
    checkpoint = latest_checkpoint(store, prefix)
    if checkpoint is None:
        raise UserError(f"no checkpoint of the student in {store.url}/{prefix}; run the training")
    if checkpoint.step != steps:
        raise UserError(
            f"the newest sound checkpoint in {store.url}/{prefix} is the one after "
            f"{checkpoint.step} of {steps} rollout steps; resume the training"
        )
    on = config.compute.device if kind_of(config).in_process else "cpu"
    model, _ = models.load(config.student.model, dtype, on)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.fetch(folder, "student")
        load_weights(Path(folder), model)
    yield EvalModel("student", models.weights_name(model), thinking, LazyEngine(base(model)))
    del model
    if method_of(config).uses_teacher:
        key = keys.get("teacher_model_key") or teacher.name
        yield EvalModel("teacher", key, config.teacher.thinking, teacher)


class KnownKeys(TypedDict, total=False):
    """What is read of the run's own row."""

    base_model_key: str
    teacher_model_key: str | None


def known_keys(journal: Journal) -> KnownKeys:
    """The run's own row, which names its models' weights; empty before training."""
    unit = journal.read("run")
    if unit is None:
        return {}
    row: KnownKeys = decode("runs", unit["runs.parquet"]).to_pylist()[0]
    return row


def name_of(model: str, dtype: torch.dtype) -> str:
    """The identity of a model's weights in `dtype`."""
    return models.weights_name(models.load(model, dtype, "cpu")[0])
