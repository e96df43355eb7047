"""Rollouts and updates over two nodes: both on this machine, each with a raylet of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ranks
import ray
import torch
import world
from ray._private.node import Node
from ray._private.parameter import RayParams

from zppo_core.cluster.actors import answers, start
from zppo_core.cluster.connect import place_nodes
from zppo_core.cluster.engines import ActorEngine
from zppo_core.cluster.layout import overlaps, places_of, workers_of
from zppo_core.config import Config, load
from zppo_core.engines.hf import HfEngine
from zppo_core.engines.pool import EnginePool
from zppo_core.errors import UserError
from zppo_core.models import lora
from zppo_core.protocols import Sampling
from zppo_core.run.session import Session, open_session
from zppo_core.store.objects import open_store
from zppo_core.types import Prompt

GREEDY = Sampling(max_tokens=12, n=2, temperature=0.0)


def two_nodes(*more: str) -> Config:
    return load(
        "nano",
        [
            "compute.update_hosts=2",
            "compute.update_processes=1",
            "compute.threads=1",
            "compute.ray=auto",
            "data.train_questions=8",
            "optimizer.lr=0.01",
            *more,
        ],
    )


@contextlib.contextmanager
def second_node(gpus: int = 0) -> Iterator[Node]:
    """Another node of the Ray of all tests, on the loopback address as that is."""
    ranks.start()
    settings = RayParams(
        node_ip_address="127.0.0.1",
        gcs_address=ray.get_runtime_context().gcs_address,
        num_cpus=2,
        num_gpus=gpus,
        object_store_memory=300 << 20,
    )
    node = Node(settings, head=False, shutdown_at_exit=False, spawn_reaper=False)
    deadline = time.monotonic() + 60
    while sum(n["Alive"] for n in ray.nodes()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    try:
        yield node
    finally:
        node.kill_all_processes(check_alive=False, allow_graceful=True)
        while sum(n["Alive"] for n in ray.nodes()) > 1 and time.monotonic() < deadline + 60:
            time.sleep(0.1)


def cut_off(node: Node) -> None:
    """Kill a node with all its processes, as a power failure would."""
    for started in node.all_processes["raylet"]:
        root = psutil.Process(started.process.pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def ask(built: Session, engine: Any, version: int) -> list[list[list[int]]]:
    asked = [built.corpus[q] for q in built.corpus.new_ids(0, 5)]
    prompts = [Prompt(q.text, q.images) for q in asked]
    steps: list[tuple[int, int]] = []
    outputs = engine.generate(prompts, GREEDY, list(range(5)), lambda *step: steps.append(step))
    assert steps[-1] == (5, 5)
    assert {c.version for group in outputs for c in group} == {version}
    return [[c.token_ids_T.tolist() for c in group] for group in outputs]


def alone(built: Session) -> HfEngine:
    """An engine of this process with the trainer's weights."""
    built.trainer.publish()
    engine = HfEngine(ranks.models.load("nano:student", torch.float32)[0], built.renderer, "here")
    engine.load_weights(lora.parameters(built.model), built.state.step)
    return engine


@pytest.mark.parametrize("more", [(), ("trainer.lora_rank=4", "optimizer.lr=0.1")])
def test_rollouts_of_two_nodes_are_those_of_one_before_and_after_an_update(
    more: tuple[str, ...], tmp_path: Path
) -> None:
    config, store = two_nodes(*more), open_store(str(tmp_path))
    with second_node() as other:
        built = open_session(config, store, lambda phase: lambda done, all_: None)
        try:
            for role in (built.roles.student, *built.roles.teachers):
                pool = role.inner
                assert isinstance(pool, EnginePool)
                assert [type(e) for e in pool.engines] == [ActorEngine, ActorEngine]
            nodes = ray.get([engine.ask("node") for engine, _ in built.cluster.engines])
            assert len({node for node, _ in nodes}) == 2
            pool = built.roles.student.inner
            assert built.sync()["sync_bytes"] > 1_000_000
            before = ask(built, alone(built), 0)
            for engine in (pool, *pool.engines):
                assert ask(built, engine, 0) == before
            groups = world.groups(world.prompts(4, 2, 1), [2, 1, 4, 3, 2, 1, 2], 0)
            for _ in range(3):
                built.trainer.update(groups)
            built.state.step = 1
            built.sync()
            after = ask(built, alone(built), 1)
            for engine in (pool, *pool.engines):
                assert ask(built, engine, 1) == after
            assert after != before, "the update changed nothing: the test shows nothing"
            if more:
                os.kill(nodes[1][1], signal.SIGKILL)
                with pytest.raises(UserError, match=r"^engine 0 of node 1 died .*; resume"):
                    ask(built, pool, 1)
            else:
                cut_off(other)
                with pytest.raises(
                    UserError, match=r"^rank 1 died \((unavailable|.*node).*; resume"
                ) as said:
                    built.trainer.update(groups)
                assert len(str(said.value).splitlines()) == 1
        finally:
            built.close()


