"""Equal work by three trainers: one optimizer step's gradient over the same groups.

    python benchmarks/bench_update.py [--device cuda] [--prompt 1024 --response 256 --group 8]

Rows: `transformers` is its own forward pass on padded rows with full logits at response positions;
`padded` is ours on the same rows; `shared` runs each prompt once. Useful tokens are response tokens
and each prompt once. Each row runs in a fresh process for its peak memory, and alternates with the
others for its time. `dump` takes P and R from a run's database instead of --prompt and --response.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import in_fresh_process, peak_mib, record, seconds

from zppo_core import models
from zppo_core.algorithm.train_groups import Suffix, TrainGroup
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig
from zppo_core.models.collate import right_pad
from zppo_core.models.nano import resolve
from zppo_core.training.updater import Trainer
from zppo_core.types import EncodedPrompt

MODES = ("transformers", "padded", "shared")


def tiny(hidden: int, layers: int, device: str, dtype: torch.dtype) -> Any:
    """A Qwen3.5 with random weights, three of four layers gated-delta as in the real ones."""
    from transformers import AutoConfig, Qwen3_5ForConditionalGeneration

    config: Any = AutoConfig.from_pretrained(resolve("nano:student"))
    text = config.text_config
    text.hidden_size = config.vision_config.out_hidden_size = hidden
    text.intermediate_size, text.num_hidden_layers = 3 * hidden, layers
    text.layer_types = [
        "full_attention" if i % 4 == 3 else "linear_attention" for i in range(layers)
    ]
    text.num_attention_heads, text.num_key_value_heads, text.head_dim = hidden // 64, 1, 64
    text.rope_parameters["mrope_section"] = [4, 2, 2]
    text.linear_num_key_heads = text.linear_num_value_heads = hidden // 64
    text.max_position_embeddings = 1 << 17
    torch.manual_seed(0)
    return Qwen3_5ForConditionalGeneration(config).to(device, dtype).eval()


def make_groups(shapes: list[tuple[int, list[int]]], seed: int) -> list[TrainGroup]:
    """Random text groups: (prompt tokens, response tokens of each member)."""
    rng = np.random.default_rng(seed)
    groups = []
    for i, (prompt, responses) in enumerate(shapes):
        ids = rng.integers(20, 500, prompt)
        suffixes = tuple(
            Suffix(
                rng.integers(20, 500, r).astype(np.int32),
                np.ones(r, bool),
                np.full(r, rng.normal(), np.float32),
                np.zeros(r, np.float32),
            )
            for r in responses
        )
        groups.append(TrainGroup(str(i), "plain", EncodedPrompt(ids, np.zeros_like(ids)), suffixes))
    return groups


def shapes_of(arguments: argparse.Namespace) -> list[tuple[int, list[int]]]:
    """P and R of each group, drawn around the given means, or from a run's database."""
    if arguments.dump:
        import duckdb

        with duckdb.connect(arguments.dump, read_only=True) as db:
            rows = db.execute(
                "SELECT g.prompt_tokens, list(len(r.token_ids) ORDER BY member) FROM groups g "
                "JOIN rollouts r USING (run_key, step, uid) WHERE g.kind = ? "
                "GROUP BY g.run_key, g.step, g.uid, g.prompt_tokens ORDER BY g.run_key, g.step, "
                "g.uid LIMIT ?",
                [arguments.kind, arguments.groups],
            ).fetchall()
        return [(p, list(r)) for p, r in rows]
    rng = np.random.default_rng(1)
    spread = lambda mean: int(mean * rng.uniform(0.8, 1.2))  # noqa: E731
    return [
        (spread(arguments.prompt), [spread(arguments.response) for _ in range(arguments.group)])
        for _ in range(arguments.groups)
    ]


class Transformers:
    """The plain way: padded rows, the model's own forward pass, one backward."""

    def __init__(self, model: Any, trainer: Trainer) -> None:
        self.model, self.trainer = model, trainer

    def rows(self, groups: list[TrainGroup]) -> tuple[torch.Tensor, Any]:
        prompts = [g.prompt for g in groups for _ in g.suffixes]
        responses = [s.token_ids_T for g in groups for s in g.suffixes]
        batch = right_pad(prompts, responses, 0, self.trainer.device)
        logits = self.model(**batch.model_inputs).logits.float()
        chosen = logits[batch.response_rows, batch.response_columns - 1]
        chosen[:, self.trainer.forbidden] = -torch.inf
        targets = batch.input_ids[batch.response_rows, batch.response_columns]
        return chosen.log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1), batch

    def update(self, groups: list[TrainGroup]) -> int:
        self.trainer.masters.zero_grad()
        total, computed = sum(g.tokens for g in groups), 0
        for batch in self.trainer._batches(groups):
            parts = [part for _, part in batch]
            logp, padded = self.rows(parts)
            weights = np.concatenate([s.weights_T for g in parts for s in g.suffixes])
            advantages = torch.as_tensor(weights, device=logp.device)
            ratio = (logp - logp.detach()).exp()
            (-(ratio * advantages).sum() / total).backward()
            computed += padded.input_ids.numel()
        self.trainer.optimizer.step()
        return computed


