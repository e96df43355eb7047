"""The update over process groups equals one process: really started, over gloo."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import ranks
import ray
import torch
import world
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from zppo_core import models
from zppo_core.algorithm.train_groups import TrainGroup
from zppo_core.cluster.cluster import Cluster
from zppo_core.cluster.remote import RemoteTrainer
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig
from zppo_core.errors import UserError
from zppo_core.models.loading import weights_name
from zppo_core.store.checkpoint import latest_checkpoint, save_checkpoint
from zppo_core.store.objects import LocalStore
from zppo_core.training.optimizer_state import MASTER
from zppo_core.training.rank_plan import assign_ranks
from zppo_core.training.updater import Trainer

NAME = "nano:student"
OPTIMIZER = OptimizerConfig(lr=1e-3, weight_decay=0.1, max_grad_norm=1.0)
# steps in proportion to the gradient: Adam's first ones would enlarge what rounding leaves
STEADY = OptimizerConfig(lr=1.0, weight_decay=0.0, max_grad_norm=0.01, eps=100.0)
# at most a group in a micro-batch: with three ranks some have nothing to do in the last round
SMALL = TrainerConfig(token_budget=80, checkpointing=True)
ADAPTERS = replace(SMALL, lora_rank=4)


def groups(seed: int = 0):
    """Seven groups of 1 to 4 responses, with one picture, several and none."""
    return world.groups(world.prompts(4, 2, 1), [2, 1, 4, 3, 2, 1, 2], seed)


def texts():
    """Groups without pictures: the vision tower has no gradient, and still its momentum."""
    return world.groups(world.prompts(0, 4, 0), [2, 1, 4, 3], 1)


def alone(
    dtype: torch.dtype = torch.float32,
    optimizer: OptimizerConfig = OPTIMIZER,
    teacher: str = "",
    trainer: TrainerConfig = SMALL,
) -> Trainer:
    model, renderer = models.load(NAME, dtype)
    other = models.load(teacher, dtype)[0] if teacher else None
    return Trainer(
        model,
        renderer.forbidden_ids,
        renderer.pad_id,
        trainer,
        optimizer,
        LossConfig(),
        teacher=other,
        objective="on_distill" if teacher else "surrogate",
    )


def remote(
    processes: int,
    stage: int,
    dtype: torch.dtype = torch.float32,
    optimizer: OptimizerConfig = OPTIMIZER,
    teacher: str = "",
    offload: bool = False,
    trainer: TrainerConfig = SMALL,
    cluster: Cluster | None = None,
) -> RemoteTrainer:
    objective = "on_distill" if teacher else "surrogate"
    settings = trainer, optimizer, LossConfig(), teacher, objective
    return ranks.remote(
        processes, *settings, stage=stage, offload=offload, dtype=dtype, cluster=cluster
    )


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The optimizer's state as a trainer has written it, in a file or several."""
    found: dict[str, torch.Tensor] = {}
    for path in folder.glob("optimizer*.safetensors"):
        found |= load_file(path)
    return found


def masters(trainer: Trainer | RemoteTrainer, folder: Path) -> torch.Tensor:
    """The float32 weights of a trainer as its checkpoint has them, flat."""
    folder.mkdir()
    trainer.write_state(folder)
    kept = tensors(folder)
    named = trainer.model.named_parameters()
    return torch.cat([kept.get(f"{n}:{MASTER}", p.detach()).float().flatten() for n, p in named])


def apart(a: torch.nn.Module, b: torch.nn.Module, start: torch.nn.Module) -> float:
    """How far apart two trained models are, in the length of the way that one has come."""
    flat = [torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (a, b, start)]
    return float((flat[0] - flat[1]).norm() / (flat[1] - flat[2]).norm())


def payload(batch: Sequence[TrainGroup]) -> int:
    """Bytes of what is trained on: pictures as stored, ids, weights and log-probabilities."""
    pictures = sum(len(image) for g in batch for image in g.prompt.images)
    numbers = sum(4 * (g.prompt.length + 4 * len(s.token_ids_T)) for g in batch for s in g.suffixes)
    return pictures + numbers


