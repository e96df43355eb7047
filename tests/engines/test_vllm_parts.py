"""What of the vLLM engine needs no vLLM; the rest is in tests/vllm_engine."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import world
from hypothesis import given, settings
from hypothesis import strategies as st

from zppo_core.engines import vllm_weights
from zppo_core.engines.vllm import VllmEngine, text_prompt
from zppo_core.engines.vllm_weights import (
    cast,
    compare,
    shared_file,
    sources_of,
    sums,
    weights_identity,
)
from zppo_core.errors import UserError
from zppo_core.processes import shm as scratch
from zppo_core.types import Prompt

PACKED = {"qkv_proj": ["q_proj", "k_proj", "v_proj"], "qkv": ["qkv"]}
OWN = ["m.qkv_proj.weight", "m.o_proj.weight", "v.qkv.bias"]
MAPPED = {
    "x.q_proj.weight": "m.q_proj.weight",
    "x.k_proj.weight": "m.k_proj.weight",
    "x.v_proj.weight": "m.v_proj.weight",
    "x.o_proj.weight": "m.o_proj.weight",
    "x.vision.qkv.bias": "v.qkv.bias",
    "mtp.weight": None,
}


def test_names_are_complete_both_ways() -> None:
    sources = sources_of(MAPPED, OWN, PACKED)
    assert sources["m.qkv_proj.weight"] == [f"x.{p}_proj.weight" for p in "qkv"]
    assert sources["v.qkv.bias"] == ["x.vision.qkv.bias"]
    for name in MAPPED:
        if MAPPED[name] is not None:
            with pytest.raises(KeyError, match=r"missing .*" + str(MAPPED[name])):
                sources_of({k: v for k, v in MAPPED.items() if k != name}, OWN, PACKED)
    with pytest.raises(KeyError, match=r"left over .*x\.new"):
        sources_of(MAPPED | {"x.new": "m.new"}, OWN, PACKED)


def given_weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {n: torch.randn(6, 4, generator=generator) for n, to in MAPPED.items() if to}


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(OWN), st.integers(0, 23))
def test_a_wrong_value_is_found_wherever_it_is(name: str, at: int) -> None:
    sources = sources_of(MAPPED, OWN, PACKED)
    types = dict.fromkeys(OWN, "bfloat16") | {"m.o_proj.weight": "float32"}
    sent = dict(cast(given_weights(), sources, types, torch.bfloat16))
    assert sent["x.o_proj.weight"].dtype == torch.float32
    assert sent["x.q_proj.weight"].dtype == sent["x.vision.qkv.bias"].dtype == torch.bfloat16
    held = {n: torch.cat([sent[s].float() for s in parts]) for n, parts in sources.items()}
    told = {n: sums(t) for n, t in sent.items()}
    assert compare(told, sources, [{n: sums(t) for n, t in held.items()}]) == 3
    held[name].view(-1)[at] += 0.01
    with pytest.raises(RuntimeError, match=name.replace(".", r"\.")):
        compare(told, sources, [{n: sums(t) for n, t in held.items()}])


def test_shards_and_copies_are_compared_and_repacked_tensors_left_out() -> None:
    sources = {
        "split": ["split"],
        "copied": ["copied"],
        "stacked": ["q", "k"],
        "packed": ["packed"],
    }
    told = dict.fromkeys(("split", "copied", "q", "k", "packed"), (8, 3.0, 5.0))
    rank = {
        "split": (4, 1.5, 2.5),
        "copied": (8, 3.0, 5.0),
        "stacked": (9, 9.0, 9.0),
        "packed": (0, 0.0, 0.0),
    }
    assert compare(told, sources, [rank, rank]) == 2
    with pytest.raises(RuntimeError, match="copied"):
        compare(told, sources, [rank | {"copied": (8, 3.1, 5.0)}] * 2)
    with pytest.raises(RuntimeError, match="no tensor"):
        compare(told, {"packed": ["packed"]}, [rank])


def test_a_sync_file_holds_the_weights_and_is_gone_afterwards() -> None:
    from safetensors.torch import load_file

    weights = given_weights()
    with shared_file(weights.items(), 1000) as path:
        found = load_file(path)
    assert all(torch.equal(found[n], t) for n, t in weights.items())
    with pytest.raises(FileNotFoundError):
        load_file(path)


def test_sums_are_taken_block_by_block(monkeypatch) -> None:
    tensor = torch.randn(7, 11, generator=torch.Generator().manual_seed(0)).bfloat16()
    size, total, square = sums(tensor)
    monkeypatch.setattr(vllm_weights, "BLOCK", 10)  # the last block is shorter
    assert sums(tensor.t()) == (size, pytest.approx(total), pytest.approx(square))
    assert size == 77
    assert total == pytest.approx(float(tensor.double().sum()))


@pytest.mark.parametrize(("free", "quick"), [(1 << 40, True), (64 << 20, False)])
def test_files_lie_in_main_memory_only_if_they_fit(free: int, quick: bool, monkeypatch) -> None:
    usage = SimpleNamespace(free=free)
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(scratch.os, "access", lambda path, mode: True)
    assert (scratch.quick_folder(1 << 30) == scratch.MEMORY) == quick


def test_images_become_one_placeholder_each() -> None:
    renderer = world.renderer()
    image = renderer.processor.image_token_id
    for prompt in world.prompts(2, 1, 2):
        encoded = renderer.encode(Prompt(prompt.text, prompt.images, forced=(7, 8)))
        given = text_prompt(Prompt(prompt.text, prompt.images, forced=(7, 8)), encoded)
        ids = np.array(given["prompt_token_ids"])
        assert (ids == image).sum() == len(prompt.images)
        assert ids[ids != image].tolist() == [
            *encoded.input_ids_P[encoded.mm_token_type_ids_P == 0].tolist(),
            7,
            8,
        ]
        assert len(given.get("multi_modal_data", {"image": ()})["image"]) == len(prompt.images)


def test_a_folders_identity_is_its_content(tmp_path) -> None:
    assert weights_identity("Qwen/Qwen3.5-27B-FP8") == "Qwen/Qwen3.5-27B-FP8"
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = weights_identity(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"two")
    second = weights_identity(str(tmp_path))
    (tmp_path / "config.json").write_text('{"rope_theta": 1}')
    assert len({first, second, weights_identity(str(tmp_path))}) == 3


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is here")
def test_without_vllm_the_error_names_the_extra() -> None:
    with pytest.raises(UserError, match=r"\[gpu\]"):
        VllmEngine("nano:student", world.renderer())


def test_a_bias_is_rounded_to_the_models_type_and_other_weights_to_vllms() -> None:
    sources = sources_of(MAPPED, OWN, PACKED)
    types = dict.fromkeys(OWN, "float32")  # the CPU build widens a bias after it has rounded it
    sent = dict(cast(given_weights(), sources, types, torch.bfloat16))
    assert sent["x.vision.qkv.bias"].dtype == torch.bfloat16
    assert {t.dtype for n, t in sent.items() if not n.endswith("bias")} == {torch.float32}


def test_values_that_differ_with_the_same_sum_are_other_values() -> None:
    given, held = torch.zeros(4), torch.tensor([1.0, -1.0, 0.0, 0.0])
    with pytest.raises(RuntimeError, match="holds other values in w"):
        compare({"w": sums(given)}, {"w": ["w"]}, [{"w": sums(held)}])