def build(mode: str, a: argparse.Namespace) -> tuple[Any, Trainer]:
    dtype = torch.bfloat16 if a.device == "cuda" else torch.float32
    if a.model:
        model = models.load(a.model, dtype, a.device)[0]
    else:
        model = tiny(a.hidden, a.layers, a.device, dtype)
    kind = "shared_prefix" if mode == "shared" else "padded"
    settings = TrainerConfig(mode=kind, token_budget=a.budget, checkpointing=a.checkpointing)  # type: ignore[arg-type]
    optimizer = OptimizerConfig(lr=1e-9, max_grad_norm=1e9, weight_decay=0.0)
    forbidden = np.array([600, 601])
    trainer = Trainer(model, forbidden, 0, settings, optimizer, LossConfig(), a.device)
    return (Transformers(model, trainer) if mode == "transformers" else trainer), trainer


def gradient(trainer: Trainer) -> torch.Tensor:
    """The last update's gradient, flat, in float32.

    Read where it was summed: a low-precision parameter hands its own over to its master.
    """
    masters = trainer.masters.tensors.values()
    return torch.cat([p.grad.flatten().float() for p in masters if p.grad is not None])


def sampled_gradients(trainer: Trainer, most: int = 1 << 27) -> dict[str, torch.Tensor]:
    """The last update's gradients of layers of every kind, by name, in the weights' own dtype.

    Tensors of more than `most` elements are left out, and so are middle layers: a copy of all would
    not fit beside a large model.
    """
    names = list(trainer.masters.tensors)
    layers = sorted({int(n) for n in (_layer(name) for name in names) if n is not None})
    kept = {*layers[:4], *layers[-1:]}
    result = {}
    for name, parameter in trainer.masters.parameters.items():
        grad, layer = trainer.masters.tensors[name].grad, _layer(name)
        if grad is None or grad.numel() > most or (layer is not None and layer not in kept):
            continue
        if grad.count_nonzero():
            result[name] = grad.to(parameter.dtype, copy=True)
    return result


def _layer(name: str) -> int | None:
    """The number of the text layer that a parameter belongs to."""
    match = re.search(r"language_model\.layers\.(\d+)\.", name)
    return int(match.group(1)) if match else None


def one(mode: str, a: argparse.Namespace) -> dict[str, float]:
    """Peak memory of one update above what the model and its optimizer hold, in this process."""
    worker = build(mode, a)[0]
    groups = make_groups(shapes_of(a), 0)
    worker.update(groups[:1])
    if a.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        worker.update(groups)
        return {"peak": torch.cuda.max_memory_allocated() / 2**20}
    worker.update(groups)
    return {"peak": peak_mib()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="", help="a checkpoint; default: random weights")
    parser.add_argument("--dump", default="", help="a run's DuckDB file")
    parser.add_argument("--kind", default="bcq", help="kind of groups to take from the dump")
    defaults = {
        "hidden": 256,
        "layers": 4,
        "prompt": 768,
        "response": 256,
        "group": 8,
        "groups": 4,
        "budget": 16_384,
        "repeats": 3,
    }
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.only:
        print(json.dumps(one(a.only, a)))
        return
    shapes = shapes_of(a)
    groups = make_groups(shapes, 0)
    built = {mode: build(mode, a) for mode in MODES}
    times: dict[str, list[float]] = {mode: [] for mode in MODES}
    computed = {}
    for repeat in range(a.repeats + 1):
        for mode, (worker, _) in built.items():
            taken = seconds(
                lambda worker=worker: computed.update(n=worker.update(groups)), a.device
            )
            if repeat:  # the first warms up
                times[mode].append(taken)
            n = computed["n"]
            computed[mode] = n if isinstance(n, int) else n.computed_tokens
    reference = gradient(built["transformers"][1])
    logp = {}
    for mode, (worker, trainer) in built.items():
        if mode == "transformers":
            with torch.no_grad():
                logp[mode] = worker.rows(groups)[0].cpu().numpy()
        else:
            logp[mode] = np.concatenate([s for g in trainer.score(groups) for s in g])
    useful = sum(p + sum(r) for p, r in shapes)
    rows = []
    for mode in MODES:
        cosine = torch.nn.functional.cosine_similarity(reference, gradient(built[mode][1]), dim=0)
        fresh = in_fresh_process(__file__, *sys.argv[1:], "--only", mode)
        best = min(times[mode])
        rows.append(
            {
                "mode": mode,
                "step s": best,
                "tokens/s": computed[mode] / best,
                "useful tokens/s": useful / best,
                "speed": min(times["transformers"]) / best,
                "peak MiB": fresh["peak"],
                "max |dlogp|": float(np.abs(logp[mode] - logp["transformers"]).max()),
                "gradient cosine": float(cosine),
            }
        )
    p, r = np.mean([p for p, _ in shapes]), np.mean([x for _, rs in shapes for x in rs])
    g = np.mean([len(rs) for _, rs in shapes])
    bound = g * (p + r) / (p + g * r)
    print(
        f"P = {p:.0f}, R = {r:.0f}, G = {g:.0f}: bound on the saving {bound:.2f}x, "
        f"reached {min(times['padded']) / min(times['shared']):.2f}x over padded"
    )
    record("bench_update", {**vars(a), "P": p, "R": r, "G": g, "bound": bound}, rows)


if __name__ == "__main__":
    torch.set_num_threads(torch.get_num_threads())
    sys.path.insert(0, str(Path(__file__).parent))
    main()