@pytest.mark.parametrize(("processes", "stage"), [(2, 1), (3, 2), (3, 3)])
def test_two_updates_of_many_ranks_are_those_of_one_process(processes: int, stage: int) -> None:
    """Up to the order of float32 sums: Adam's first steps divide by it, hence 1 % and not 1e-6."""
    one, many = alone(), remote(processes, stage)
    start, _ = models.load(NAME, torch.float32)
    try:
        many.publish()  # nothing has moved yet, by no rounding either
        for a, b in zip(many.model.parameters(), start.parameters(), strict=True):
            assert torch.equal(a, b)
        for a, b in zip(one.score(groups()), many.score(groups()), strict=True):
            for x, y in zip(a, b, strict=True):
                assert np.abs(x - y).max() < 1e-5
        for seed in range(2):
            batch = groups(seed)
            old = one.score(batch)
            batch = [g.with_old_logp(o) for g, o in zip(batch, old, strict=True)]
            tokens = 2 * sum(g.tokens for g in batch)
            mine, theirs = one.update(batch, tokens), many.update(batch, tokens)
            assert theirs.tokens == mine.tokens
            assert theirs.groups == mine.groups
            # scored and trained on: a rank gets its own groups alone, pictures as they are stored
            assert mine.sent_bytes == 0
            assert 0 < theirs.sent_bytes < 2 * processes * payload(batch)
            for name in (
                "loss",
                "grad_norm",
                "entropy",
                "ratio_mean",
                "mismatch_mean",
                "mismatch_max",
                "clip_low_share",
            ):
                expected = pytest.approx(getattr(mine, name), rel=1e-3, abs=1e-4)
                assert getattr(theirs, name) == expected, name
        one.update(texts())
        many.update(texts())
        many.publish()
        assert apart(many.model, one.model, start) < 0.01
        assert apart(many.model.model.visual, one.model.model.visual, start.model.visual) < 0.01
        assert many.update([]).groups == 0
        assert f"{processes} processes, ZeRO-{stage}" in many.mode_reason
    finally:
        many.close()


@pytest.mark.parametrize(("stage", "offload"), [(1, False), (2, True), (3, False)])
def test_low_precision_is_shared_out_as_one_process_trains_it(
    stage: int, offload: bool, tmp_path: Path
) -> None:
    """Masters, sums of micro-batches, decays and norms are float32 on ranks, too."""
    one = alone(torch.bfloat16, STEADY)
    many = remote(2, stage, torch.bfloat16, STEADY, offload=offload)
    start = masters(one, tmp_path / "start")
    try:
        for batch in (groups(0), texts()):
            mine, theirs = one.update(batch), many.update(batch)
            assert mine.grad_norm > 0.01  # it is clipped, by the norm of all gradients
            assert theirs.grad_norm == pytest.approx(mine.grad_norm, rel=1e-3)
        many.publish()
        a, b = masters(one, tmp_path / "one"), masters(many, tmp_path / "many")
        assert float((a - b).norm() / (a - start).norm()) < 1e-3
        types = {n: p.dtype for n, p in many.model.named_parameters()}
        assert {d for n, d in types.items() if n.endswith("A_log")} == {torch.float32}
        for name, parameter in one.model.named_parameters():
            if types[name] == torch.float32:
                assert torch.allclose(dict(many.model.named_parameters())[name], parameter)
        # what two ranks have left one process takes up, and they both go on alike
        store = LocalStore(tmp_path / "store")
        save_checkpoint(store, "", 1, many.write_state, keep=1)
        found = latest_checkpoint(store, "")
        assert found is not None
        later = alone(torch.bfloat16, STEADY)
        later.model.load_state_dict(many.model.state_dict())
        for trainer in (later, many):
            trainer.read_state(found)
            trainer.update(groups(2))
        many.publish()
        c, d = masters(later, tmp_path / "later"), masters(many, tmp_path / "on")
        assert float((c - d).norm() / (c - b).norm()) < 1e-3
    finally:
        many.close()


def adapters(trainer: Trainer | RemoteTrainer) -> torch.Tensor:
    """All that learns, flat."""
    learning = [p for p in trainer.model.parameters() if p.requires_grad]
    return torch.cat([p.detach().flatten() for p in learning])


