"""The trainer at the paper's shapes on one GPU, random weights, no network: does it hold?

    make gpu-check        (or python benchmarks/gpu_check.py --shapes 0.8B,4B --device cuda)

For each shape, groups of 8 responses are scored and updated on by padded rows and by the shared
prefix. Checked: log-probabilities agree, gradients point the same way, and the peak of memory is no
more than the estimate. Where weights and optimizer do not fit the GPU, adapters of rank 16 learn
instead. One line of JSON in results/gpu_check.jsonl; exit status 1 if a check fails.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_update import gradient, make_groups
from common import record, seconds

from zppo_core import memory, nano
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig, load
from zppo_core.training.updater import Trainer

MODES = ("padded", "shared_prefix")
MAX_GAP = 0.05  # mean |difference of log-probabilities|, nats
MIN_COSINE = 0.98
TINY = memory.Shape(256, 4, 768, 2, 1, 4, True, 0)  # for a CPU


def shape_of(name: str) -> memory.Shape:
    """The shape of "4B", or "tiny"; KeyError for others."""
    return TINY if name == "tiny" else memory.shapes()[f"Qwen/Qwen3.5-{name}"]


def build(shape: memory.Shape, device: str, dtype: torch.dtype) -> Any:
    """A Qwen3.5 of this shape with random weights and nano's vision tower."""
    from transformers import Qwen3_5ForConditionalGeneration

    config = nano.build_config(nano.build_tokenizer())
    text = config.text_config
    text.hidden_size = config.vision_config.out_hidden_size = shape.hidden
    text.intermediate_size, text.num_hidden_layers = shape.ffn, shape.layers
    text.layer_types = [
        "full_attention" if i % memory.EVERY == memory.EVERY - 1 else "linear_attention"
        for i in range(shape.layers)
    ]
    text.num_attention_heads, text.num_key_value_heads = shape.heads, shape.kv_heads
    text.head_dim, text.vocab_size = memory.HEAD_DIM, memory.VOCAB if shape is not TINY else 1024
    text.linear_num_key_heads = min(memory.KEY_HEADS, shape.value_heads)
    text.linear_num_value_heads = shape.value_heads
    text.linear_key_head_dim = text.linear_value_head_dim = memory.LINEAR_DIM
    text.rope_parameters |= {"mrope_section": [11, 11, 10], "partial_rotary_factor": 0.25}
    text.tie_word_embeddings = config.tie_word_embeddings = shape.tied
    text.max_position_embeddings = 1 << 17
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        with torch.device(device):
            return Qwen3_5ForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)


def needed_gib(name: str, budget: int, rank: int) -> float | None:
    """What `zppo_core.memory` says that one GPU holds in the update; None for "tiny".

    Less the vision tower's share, for which nano's stands here.
    """
    if name == "tiny":
        return None
    sets = ["compute.update_processes=1", f"trainer.token_budget={budget}",
            f"trainer.lora_rank={rank}"]  # fmt: skip
    found = memory.estimate(load(name, sets))
    if found is None:
        raise ValueError(f"no estimate for {name}")
    tower = shape_of(name).vision_params * (2 if rank else 16)
    return sum(need.gib for need in found.update) - tower / memory.GIB


def fits(held: float | None, limit: float | None) -> bool:
    """Whether `held` is within `limit`, where both are known."""
    return held is None or limit is None or held <= limit


def check(name: str, a: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each way of running the passes."""
    shape, cuda = shape_of(name), a.device == "cuda"
    rank, estimate = 0, needed_gib(name, a.budget, 0)
    whole = torch.cuda.get_device_properties(0).total_memory / memory.GIB if cuda else None
    if not fits(estimate, whole):
        rank, estimate = 16, needed_gib(name, a.budget, 16)
    dtype = torch.bfloat16 if cuda else torch.float32
    groups = make_groups([(a.prompt, [a.response] * 8) for _ in range(a.groups)], 0)
    rows, logps, gradients = [], {}, {}
    for mode in MODES:
        trainer = Trainer(
            build(shape, a.device, dtype), np.array([5, 6]), 0,
            TrainerConfig(mode=mode, token_budget=a.budget, checkpointing=True, lora_rank=rank),  # type: ignore[arg-type]
            OptimizerConfig(lr=1e-9, max_grad_norm=1e9, weight_decay=0.0), LossConfig(), a.device,
        )  # fmt: skip
        logps[mode] = np.concatenate([s for g in trainer.score(groups) for s in g])
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        trainer.update(groups)  # warms up
        taken = seconds(lambda trainer=trainer: trainer.update(groups), a.device)
        gradients[mode] = gradient(trainer).cpu()
        rows.append(
            {
                "shape": name, "passes": mode, "learns": "adapters" if rank else "all",
                "update s": taken,
                "useful tokens/s": a.groups * (a.prompt + 8 * a.response) / taken,
                # torch does not count what a CPU holds: there, memory is not checked
                "peak GiB": torch.cuda.max_memory_allocated() / memory.GIB if cuda else None,
                "estimate GiB": estimate,
            }
        )  # fmt: skip
        del trainer
        if cuda:
            torch.cuda.empty_cache()
    gap = float(np.abs(logps[MODES[0]] - logps[MODES[1]]).mean())
    cosine = float(torch.nn.functional.cosine_similarity(*gradients.values(), dim=0))
    agree = gap <= MAX_GAP and cosine >= MIN_COSINE
    for row in rows:
        row |= {"mean |dlogp|": gap, "gradient cosine": cosine}
        row["holds"] = agree and fits(row["peak GiB"], row["estimate GiB"])
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", default="0.8B,4B", help="0.8B, 2B, 4B, 9B, or tiny")
    parser.add_argument("--device", default="cuda")
    defaults = {"prompt": 2048, "response": 1024, "groups": 2, "budget": 16_384}
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    a = parser.parse_args()
    if a.device == "cuda" and not torch.cuda.is_available():
        print("gpu-check: no GPU here; --device cpu --shapes tiny tries the script itself")
        return 2
    rows = [row for name in a.shapes.split(",") for row in check(name, a)]
    record("gpu_check", vars(a), rows)
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
