"""Estimates against transformers' own shapes, sums by hand, and what a pass really keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.models.qwen3_5 import (
    Qwen3_5TextConfig,
    Qwen3_5VisionConfig,
    Qwen3_5VisionModel,
)

from zppo_core.config import load
from zppo_core.engines.vllm_kind import vllm_settings
from zppo_core.models import memory
from zppo_core.models.qwen3_5 import shape as qwen
from zppo_core.models.qwen3_5.hybrid import HybridText, checkpointed
from zppo_core.training import deepspeed, lm_head

GIB = 2**30
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "gpu"
SIZES = {
    "Qwen/Qwen3.5-0.8B": 0.8e9,
    "Qwen/Qwen3.5-2B": 2e9,
    "Qwen/Qwen3.5-4B": 4e9,
    "Qwen/Qwen3.5-9B": 9e9,
    "Qwen/Qwen3.5-27B-FP8": 27e9,
}


@pytest.mark.parametrize("name", sorted(SIZES))
def test_parameters_are_those_that_transformers_makes(name: str) -> None:
    s = memory.shapes()[name]
    config = Qwen3_5TextConfig(
        vocab_size=qwen.VOCAB,
        hidden_size=s.hidden,
        num_hidden_layers=s.layers,
        intermediate_size=s.ffn,
        num_attention_heads=s.heads,
        num_key_value_heads=s.kv_heads,
        head_dim=256,
        linear_num_value_heads=s.value_heads,
        tie_word_embeddings=s.tied,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert s.text_params == model.num_parameters()
    # the name says the size, roughly: embeddings and vision are often not counted
    assert 0.9 < s.params / SIZES[name] < 1.2


def test_the_4b_preset_by_hand() -> None:
    """6 ranks, ZeRO-2, bfloat16: 2 P of weights, 4 P / 6 and a bucket of gradients, 12 P / 6 of
    optimizer."""
    config = load("4B")
    found = memory.estimate(config)
    assert found is not None
    p = memory.shapes()["Qwen/Qwen3.5-4B"].params
    needs = {n.what: n.gib for n in found.update}
    assert needs["weights"] == pytest.approx(2 * p / GIB)
    assert needs["gradients"] == pytest.approx((4 * p / 6 + 8 * memory.BUCKET) / GIB)
    assert needs["optimizer"] == pytest.approx(12 * p / 6 / GIB)
    # beside the engine a rank takes up one whole weight in float32: the embedding
    rollout = {n.what: n.gib for n in found.rollout}
    assert rollout["a whole weight"] == pytest.approx(4 * qwen.VOCAB * 2560 / GIB)
    one = memory.estimate(load("4B", ["compute.update_processes=1"]))
    assert one is not None
    assert "a whole weight" not in {n.what for n in one.rollout}
    # keys and values: 8 full layers x 2 x 4 heads x 256 x 2 bytes a token
    assert memory.shapes()["Qwen/Qwen3.5-4B"].cache_bytes == 8 * 2 * 4 * 256 * 2
    teacher = memory.shapes()["Qwen/Qwen3.5-27B-FP8"]
    assert found.teacher[0].gib == pytest.approx(teacher.params / 2 / GIB)


def test_one_process_and_distillation_by_hand() -> None:
    """One process has the float32 sum of gradients, and the teacher that a distillation looks at
    lies on every rank."""
    p = memory.shapes()["Qwen/Qwen3.5-4B"].params
    alone = memory.estimate(load("4B", ["compute.update_processes=1"]))
    distil = memory.estimate(load("4B", ["run.method=on_distill"]))
    assert alone is not None
    assert distil is not None
    needs = {n.what: n.gib for n in alone.update}
    assert needs["gradients"] == pytest.approx(4 * p / GIB)
    assert needs["weights"] == pytest.approx(2 * p / GIB)
    teacher = memory.shapes()["Qwen/Qwen3.5-27B-FP8"]
    for phase in (distil.update, distil.rollout):
        assert {n.what: n.gib for n in phase}["teacher"] == pytest.approx(teacher.params / GIB)


def test_constants_are_those_of_the_trainer() -> None:
    assert lm_head.chunk_tokens(qwen.VOCAB, torch.device("cuda")) == qwen.HEAD_TOKENS
    assert deepspeed.BUCKET == memory.BUCKET


def test_every_preset_fits_the_papers_gpus_and_says_so() -> None:
    for scale in ("0.8B", "2B", "4B", "9B"):
        assert memory.fault(load(scale), 80.0) == ""
    assert memory.estimate(load("nano")) is None


@pytest.mark.parametrize(
    ("sets", "gib", "words"),
    [
        ([], 24.0, "vLLM gets"),
        (["trainer.token_budget=262144"], 80.0, "it fits with --set trainer.token_budget="),
        (
            ["compute.update_processes=1"],
            80.0,
            'it fits with --set "compute.offload=true;trainer.token_budget=16384"',
        ),
        (["trainer.checkpointing=false"], 80.0, "take more or larger GPUs"),
    ],
)
def test_what_does_not_fit_is_told_with_the_smallest_change(sets, gib, words) -> None:
    said = memory.fault(load("9B", sets), gib)
    assert words in said
    assert "GiB" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("scale", "gib", "blocks"),
    # by vLLM 0.32's own formulas, with 2 GiB for its trial pass
    [("9B", 32.0, 753), ("4B", 32.0, 1317), ("4B", 9.6, 0)],
)
def test_an_engines_cache_has_the_blocks_of_vllms_rule(scale: str, gib: float, blocks: int) -> None:
    shape = memory.shapes()[f"Qwen/Qwen3.5-{scale}"]
    assert shape.block_bytes == 528 * 8 * 2 * 4 * 256 * 2
    assert memory.cache_blocks(shape, gib) == pytest.approx(blocks, rel=0.03)
    settings = vllm_settings(load(scale), 0.4, f"Qwen/Qwen3.5-{scale}", gpu_gib=gib / 0.4)
    assert settings["max_num_seqs"] <= max(1, blocks)  # or it does not start


def test_an_engine_that_cannot_start_is_told_with_its_share() -> None:
    tight = load("4B@lora-24gb", ["teacher.endpoint=http://there/v1", "compute.engine_memory=0.4"])
    assert memory.fault(tight, 24.0).endswith("it fits with --set compute.engine_memory=0.5")
    assert memory.fault(load("4B@lora-24gb", ["teacher.endpoint=http://there/v1"]), 24.0) == ""
    assert "take larger GPUs" in memory.fault(load("9B@lora-24gb"), 24.0)


def test_a_teacher_that_does_not_fit_is_told_too() -> None:
    said = memory.fault(load("0.8B", ["compute.teacher_gpus=1", "compute.engine_memory=0.2"]), 28.0)
    assert said.startswith("a teacher's GPU needs 29 of 25 GiB (weights 25")
    assert "teacher.endpoint" in said


@pytest.mark.parametrize(
    ("more", "gib", "words"),
    [
        (1, 80.0, ""),  # 15 of 36 GiB on each of two GPUs
        (3, 80.0, ""),  # 15 of 18 GiB
        (4, 80.0, "each of 5 teachers needs 15 of 14 GiB (weights 13"),
        (1, 32.0, "each of 2 teachers needs 15 of 14 GiB (weights 13"),
    ],
)
def test_teachers_of_the_same_gpus_are_all_counted(more: int, gib: float, words: str) -> None:
    others = "teacher.more_models=" + ",".join(["Qwen/Qwen3.5-27B-FP8"] * more)
    several = load("0.8B", ["run.method=zppo_teachers", others, "compute.engine_memory=0.2"])
    told, alone = memory.estimate(several), memory.estimate(load("0.8B"))
    assert told is not None
    assert alone is not None
    assert told.teacher_gib == pytest.approx((1 + more) * alone.teacher_gib)
    assert [n.what for n in told.teacher] == [n.what for n in alone.teacher]
    said = memory.fault(several, gib)
    assert said.startswith(words)
    assert bool(said) == bool(words)
    beside = replace(several, compute=replace(several.compute, teacher_gpus=0))
    assert "beside the student's engine each of" in memory.fault(beside, 80.0)


def test_a_teacher_beside_the_students_engine_has_that_engines_share_of_the_gpu() -> None:
    assert memory.fault(load("4B@one-gpu"), 80.0) == ""  # 8 of weights, two shares of 32
    said = memory.fault(load("9B@one-gpu"), 80.0)
    assert "needs 87 of 80 GiB" in said
    assert said.endswith("set teacher.endpoint")
    said = memory.fault(load("4B@lora-24gb"), 24.0)
    assert said.startswith("beside the student's engine a teacher needs 29 of 12 GiB (weights 25")
    for layout, gib in (("9B@one-gpu", 80.0), ("4B@lora-24gb", 24.0)):
        assert memory.fault(load(layout, ["teacher.endpoint=http://there:8000/v1"]), gib) == ""


@contextmanager
def kept_by(model: torch.nn.Module) -> Iterator[dict[int, int]]:
    """Bytes that autograd keeps within, by storage; the model's weights are not counted."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}
    alive: list[torch.Tensor] = []  # or an address would be used again

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
        yield kept