@pytest.mark.parametrize(
    ("processes", "stage", "dtype"), [(3, 2, torch.float32), (2, 3, torch.bfloat16)]
)
def test_ranks_share_adapters_and_what_they_save_one_process_takes_up(
    processes: int, stage: int, dtype: torch.dtype, tmp_path: Path
) -> None:
    # B is zero at first: the first step moves it alone, and A learns from the second one on
    pace = replace(STEADY, lr=1e4)
    # ranks add up in another order; a step through a bfloat16 base multiplies what that leaves
    later_on = 1e-4 if dtype == torch.float32 else 5e-3
    one = alone(dtype, pace, trainer=ADAPTERS)
    many = remote(processes, stage, dtype, pace, trainer=ADAPTERS)
    base = weights_name(one.model)
    start = adapters(one)
    try:
        for seed, near in enumerate((1e-5, later_on)):
            mine, theirs = one.update(groups(seed)), many.update(groups(seed))
            many.publish()
            assert theirs.grad_norm == pytest.approx(mine.grad_norm, rel=near)
            assert (adapters(many) - adapters(one)).norm() < near * (adapters(one) - start).norm()
        assert weights_name(many.model) != base  # merged, and moved
        store = LocalStore(tmp_path)
        save_checkpoint(store, "", 1, many.write_state, keep=1)
        found = latest_checkpoint(store, "")
        assert found is not None
        later, again = alone(dtype, pace, trainer=ADAPTERS), adapters(many)
        for trainer in (later, many):
            trainer.read_state(found)
            trainer.update(groups(2))
        many.publish()
        moved = (adapters(many) - again).norm()
        assert moved > 0
        assert (adapters(later) - adapters(many)).norm() < later_on * moved
    finally:
        many.close()


def test_three_ranks_distil_as_one_process_does() -> None:
    one, many = alone(teacher="nano:teacher"), remote(3, 3, teacher="nano:teacher")
    start, _ = models.load(NAME, torch.float32)
    try:
        for seed in range(2):
            mine, theirs = one.update(groups(seed)), many.update(groups(seed))
            assert 0 < mine.loss < 0.7
            for name in ("loss", "grad_norm", "entropy"):
                expected = pytest.approx(getattr(mine, name), rel=1e-3, abs=1e-4)
                assert getattr(theirs, name) == expected, name
            assert (theirs.tokens, theirs.groups) == (mine.tokens, mine.groups)
        many.publish()
        assert apart(many.model, one.model, start) < 0.01
        assert many.update([]).groups == 0
    finally:
        many.close()


@pytest.mark.parametrize(
    ("stage", "dtype", "offload"),
    [(1, torch.bfloat16, False), (2, torch.bfloat16, True), (3, torch.float32, False)],
)
def test_ranks_take_no_step_by_a_gradient_that_is_not_finite(
    stage: int, dtype: torch.dtype, offload: bool, tmp_path: Path
) -> None:
    """Neither weights nor moments move, and the next step is the one that there would have been."""
    many, one = remote(2, stage, dtype, STEADY, offload=offload), alone(dtype, STEADY)
    spoiled = groups(1)
    spoiled[0].suffixes[0].weights_T[:] = np.nan
    try:
        assert not many.update(groups(0)).skipped
        one.update(groups(0))
        before = kept(many, tmp_path / "before")
        metrics = many.update(spoiled)
        assert metrics.skipped
        assert not np.isfinite(metrics.grad_norm)
        after = kept(many, tmp_path / "after")
        assert before.keys() == after.keys()
        for name, value in before.items():
            assert torch.equal(value, after[name]), name
        assert not many.update(groups(2)).skipped
        one.update(groups(2))
        many.publish()
        a, b = masters(one, tmp_path / "one"), masters(many, tmp_path / "many")
        start = masters(alone(dtype, STEADY), tmp_path / "start")
        assert float((a - b).norm() / (a - start).norm()) < 1e-3
    finally:
        many.close()


def kept(trainer: RemoteTrainer, folder: Path) -> dict[str, torch.Tensor]:
    """Optimizer state and weights as a checkpoint has them."""
    folder.mkdir()
    trainer.publish()
    trainer.write_state(folder)
    weights = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    return weights | tensors(folder)


