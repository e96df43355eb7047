"""Small steps on bfloat16 weights: they would be rounded away without float32 masters."""

from pathlib import Path

import torch
import world

from zppo_core.config import OptimizerConfig
from zppo_core.store.checkpoint import latest_checkpoint, save_checkpoint
from zppo_core.store.objects import LocalStore
from zppo_core.training.updater import adamw

PAPER = OptimizerConfig(lr=1e-6, weight_decay=0.1, max_grad_norm=1.0)


def moved(now: list[torch.Tensor], start: list[torch.Tensor]) -> float:
    """The share of entries that differ."""
    count = sum(int((a != b).sum()) for a, b in zip(now, start, strict=True))
    return count / sum(t.numel() for t in start)


def test_at_the_papers_learning_rate_masters_move_where_bfloat16_weights_stay() -> None:
    """Three steps; without masters the optimizer steps the bfloat16 weights themselves."""
    groups = world.groups(world.prompts(), [2, 2, 2, 2, 2])
    bare = world.model(torch.bfloat16)
    trainer = world.trainer(bare, optimizer=PAPER)
    start = [p.detach().clone() for p in bare.parameters()]
    naive = adamw(bare.parameters(), PAPER)
    for _ in range(3):
        trainer.masters.zero_grad()
        trainer.part_loss(groups, 1.0).loss.backward()
        naive.step()
    assert moved(list(bare.parameters()), start) < 0.02

    model = world.model(torch.bfloat16)
    trainer = world.trainer(model, optimizer=PAPER)
    before = [t.clone() for t in trainer.masters.tensors.values()]
    for _ in range(3):
        trainer.update(groups)
    after = list(trainer.masters.copies.values())
    far = torch.cat([(a - b).abs().flatten() for a, b in zip(after, before, strict=True)])
    touched = far[far > 0]  # rows of the embedding that no token asks for have no gradient
    assert moved(after, before) > 0.5
    assert 1e-6 < float(touched.median()) < 4e-6  # three steps of 1e-6
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, trainer.masters.tensors[name].bfloat16())


def test_micro_batches_of_bfloat16_are_summed_in_float32() -> None:
    groups = world.groups(world.prompts(), [2, 1, 4, 3, 2])

    def gradient(budget: int) -> torch.Tensor:
        model = world.model(torch.bfloat16)
        trainer = world.trainer(model, budget=budget)
        trainer.update(groups)
        return torch.cat([t.grad.flatten() for t in trainer.masters.tensors.values()])

    whole, pieces = gradient(100_000), gradient(1)
    assert whole.dtype == torch.float32
    assert world.relative(pieces, whole) < 0.05  # the passes themselves are bfloat16


def test_a_run_goes_on_from_its_masters_bit_for_bit(tmp_path: Path) -> None:
    groups = world.groups(world.prompts(), [2, 2, 2, 2, 2])
    model = world.model(torch.bfloat16)
    first = world.trainer(model, optimizer=PAPER)
    first.update(groups)
    store = LocalStore(tmp_path)
    save_checkpoint(store, "", 1, first.write_state, keep=1)
    other = world.model(torch.bfloat16)
    other.load_state_dict(model.state_dict())
    second = world.trainer(other, optimizer=PAPER)
    found = latest_checkpoint(store, "")
    assert found is not None
    second.read_state(found)
    for trainer in (first, second):
        trainer.update(groups)
    for name, master in first.masters.tensors.items():
        assert torch.equal(master, second.masters.tensors[name])
        assert not torch.equal(master, master.bfloat16().float())


def test_float32_weights_are_their_own_masters() -> None:
    assert not world.trainer(world.model()).masters.copies