@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize(("hidden", "ffn", "depth"), [(256, 1024, 4), (384, 1152, 2)])
def test_a_tower_keeps_what_the_estimate_says(
    checkpointing: bool, hidden: int, ffn: int, depth: int
) -> None:
    """Within 15 %, on pictures of several sizes."""
    config = Qwen3_5VisionConfig(
        depth=depth,
        hidden_size=hidden,
        intermediate_size=ffn,
        num_heads=4,
        out_hidden_size=64,
        num_position_embeddings=48**2,
    )
    tower = Qwen3_5VisionModel(config).to(torch.bfloat16).eval()
    grids = torch.tensor([[1, 16, 24], [1, 20, 12]])
    patches = int(grids.prod(-1).sum())
    pixels = torch.randn(patches, qwen.PIXELS, dtype=torch.bfloat16)
    with kept_by(tower) as kept, checkpointed(tower.blocks) if checkpointing else nullcontext():
        tower(pixels, grids)
    shape = qwen.Shape(64, 4, 128, 1, 1, 1, True, 0, hidden, depth, ffn)
    told, again = shape.tower_bytes(patches // qwen.PATCHES, checkpointing)
    assert sum(kept.values()) == pytest.approx(told, rel=0.15)
    assert again == (2 * patches * (11 * hidden + 2 * ffn) if checkpointing else 0)


def test_pictures_count_where_the_tower_learns() -> None:
    def activations(*sets: str) -> float:
        found = memory.estimate(load("9B", sets))
        assert found is not None
        return {n.what: n.gib for n in found.update}["activations"]

    frozen = activations("trainer.train_vision=false")
    # 131,072 patches, in two bytes: 27 inputs of layers, pixels, and five widths around the merger
    kept = 32_768 * 4 * 2 * (27 * 1_152 + 1_536 + 5 * 1_152)
    assert activations() - frozen == pytest.approx(kept / GIB)
    adapters = "trainer.lora_rank=16"
    assert activations(adapters) == activations(adapters, "trainer.train_vision=false")


@pytest.mark.parametrize("checkpointing", [True, False])
def test_activations_are_within_a_factor_of_two_of_what_a_pass_keeps(checkpointing: bool) -> None:
    """Counted by autograd's own hooks on a model of the family with wide layers."""
    config = Qwen3_5TextConfig(
        vocab_size=512,
        hidden_size=256,
        num_hidden_layers=8,
        intermediate_size=896,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=256,
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        tie_word_embeddings=True,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [11, 11, 10],
            "partial_rotary_factor": 0.25,
        },
    )
    model = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    text, tokens = HybridText(model, checkpointing), 2048
    ids, lengths = torch.randint(0, 512, (8, tokens // 8)), torch.full((8,), tokens // 8)
    with kept_by(model) as kept:
        segment, position = text.embed_prompts(ids, lengths)
        hidden, _ = text.run(segment, None, position)
        hidden.sum()
    shape = qwen.Shape(256, 8, 896, 1, 1, 2, True, 0, 0, 0, 0)
    # a layer that is computed again comes only in the backward pass
    told = tokens * 2 * 256 * 8 if checkpointing else 8 * shape.layer_bytes(tokens)
    assert 0.5 < told / sum(kept.values()) < 2.0


def on_an_h100() -> list[dict[str, Any]]:
    """Updates that `benchmarks/gpu_check.py` has measured since its kernels are what they are."""
    paths = sorted(RESULTS.glob("2026-11-28-[3-9].jsonl"))
    return [row for p in paths for row in json.loads(p.read_text())["tables"]["update"]]


@pytest.mark.parametrize("row", on_an_h100(), ids=lambda r: f"{r['shape']}-{r['P']}-{r['R']}")
def test_the_estimate_is_within_3_percent_of_the_peak_of_an_h100(row) -> None:
    config = load(row["shape"], ["compute.update_processes=1"])
    useful = row["useful tokens/s"] * row["s"]
    computed = round(useful * row["MFU computed"] / row["MFU useful"])
    passes = memory.Passes(
        computed // row["micro-batches"], 0, row["micro-batches"], row["step"] == "whole"
    )
    student = memory.shapes()[config.student.model]
    needs = memory.update_needs(config, student, passes)
    told = sum(n.gib for n in needs) - memory.CONTEXT
    assert told == pytest.approx(row["peak GiB"], rel=0.03)


def test_the_most_is_at_the_head_in_a_layer_or_where_gradients_are_left() -> None:
    shape = memory.shapes()["Qwen/Qwen3.5-4B"]
    few, many = (shape.activation_bytes(n, True) for n in (512, 65_536))
    assert few == 512 * 2 * 2560 * 32 + 5 * 512 * qwen.VOCAB + 6 * qwen.VOCAB * 2560
    layer = round(shape.layer_bytes(65_536) * qwen.BACKWARD)
    assert many == 65_536 * 2 * 2560 * 32 + 2 * qwen.VOCAB * 2560 + layer
    handed = 2 * shape.params
    left = shape.activation_bytes(8_192, True, 0, handed)
    assert left == handed + round(shape.layer_bytes(8_192) * qwen.BACKWARD)


def test_the_longest_prompt_is_an_ncq_of_a_whole_group_whose_answers_stand_there_once_more() -> (
    None
):
    config = load("4B", ["rollout.group_size=8", "reformulation.candidate_tokens=512"])
    assert memory.longest(config) == 4096 + 2 * 8 * 512 + memory.ROOM + 12288


def test_an_engine_has_no_more_sequences_at_once_than_vllm_takes_by_itself() -> None:
    shape = memory.shapes()["Qwen/Qwen3.5-0.8B"]
    assert memory.sequences(shape, 10_000.0) == 256
    assert memory.sequences(shape, 0.0) == 1
