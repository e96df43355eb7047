"""A gradient that is not finite moves nothing; three in a row end the run, with a way on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pytest
import torch
import world
from hypothesis import given
from hypothesis import strategies as st
from whole_run import concluded, opened, trained

from zppo_core.algorithm.replay_buffer import PromptReplayBuffer
from zppo_core.algorithm.step_types import RolloutState
from zppo_core.algorithm.student_update import NotFiniteError, count_skipped, refuse_mismatch
from zppo_core.algorithm.train_groups import NO_UPDATE
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig, load
from zppo_core.errors import UserError
from zppo_core.models.weights import weight_hash
from zppo_core.records.phases import step_unit
from zppo_core.records.schema import encode
from zppo_core.run.changes import changes, record_changes, settle
from zppo_core.run.loop import advance
from zppo_core.run.setup import same_configuration
from zppo_core.run.spec import Run
from zppo_core.store.checkpoint import latest_checkpoint
from zppo_core.store.journal import Journal
from zppo_core.store.objects import LocalStore
from zppo_core.training.fp32_params import Precise
from zppo_core.training.updater import Trainer

OPTIMIZER = OptimizerConfig(lr=1e-3, weight_decay=0.1, max_grad_norm=1.0)
LEARNING = {
    "data.reward": "coin:coin",
    "run.rollout_steps": 3,
    "run.method": "grpo",
    "data.train_questions": 12,
    "rollout.new_prompts": 4,
    "rollout.group_size": 2,
    "rollout.max_tokens": 6,
    "evaluation.max_tokens": 6,
    "evaluation.limit": 1,
}


def spoiled(groups: list[Any]) -> list[Any]:
    suffix = groups[0].suffixes[0]
    weights_T = suffix.weights_T * np.nan
    rest = groups[0].suffixes[1:]
    return [replace(groups[0], suffixes=(replace(suffix, weights_T=weights_T), *rest)), *groups[1:]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_weight_and_no_moment_moves_by_a_gradient_that_is_not_finite(dtype) -> None:
    model = world.model(dtype)
    trainer = world.trainer(model, optimizer=OPTIMIZER)
    groups = world.groups(world.prompts(), [2, 1, 3, 2, 1])
    assert not trainer.update(groups).skipped
    weights, state = (
        copy.deepcopy(model.state_dict()),
        copy.deepcopy(trainer.optimizer.state_dict()),
    )
    metrics = trainer.update(spoiled(groups))
    assert metrics.skipped
    assert not np.isfinite(metrics.grad_norm)
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    for index, moments in trainer.optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            assert torch.equal(value, state["state"][index][name])
    other = world.trainer(world.model(dtype), optimizer=OPTIMIZER)
    other.update(groups)
    trainer.update(groups)
    other.update(groups)
    assert weight_hash(model.named_parameters()) == weight_hash(other.model.named_parameters())


def test_distillation_skips_too() -> None:
    model, renderer = world.model(), world.renderer()
    trainer = Trainer(
        model,
        renderer.forbidden_ids,
        renderer.pad_id,
        TrainerConfig(),
        OPTIMIZER,
        LossConfig(),
        teacher=world.model(),
        objective="on_distill",
    )
    before = weight_hash(model.named_parameters())
    with torch.no_grad():
        trainer.teacher.get_output_embeddings().weight[5] = torch.nan
    assert trainer.update(world.groups(world.prompts(), [1, 1, 1, 1, 1])).skipped
    assert weight_hash(model.named_parameters()) == before


def test_the_ranks_own_weights_stop_deepspeeds_step_as_well() -> None:
    """Of the float32 weights that DeepSpeed does not see it cannot tell by itself."""
    precise = Precise(torch.nn.Linear(2, 2), OPTIMIZER)
    for zero in (
        SimpleNamespace(scaled_global_norm=lambda: torch.tensor(1.0)),
        SimpleNamespace(_get_norm_groups=lambda: [torch.tensor(1.0)]),
    ):
        precise.norm = 2.0
        (asked,) = vars(zero)
        precise.skip_with(zero)
        norm = getattr(zero, asked)
        assert zero.check_grad_overflow
        assert float(np.ravel(norm())[0]) == 1.0
        precise.norm = float("inf")
        assert not np.isfinite(np.ravel(norm())).any()


@pytest.mark.parametrize("bound", [0.0, 1e9])
def test_a_norm_of_zero_clips_nothing_in_any_trainer(bound: float) -> None:
    optimizer = replace(OPTIMIZER, max_grad_norm=bound)
    groups = world.groups(world.prompts(), [2, 1, 3, 2, 1])
    model, free = world.model(), world.model()
    world.trainer(model, optimizer=optimizer).update(groups)
    world.trainer(free, optimizer=replace(OPTIMIZER, max_grad_norm=1e8)).update(groups)
    assert weight_hash(model.named_parameters()) == weight_hash(free.named_parameters())
    mixed = torch.nn.ModuleList([torch.nn.Linear(2, 2).bfloat16(), torch.nn.Linear(2, 2)])
    precise = Precise(
        mixed, replace(optimizer, lr=1.0, eps=1e9, betas=(0.0, 0.0), weight_decay=0.0)
    )
    for tensor in precise.tensors.values():
        tensor.grad = torch.ones_like(tensor)
    precise.step(100.0)
    assert all(float(t.grad.min()) == 1.0 for t in precise.tensors.values())


def poison(monkeypatch: Any, when: Callable[[int, int, Trainer], bool]) -> None:
    """The gradient is not finite `when` (rollout step, mini-batch, trainer) says so."""
    whole, counts = Trainer.accumulate, {}  # type: ignore[var-annotated]

    def accumulate(self: Trainer, groups: Any, tokens: int | None = None) -> Any:
        metrics = whole(self, groups, tokens)
        step = int(groups[0].uid.partition("/")[0])
        index = counts[id(self), step] = counts.get((id(self), step), -1) + 1
        if when(step, index, self):
            next(iter(self.masters.tensors.values())).grad.fill_(torch.nan)
        return metrics

    monkeypatch.setattr(Trainer, "accumulate", accumulate)


def lr_of(trainer: Trainer) -> float:
    return float(trainer.optimizer.param_groups[0]["lr"])


def weights(run: Run) -> dict[str, str]:
    found = latest_checkpoint(run.store, run.key)
    assert found is not None
    assert found.step == run.rollout_steps
    return dict(found.digests)


def test_a_skipped_mini_batch_is_said_and_counted_in_the_database(tmp_path, monkeypatch, capsys):
    poison(monkeypatch, lambda step, index, trainer: (step, index) == (1, 1))
    run = opened(tmp_path, {**LEARNING, "run.rollout_steps": 2})
    trained(run)
    lines = [line for line in capsys.readouterr().out.splitlines() if "skipped" in line]
    assert lines == [
        "step 2: 1 of 2 mini-batches skipped, their gradient is not finite (norm nan): no weight "
        "moved"
    ]
    concluded(run)
    with duckdb.connect(str(tmp_path / "db.duckdb"), read_only=True) as c:
        rows = c.execute("SELECT step, update_index FROM updates WHERE skipped").fetchall()
        assert rows == [(1, 1)]
        norms = c.execute(
            "SELECT isfinite(grad_norm), isfinite(loss), skipped FROM step_updates ORDER BY step"
        ).fetchall()
    assert norms == [(True, True, 0), (True, True, 1)]


SPOILED = {"optimizer.lr": 1e-4}


def stopped(folder: Path, sets: dict[str, Any], capsys: Any) -> str:
    """The one line by which a run of `LEARNING` ends."""
    run = opened(folder, {**LEARNING, **SPOILED, **sets})
    with pytest.raises(UserError) as fault:
        trained(run)
    assert "\n" not in str(fault.value)
    assert "not finite in 3 mini-batches in a row" in str(fault.value)
    capsys.readouterr()
    return str(fault.value)


def test_three_in_a_row_end_the_run_and_a_change_brings_it_on(tmp_path, monkeypatch, capsys):
    poison(monkeypatch, lambda step, index, trainer: step >= 1 and lr_of(trainer) > 5e-5)
    ends = []
    for name, every, per_task in (("often", 1, 2), ("rarely", 3, 3)):
        folder = tmp_path / name
        sets = {"store.checkpoint_every": every, "run.steps_per_task": per_task}
        line = stopped(folder, sets, capsys)
        assert "rollout step 3" in line  # two mini-batches a step, from the second step on
        assert "run --name run" in line
        assert "--set optimizer.lr=5e-05" in line
        assert "float32" not in line  # it is that already
        first = opened(folder, {**LEARNING, **SPOILED, **sets})
        with pytest.raises(UserError, match="rollout step 3; go on"):
            trained(first)  # the same rollouts give the same gradient
        again = opened(folder, {**LEARNING, **sets, "optimizer.lr": 2e-5, "loss.clip_high": 0.3})
        capsys.readouterr()
        done = advance(again, 0)
        assert "optimizer.lr is 2e-05 from rollout step 3 on" in capsys.readouterr().out
        while done < 3:  # whoever goes on, with whichever settings, goes on with the change
            done = advance(first, done)
        ends.append(weights(again))
    assert ends[0] == ends[1]  # what was recomputed was recomputed as it had been
    concluded(again)
    with duckdb.connect(str(folder / "db.duckdb"), read_only=True) as c:
        made = c.execute("SELECT step, field, before, after FROM changes ORDER BY field").fetchall()
        skipped = c.execute("SELECT step, count(*) FROM updates WHERE skipped GROUP BY step")
        assert skipped.fetchall() == [(1, 2)]
        assert "~" in c.execute("SELECT variant FROM run_settings").fetchall()[0][0]
    assert made == [(2, "loss.clip_high", "0.28", "0.3"), (2, "optimizer.lr", "0.0001", "2e-05")]


def test_precision_can_rise_in_mid_run(tmp_path, monkeypatch, capsys):
    def low(step: int, index: int, trainer: Trainer) -> bool:
        return step >= 1 and any(p.dtype == torch.bfloat16 for p in trainer.model.parameters())

    poison(monkeypatch, low)
    sets = {"student.dtype": "bfloat16", "trainer.max_mismatch": 1, "optimizer.max_grad_norm": 0}
    line = stopped(tmp_path, sets, capsys)
    assert "--set optimizer.max_grad_norm=1 or --set student.dtype=float32" in line
    again = opened(tmp_path, {**LEARNING, **SPOILED, **sets, "student.dtype": "float32"})
    trained(again)
    weights(again)
    with pytest.raises(UserError, match=r"another replay\.threshold; choose"):
        opened(tmp_path, {**LEARNING, **SPOILED, **sets, "replay.threshold": 0.4})


def journal_of(folder: Path, updates: int, *sets: str) -> Journal:
    """A run of the nano preset with so many rollout steps, and a change at step 1."""
    row = {
        "run_key": "r",
        "created_at": datetime(2026, 1, 1),
        "scale": "nano",
        "method": "zppo",
        "seed": 0,
        "code_version": "x",
        "machine": "x",
        "student_model": "nano:student",
        "student_params": 1,
        "config_json": load("nano", sets).to_json(),
    }
    journal = Journal(LocalStore(folder), "r/journal")
    journal.commit("run", {"runs.parquet": encode("runs", [row])})
    for step in range(updates):
        journal.commit(step_unit(step, "update"), {"x": b""})
    record_changes(journal, "r", {"optimizer.lr": [1e-4, 2e-5]}, 1)
    return journal


def test_a_setting_that_is_not_named_stays_as_the_run_has_it(tmp_path, capsys) -> None:
    journal = journal_of(tmp_path, 3)
    began = load("nano")
    capsys.readouterr()
    goes_on, wanted = same_configuration(journal, began)
    assert (goes_on.optimizer.lr, wanted) == (2e-5, {})
    assert "optimizer.lr stays 2e-05" in capsys.readouterr().out
    other = load("nano", ["optimizer.lr=3e-5"])
    with pytest.raises(UserError, match=r"with another optimizer\.lr; choose"):
        same_configuration(journal, other)  # a preset of another day, perhaps: say it
    goes_on, wanted = same_configuration(journal, other, ["optimizer.lr"])
    assert (goes_on, wanted) == (other, {"optimizer.lr": [2e-5, 3e-5]})
    for sets in (["student.dtype=bfloat16"], ["student.dtype=float32", "trainer.lora_rank=2"]):
        low = load("nano", sets)
        with pytest.raises(UserError, match="exists with another"):
            same_configuration(journal, low, [s.partition("=")[0] for s in sets])


def test_a_run_goes_on_with_another_number_of_workers_and_not_without_any(tmp_path) -> None:
    journal = journal_of(tmp_path, 3, "compute.workers=2")
    for workers in (1, 3):
        here = load("nano", [f"compute.workers={workers}"])
        assert same_configuration(journal, here)[1] == {}
    with pytest.raises(UserError, match=r"with another compute\.workers; choose"):
        same_configuration(
            journal, load("nano", ["compute.workers=0"])
        )  # calls are cut for workers: other last bits


def test_a_change_holds_from_the_first_step_without_updates_on(tmp_path, capsys) -> None:
    journal = journal_of(tmp_path, 3)
    began = load("nano")
    wanted = {"optimizer.lr": [2e-5, 1e-5]}
    place = str(tmp_path)
    run = Run("r", began, "2026-01-01", place, f"{place}/cache", f"{place}/db", 4, changes=wanted)
    rates = [settle(replace(run, changes={}), began, step) for step in range(3)]
    assert [r.config.optimizer.lr for r in rates] == [1e-4, 2e-5, 2e-5]
    assert [(r.until, r.changed) for r in rates] == [(1, False), (None, True), (None, False)]
    capsys.readouterr()
    told = settle(run.with_steps(3), began, 2)
    assert told.config.optimizer.lr == 2e-5
    assert "settings stay what they were" in capsys.readouterr().out
    for _ in range(2):  # once written down it is not wanted any more
        assert settle(run, began, 2).until == 3
    assert [(c.step, c.after) for c in changes(journal)] == [(1, 2e-5), (3, 1e-5)]
    assert settle(run, began, 3).config.optimizer.lr == 1e-5


@given(st.lists(st.sampled_from(["finite", "not finite", "no groups"]), max_size=14), st.data())
def test_three_in_a_row_end_a_run_however_steps_and_resumes_cut_the_row(kinds, data) -> None:
    row, ends = 0, None
    for place, kind in enumerate(kinds):
        row = row + 1 if kind == "not finite" else 0 if kind == "finite" else row
        if row == 3:
            ends = place
            break
    state = RolloutState(PromptReplayBuffer(4))
    ended = None
    for place, kind in enumerate(kinds):
        if data.draw(st.booleans()):  # a checkpoint is written, and a task begins with it
            kept, state = state.state_dict(), RolloutState(PromptReplayBuffer(4))
            state.load_state_dict(kept)
        metrics = replace(NO_UPDATE, groups=int(kind != "no groups"))
        metrics = metrics.stepped(float("nan") if kind == "not finite" else 1.0, 0.0)
        try:
            count_skipped(metrics, state)
        except NotFiniteError:
            ended = place
            break
    assert ended == ends


@pytest.mark.parametrize("mean", [float("nan"), float("inf")])
def test_a_sampler_without_finite_log_probabilities_ends_the_first_step(mean: float) -> None:
    config = load("nano")
    with pytest.raises(UserError, match="not finite at the first step"):
        refuse_mismatch(mean, 0, config)
    refuse_mismatch(mean, 1, config)  # later it is the gradient that is looked at