def test_what_two_ranks_save_one_or_three_take_up(tmp_path: Path) -> None:
    store, start = LocalStore(tmp_path), models.load(NAME, torch.float32)[0]
    first = remote(2, 2)
    try:
        first.update(groups(0))
        first.publish()
        save_checkpoint(store, "", 1, first.write_state, keep=1)
        found = latest_checkpoint(store, "")
        assert found is not None
        one, three = alone(), remote(3, 3)
        try:
            for other in (one, three):
                other.model.load_state_dict(first.model.state_dict())
                other.read_state(found)
            for other in (first, one, three):
                other.update(groups(1))
                other.publish()
            assert apart(first.model, one.model, start) < 0.01
            assert apart(three.model, one.model, start) < 0.01
        finally:
            three.close()
    finally:
        first.close()


def test_a_dead_rank_ends_the_step_with_one_line_and_leaves_no_process() -> None:
    cluster = ranks.fresh(2)
    trainer = remote(2, 2, cluster=cluster)
    pids = [pid for _, pid in ray.get([r.ask("node") for r in cluster.ranks])]
    os.kill(pids[1], signal.SIGKILL)
    begin = time.monotonic()
    with pytest.raises(UserError, match=r"^rank 1 died \(.*End of file.*; resume") as said:
        trainer.update(groups())
    assert len(str(said.value).splitlines()) == 1
    assert time.monotonic() - begin < 60
    cluster.close()
    assert gone(pids)


def gone(pids: list[int]) -> bool:
    """Whether these processes end within seconds."""
    alive = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    left = psutil.wait_procs(alive, timeout=20)[1]
    return not [p for p in left if p.status() != psutil.STATUS_ZOMBIE]


def test_ranks_that_find_no_room_say_so_in_one_line(tmp_path: Path) -> None:
    trainer = remote(2, 2)
    trainer.update(texts())
    pids = [pid for _, pid in ray.get([r.ask("node") for r in trainer.ranks])]
    for pid in pids:
        psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (100_000, psutil.RLIM_INFINITY))
    try:
        with pytest.raises(UserError, match=r"cannot write what rank \d .*free space") as said:
            trainer.write_state(tmp_path)
        assert len(str(said.value).splitlines()) == 1
    finally:
        for pid in pids:
            psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY,) * 2)


@given(st.integers(1, 9), st.integers(0, 9))
def test_groups_are_dealt_out_evenly_and_always_alike(ranks: int, seed: int) -> None:
    batch = groups(seed)
    owners = assign_ranks(batch, ranks)
    assert owners == assign_ranks(groups(seed), ranks)
    assert set(owners) <= set(range(ranks))
    cost = [g.prompt.length + sum(len(s.token_ids_T) for s in g.suffixes) for g in batch]
    load = [sum(c for c, o in zip(cost, owners, strict=True) if o == r) for r in range(ranks)]
    assert max(load) - min(load) <= max(cost)


@pytest.mark.parametrize(("processes", "stage", "offload"), [(2, 2, True), (3, 3, False)])
def test_ranks_keep_bfloat16_moments_as_one_process_does(
    processes: int, stage: int, offload: bool, tmp_path: Path
) -> None:
    low = replace(OPTIMIZER, moments="bfloat16")
    one, many = alone(optimizer=low), remote(processes, stage, optimizer=low, offload=offload)
    start, _ = models.load(NAME, torch.float32)
    try:
        for batch in (groups(0), texts()):
            one.update(batch)
            many.update(batch)
        many.publish()
        assert apart(many.model, one.model, start) < 0.01
        store = LocalStore(tmp_path / "store")
        save_checkpoint(store, "", 1, many.write_state, keep=1)
        many.write_state(tmp_path)
        kept = tensors(tmp_path)
        moments = torch.cat([v.flatten().float() for k, v in kept.items() if "exp_avg" in k])
        assert torch.equal(moments, moments.bfloat16().float())  # they were rounded
        assert (moments != 0).any()
        found = latest_checkpoint(store, "")
        assert found is not None
        later = alone(optimizer=low)
        later.model.load_state_dict(many.model.state_dict())
        before = [p.detach().clone() for p in later.model.parameters()]
        for trainer in (later, many):
            trainer.read_state(found)
            trainer.update(groups(2))
        many.publish()
        flat = [
            torch.cat([p.detach().flatten() for p in m])
            for m in (later.model.parameters(), many.model.parameters(), before)
        ]
        assert (flat[0] - flat[1]).norm() < 0.01 * (flat[0] - flat[2]).norm()
    finally:
        many.close()