class Seer:
    """An actor that says which GPUs it sees."""

    def look(self) -> str:
        return os.environ["CUDA_VISIBLE_DEVICES"]


def test_a_rank_and_an_engine_share_each_gpu_of_the_student() -> None:
    """Two learn and sample, two are the teacher's: as processes would see them on a GPU node."""
    sets = "compute.student_gpus=2", "compute.teacher_gpus=2", "compute.teacher_tensor_parallel=2"
    config = load("4B", ["compute.ray=auto", *sets])
    workers = workers_of(config)
    assert workers is not None
    with second_node(gpus=4):
        ((group, places),) = place_nodes(config, workers)
        actors = [
            (kind, start(Seer, kind, 0, group, at, place, {}))
            for at, place in enumerate(places)
            for kind, count in (("rank", place.ranks), ("engine", int(place.engine)))
            for _ in range(count)
        ]
        looks = answers([a for _, a in actors], [a.ask("look") for _, a in actors])
        for _, actor in actors:
            ray.kill(actor.handle)
        ray.util.remove_placement_group(group)
    assert [kind for kind, _ in actors] == ["rank", "engine", "rank", "engine", "engine"]
    first, same, second, again, teacher = looks
    assert first == same
    assert second == again
    assert len({first, second, *teacher.split(",")}) == 4


def places(*sets: str) -> list[tuple[int, int, bool, bool]]:
    config = load("4B", list(sets))
    workers = workers_of(config)
    assert workers is not None
    return [(p.gpus, p.ranks, p.student, p.teachers) for p in places_of(config, workers)]


def test_the_student_samples_beside_an_update_with_which_it_shares_no_gpu() -> None:
    stale = ["compute.staleness=1", "loss.importance_cap=2"]
    for sets, beside in (
        (["compute.update_processes=2"], True),
        ([], False),
        (["compute.device=cpu", "compute.update_processes=2"], True),
        (["compute.device=cpu", "compute.engine=hf", "compute.update_processes=1"], False),
    ):
        for given, holds in (([*sets, *stale], beside), (sets, False)):
            config = load("4B", given)
            assert overlaps(config, workers_of(config)) is holds


def test_each_layout_has_a_rank_and_an_engine_on_every_gpu_of_the_student() -> None:
    both = [(1, 1, True, False)] * 6
    assert places() == [*both, (2, 0, False, True)]
    apart = "compute.teacher_tensor_parallel=1"
    assert places(apart) == [*both, *[(1, 0, False, True)] * 2]
    none = "compute.teacher_gpus=0"
    assert places(none, "compute.student_gpus=1", "compute.offload=true") == [(1, 1, True, True)]
    assert places(none, "teacher.endpoint=http://h:1/v1") == both
    assert places("compute.update_processes=2", apart)[:3] == [*both[:2], (1, 0, True, False)]
    stale = "compute.staleness=1", "loss.importance_cap=2"
    split = [(1, 1, False, False)] * 2 + [(1, 0, True, False)] * 4
    assert places("compute.update_processes=2", apart, *stale)[:6] == split
    assert places("compute.update_processes=2", none, *stale)[2] == (1, 0, True, True)
    assert places(apart, *stale)[:6] == both  # as many ranks as GPUs: they are shared
    on_cpu = "compute.device=cpu", "compute.engine=hf", "compute.update_processes=3"
    assert places(*on_cpu) == [(0, 3, False, False)]  # the step's own process samples
    assert places(*on_cpu, "compute.update_hosts=2", "compute.ray=auto") == [(0, 3, True, True)]
