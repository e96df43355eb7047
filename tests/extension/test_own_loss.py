"""A loss is one function of tokens, from outside the package too."""

from dataclasses import replace

import pytest
import ranks
import ray
import torch
import world
from short_run import ROOT, rows, short_run

from zppo_core import models
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig
from zppo_core.config.methods import find_loss, find_method
from zppo_core.errors import UserError
from zppo_core.training.updater import Trainer

FILE = ROOT / "examples" / "reinforce.py"
MIXED = """
from zppo_core.algorithm.losses import divergence, surrogate
from zppo_core.config.methods import Loss, Method

def mixed(tokens, settings):
    return surrogate(tokens, settings) + 0.5 * divergence(tokens, settings)

LOSS = Loss(f"{__name__}:mixed", teacher_weights=True)
METHOD = Method("mixed", False, (), f"{__name__}:LOSS", "the surrogate and half the divergence")
"""


def test_a_loss_of_ones_own_gives_the_gradient_of_its_definition() -> None:
    model, reference = world.model(torch.float64), world.model(torch.float64)
    groups = world.groups(world.prompts(), [2, 1, 3, 2, 2])
    by_name = world.trainer(model, objective=f"{FILE}:reinforce")
    metrics = by_name.update(groups)
    # where a ratio is 1, the gradient of the unclipped surrogate is that of REINFORCE
    same = world.trainer(reference, objective="surrogate")
    without_old = [
        replace(g, suffixes=tuple(replace(s, old_logp_T=None) for s in g.suffixes)) for g in groups
    ]
    same.update(without_old)
    assert world.relative(world.gradient(model), world.gradient(reference)) < 1e-9
    assert metrics.loss != 0.0
    assert metrics.entropy > 0.0
    assert metrics.mismatch_mean > 0.0


def test_a_loss_of_ones_own_trains_a_run(tmp_path) -> None:
    run = short_run(tmp_path / "own", run__method=f"{FILE}:METHOD")
    other = short_run(tmp_path / "ours", run__method="grpo_replay")
    assert run.key.startswith("nano-reinforce_replay-s0")
    (mine,), (ours,) = (rows(r, "update", "updates") for r in (run, other))
    assert mine["grad_norm"] > 0.0
    # one update a step: the ratios are 1, so the gradient is the surrogate's and the loss is not
    assert mine["grad_norm"] == pytest.approx(ours["grad_norm"], rel=1e-4)
    assert mine["loss"] != pytest.approx(ours["loss"], rel=1e-2)


def test_a_loss_may_look_at_the_teacher_beside_the_advantages(tmp_path) -> None:
    file = tmp_path / "mixed.py"
    file.write_text(MIXED)
    method = find_method(f"{file}:METHOD")
    assert method.uses_teacher
    assert method.objective.learns_from == "advantages"
    run = short_run(tmp_path / "own", run__method=f"{file}:METHOD")
    other = short_run(tmp_path / "ours", run__method="grpo")
    (mine,), (ours,) = (rows(r, "update", "updates") for r in (run, other))
    assert mine["loss"] > ours["loss"]  # a divergence is never negative
    assert (mine["tokens"], mine["ratio_mean"]) == (ours["tokens"], ours["ratio_mean"])
    roles = {(r["role"], r["activity"]) for r in rows(run, "update", "costs")}
    assert ("teacher", "rescore") in roles


def test_ranks_in_processes_of_their_own_find_it_by_its_name() -> None:
    here, renderer = models.load("nano:student", torch.float32)
    settings = TrainerConfig(), OptimizerConfig(lr=1e-4), LossConfig()
    name = f"{FILE}:reinforce"
    ids = renderer.forbidden_ids, renderer.pad_id
    one = Trainer(here, *ids, *settings, objective=name)
    many = ranks.remote(2, *settings, objective=name)
    groups = world.groups(world.prompts(0, 4, 0), [2, 1, 4, 3], 1)
    try:
        mine, theirs = one.update(groups), many.update(groups)
    finally:
        ranks.end()
        ray.shutdown()
    assert theirs.loss == pytest.approx(mine.loss, rel=1e-4)
    assert theirs.grad_norm == pytest.approx(mine.grad_norm, rel=1e-3)


def test_an_unknown_loss_is_one_line() -> None:
    with pytest.raises(UserError, match=r"unknown loss 'surogate'; did you mean 'surrogate'\?"):
        find_loss("surogate")
    with pytest.raises(UserError, match="is no function of tokens"):
        world.trainer(world.model(), objective="zppo_core.algorithm.losses:__name__")
