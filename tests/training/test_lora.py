"""Adapters learn, the base does not, and what others see is merged."""

import weakref
from dataclasses import replace
from pathlib import Path

import torch
import world
from transformers import AutoModelForImageTextToText

from zppo_core.config import LossConfig, TrainerConfig
from zppo_core.engines.hf import HfEngine
from zppo_core.engines.vllm_weights import shared_file
from zppo_core.models import lora, weights_name
from zppo_core.models.weights import write_student
from zppo_core.protocols import Sampling
from zppo_core.store.checkpoint import latest_checkpoint, save_checkpoint
from zppo_core.store.objects import LocalStore
from zppo_core.training.updater import Trainer


def trainer(model) -> Trainer:
    r = world.renderer()
    settings = TrainerConfig(lora_rank=4, checkpointing=True)
    optimizer = replace(world.FREE, lr=1e-2)
    return Trainer(model, r.forbidden_ids, r.pad_id, settings, optimizer, LossConfig())


def batch():
    return world.groups(world.prompts(), [2, 2, 2, 2, 2])


def test_new_adapters_change_nothing_and_only_they_learn() -> None:
    model, plain = world.model(), world.model()
    before = world.trainer(plain).score(batch())
    t = trainer(model)
    for a, b in zip(t.score(batch()), before, strict=True):
        for x, y in zip(a, b, strict=True):
            assert abs(x - y).max() < 1e-5
    assert weights_name(model) == weights_name(plain)
    assert all("lora_" in name for name in t.masters.tensors)
    assert not any("visual" in name for name in t.masters.tensors)
    first, last = t.update(batch()), None
    for _ in range(5):
        last = t.update(batch())
    assert last.grad_norm > 0
    assert first.tokens == last.tokens
    state = model.state_dict()
    for name, value in plain.state_dict().items():
        for there in (name, name.replace(".weight", ".base_layer.weight")):
            if there in state:
                assert torch.equal(state[there], value)
    assert weights_name(model) != weights_name(plain)


def test_the_merged_folder_is_an_ordinary_checkpoint_that_says_the_same(tmp_path: Path) -> None:
    model = world.model()
    t = trainer(model)
    for _ in range(3):
        t.update(batch())
    r = world.renderer()
    write_student(tmp_path, model, r.tokenizer, r.processor)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    assert loaded.state_dict().keys() == world.model().state_dict().keys()
    theirs, ours = world.trainer(loaded).score(batch()), t.score(batch())
    for a, b in zip(theirs, ours, strict=True):
        for x, y in zip(a, b, strict=True):
            assert abs(x - y).max() < 1e-4
    assert lora.parameters(model).keys() == dict(world.model().named_parameters()).keys()
    said = [
        HfEngine(m, r, "s").generate(world.prompts(2, 0, 0), Sampling(6, temperature=0.0), [1, 2])
        for m in (loaded, model)
    ]
    assert [g[0].text for g in said[0]] == [g[0].text for g in said[1]]


def test_merged_weights_are_the_sums_bit_for_bit_and_as_large_as_the_base() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model = world.model().to(dtype)
        lora.add(model, 4, 8)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_()
        merged, state = lora.parameters(model), model.state_dict()
        changed = 0
        for name, tensor in merged.items():
            stem = name.removesuffix(".weight")
            expected = state.get(name, state.get(f"{stem}.base_layer.weight"))
            if f"{stem}.base_layer.weight" in state:
                a, b = (state[f"{stem}.lora_{m}.student.weight"] for m in "AB")
                expected = (expected.float() + b.float() @ a.float() * 2.0).to(dtype)
                changed += 1
            assert torch.equal(tensor, expected)
            assert tensor.dtype == dtype
        assert changed > 10
        plain = dict(world.model().to(dtype).named_parameters())
        assert merged.keys() == plain.keys()
        told = [p.nbytes for name, p in model.named_parameters() if "lora_" not in name]
        assert sum(told) == sum(tensor.nbytes for tensor in merged.values())


def test_one_merged_weight_is_there_at_a_time(monkeypatch, tmp_path: Path) -> None:
    """All of them are a second base, for which a GPU of 24 GB has no room."""
    model = world.model()
    lora.add(model, 4, 8)
    made, make = [], lora.Merged.__getitem__

    class OnGpu(torch.Tensor):
        """A sum on a GPU: in main memory it is another tensor."""

        def cpu(self) -> torch.Tensor:  # type: ignore[override]
            return self.as_subclass(torch.Tensor).clone()

    def watched(self: lora.Merged, name: str) -> torch.Tensor:
        alive = [at for at in made if at() is not None]
        assert len(alive) <= 1  # of the loop's own name, until it is given the next
        tensor = make(self, name)
        if not self.sums(name):
            return tensor
        on = tensor.as_subclass(OnGpu)
        made.append(weakref.ref(on))
        return on

    monkeypatch.setattr(lora.Merged, "__getitem__", watched)
    weights_name(model)
    renderer = world.renderer()
    write_student(tmp_path, model, renderer.tokenizer, renderer.processor)
    with shared_file(iter(lora.parameters(model).items()), 1):
        pass
    for _ in lora.parameters(model).items():
        pass
    assert len(made) > 40


def test_a_run_goes_on_from_its_adapters_bit_for_bit(tmp_path: Path) -> None:
    one = trainer(world.model())
    one.update(batch())
    store = LocalStore(tmp_path)
    save_checkpoint(store, "", 1, one.write_state, keep=1)
    two = trainer(world.model())
    found = latest_checkpoint(store, "")
    assert found is not None
    two.read_state(found)
    for t in (one, two):
        t.update(batch())
    for name, tensor in one.masters.tensors.items():
        assert torch.equal(tensor, two.masters.tensors[name])
