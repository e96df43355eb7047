import json
import os
import warnings
from pathlib import Path

import pytest
import torch

from zppo_core.errors import UserError
from zppo_core.models.weights import weight_hash
from zppo_core.store.checkpoint import checkpoint_of, latest_checkpoint, save_checkpoint, steps
from zppo_core.store.objects import DamagedObjectError, LocalStore, MissingObjectError
from zppo_core.training.optimizer_state import read_optimizer, write_optimizer


def write(content: str):
    return lambda folder: (folder / "state.json").write_text(content)


def test_the_newest_sound_checkpoint_is_taken(store) -> None:
    assert latest_checkpoint(store, "run") is None
    for step in (4, 8, 12):
        save_checkpoint(store, "run", step, write(f"at {step}"), keep=2)
    assert steps(store, "run") == [8, 12]
    found = latest_checkpoint(store, "run")
    assert found is not None
    assert (found.step, found.read("state.json")) == (12, b"at 12")
    store.put("run/checkpoints/step-000012/state.json", b"damaged")
    with pytest.warns(UserWarning, match="step 12 is damaged"):
        found = latest_checkpoint(store, "run")
    assert found is not None
    assert found.read("state.json") == b"at 8"


def test_a_half_written_checkpoint_does_not_exist(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    save_checkpoint(store, "run", 4, write("whole"), keep=2)

    def die(folder: Path) -> None:
        (folder / "state.json").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(store, "run", 8, die, keep=2)
    store.put("run/checkpoints/step-000008/state.json", b"half")  # copied, no manifest yet
    found = latest_checkpoint(store, "run")
    assert found is not None
    assert found.step == 4


def test_the_optimizer_returns_bit_for_bit(tmp_path: Path) -> None:
    def model_and_optimizer():
        torch.manual_seed(0)
        model = torch.nn.Linear(5, 3)
        return model, torch.optim.AdamW(model.parameters(), lr=1e-3)

    def train(model, optimizer, steps: int) -> None:
        for i in range(steps):
            optimizer.zero_grad()
            model(torch.arange(5.0) + i).square().sum().backward()
            optimizer.step()

    model, optimizer = model_and_optimizer()
    train(model, optimizer, 3)
    store = LocalStore(tmp_path)
    names = dict(model.named_parameters())
    save_checkpoint(store, "", 3, lambda f: write_optimizer(f, optimizer, names), keep=1)
    other, again = model_and_optimizer()
    other.load_state_dict(model.state_dict())
    found = latest_checkpoint(store, "")
    assert found is not None
    read_optimizer(found, again, dict(other.named_parameters()))
    train(model, optimizer, 3)
    train(other, again, 3)
    assert weight_hash(model.named_parameters()) == weight_hash(other.named_parameters())


def test_the_weight_hash_sees_names_values_and_types() -> None:
    tensor = torch.arange(4.0)
    base = weight_hash([("a", tensor)])
    assert base == weight_hash([("a", tensor.clone())])
    assert base != weight_hash([("b", tensor)])
    assert base != weight_hash([("a", tensor + 1)])
    assert base != weight_hash([("a", tensor.double())])
    assert base != weight_hash([("a", tensor.reshape(2, 2))])


def test_damage_after_the_check_is_found_on_reading(store, tmp_path: Path) -> None:
    save_checkpoint(store, "run", 4, write("right"), keep=2)
    found = checkpoint_of(store, "run", 4)
    assert found.files() == ["state.json"]
    store.put("run/checkpoints/step-000004/state.json", b"wrong")
    for use in (lambda: found.read("state.json"), lambda: found.fetch(tmp_path / "out")):
        with pytest.raises(DamagedObjectError, match=r"state\.json"):
            use()
    for missing in (lambda: found.read("other"), lambda: found.fetch(tmp_path, "student")):
        with pytest.raises(MissingObjectError):
            missing()


@pytest.mark.parametrize("how", ["a file gone", "manifest torn"])
def test_every_kind_of_damage_goes_back_one(tmp_path: Path, how: str) -> None:
    store = LocalStore(tmp_path)
    for step in (4, 8):
        save_checkpoint(store, "run", step, write(f"at {step}"), keep=2)
    place = tmp_path / "run/checkpoints/step-000008"
    if how == "a file gone":
        (place / "state.json").unlink()
    else:
        (place / "manifest.json").write_bytes(b"{")
    with pytest.warns(UserWarning, match="step 8 is damaged"):
        found = latest_checkpoint(store, "run")
    assert found is not None
    assert found.step == 4
    save_checkpoint(store, "run", 8, write("again"), keep=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = latest_checkpoint(store, "run")
    assert found is not None
    assert found.read("state.json") == b"again"


COPIES = ("step-7", "step-0007", "step-0000007", "step-0007 (copy)", "step-000007 (copy)")


def test_only_the_names_that_the_store_writes_are_checkpoints(store) -> None:
    for step in (4, 7, 1_234_567):
        save_checkpoint(store, "run", step, write(f"at {step}"), keep=3)
    for name in (*COPIES, "step-000007.old", "step-+00007", "step- 00007", "step-" + "9" * 30):
        for file in ("state.json", "manifest.json"):
            copied = store.get(f"run/checkpoints/step-000007/{file}")
            store.put(f"run/checkpoints/{name}/{file}", copied)
    assert steps(store, "run") == [4, 7, 1_234_567]
    save_checkpoint(store, "run", 8, write("at 8"), keep=2)  # copies take no real one's place
    assert steps(store, "run") == [8, 1_234_567]


def test_a_copy_under_another_steps_name_is_passed_over(store) -> None:
    """Its counters would be of another step than its name."""
    save_checkpoint(store, "run", 4, write("at 4"), keep=2)
    for key in store.list("run/checkpoints/step-000004/"):
        store.put(key.replace("000004", "000009"), store.get(key))
    with pytest.warns(UserWarning, match="step-000009 is a copy"):
        found = latest_checkpoint(store, "run")
    assert found is not None
    assert found.step == 4


@pytest.mark.parametrize("name", [*COPIES, "step-", "step-²"])
def test_a_copied_folder_is_not_exported_as_the_checkpoint_itself(tmp_path: Path, name) -> None:
    from zppo_core.run.export import export

    save_checkpoint(LocalStore(tmp_path / "run"), "", 7, write("at 7"), keep=2)
    with pytest.raises(UserError, match=r"no checkpoint's own name.*step-000007"):
        export(f"{tmp_path}/run/checkpoints/{name}", str(tmp_path / "out"), whole=True)
    done = export(f"{tmp_path}/run/checkpoints/step-000007", str(tmp_path / "out"), whole=True)
    assert done.step == 7


def test_a_rewritten_checkpoint_keeps_nothing_of_the_old(store, tmp_path: Path) -> None:
    def more(folder: Path) -> None:
        write("1")(folder)
        (folder / "student").mkdir()
        (folder / "student" / "stale.safetensors").write_bytes(b"old")

    save_checkpoint(store, "run", 4, more, keep=2)
    save_checkpoint(store, "run", 4, write("2"), keep=2)
    assert store.list("run/checkpoints/step-000004/") == [
        "run/checkpoints/step-000004/manifest.json",
        "run/checkpoints/step-000004/state.json",
    ]


def test_the_student_is_a_folder_that_transformers_loads_as_it_stands(store, tmp_path) -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    from zppo_core.models.weights import load_weights, write_student

    class Tokenizer:
        def save_pretrained(self, folder: Path) -> None:
            (Path(folder) / "tokenizer.json").write_text("{}")

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    model = LlamaForCausalLM(config)
    save_checkpoint(store, "r", 1, lambda f: write_student(f / "student", model, Tokenizer()), 1)
    found = latest_checkpoint(store, "r")
    assert found is not None
    assert "student/tokenizer.json" in found.files("student")
    found.fetch(tmp_path / "student", "student")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    assert weight_hash(loaded.named_parameters()) == weight_hash(model.named_parameters())
    torch.manual_seed(1)
    other = LlamaForCausalLM(config)
    load_weights(tmp_path / "student", other)
    assert weight_hash(other.named_parameters()) == weight_hash(model.named_parameters())


def test_settings_of_the_optimizer_return_with_their_types(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([parameter], lr=0.1 + 0.2, momentum=0.9)
    parameter.grad = torch.tensor([0.1, 0.2, 0.3])
    optimizer.step()
    store = LocalStore(tmp_path)
    save_checkpoint(store, "", 1, lambda f: write_optimizer(f, optimizer, {"w": parameter}), keep=1)
    again = torch.optim.SGD([parameter], lr=1.0)
    found = latest_checkpoint(store, "")
    assert found is not None
    read_optimizer(found, again, {"w": parameter})
    assert again.param_groups[0]["lr"] == 0.1 + 0.2
    assert torch.equal(
        again.state[parameter]["momentum_buffer"], optimizer.state[parameter]["momentum_buffer"]
    )
    assert json.loads(found.read("optimizer.json"))["settings"][0]["momentum"] == 0.9


def test_what_a_killed_writer_left_beside_checkpoints_is_swept_by_the_next(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    left = tmp_path / "run/checkpoints/.writing-killed"
    young = tmp_path / "run/checkpoints/.writing-alive"
    for folder in (left, young):
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"1")
    for path in (left / "weights", left, young):  # in the other one a file was written just now
        os.utime(path, (1, 1))
    save_checkpoint(store, "run", 1, write("1"), keep=1)
    assert not left.exists()
    assert young.exists()
