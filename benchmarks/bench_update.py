"""Equal work by three trainers: one optimizer step's gradient over the same groups.

    python benchmarks/bench_update.py [--device cuda] [--prompt 1024 --response 256 --group 8]

Rows: `transformers` is its own forward pass on padded rows with full logits at response positions;
`padded` is ours on the same rows; `shared` runs each prompt once. Useful tokens are response tokens
and each prompt once. Each row runs in a fresh process for its peak memory, and alternates with the
others for its time. `dump` takes P and R from a run's database instead of --prompt and --response.

`--peers` adds others' trainers, on text and by their own packages (`benchmarks/peers.py`): `trl` is
the loss of TRL's GRPOTrainer, `tree` TRL's tree packing with tree-recurrence as both install here,
`tree, forked` the same with our delta rule in the place of the GPU kernel that it wants. With
`--pictures`, which TRL's trees do not take, each prompt has that many of 256 tokens.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import in_fresh_process, peak_mib, record, resting_mib, seconds
from peers import Grpo, Peer, Tree, require

from zppo_core import models
from zppo_core.algorithm.train_groups import Suffix, TrainGroup
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig
from zppo_core.models.collate import right_pad
from zppo_core.models.nano import resolve
from zppo_core.training.updater import Trainer
from zppo_core.types import EncodedPrompt

MODES = ("transformers", "padded", "shared")
PEERS = ("trl", "tree", "tree, forked")
GRID, PATCH = (32, 32), 8  # of a picture: patches, and pixels along a patch of the nano tower


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


def groups_of(a: argparse.Namespace) -> list[TrainGroup]:
    """The groups that every row learns from."""
    groups = make_groups(shapes_of(a), 0)
    if not a.pictures:
        return groups
    from gpu_models import with_pictures  # which takes `make_groups` from here

    return [with_pictures(g, a.pictures, GRID, PATCH) for g in groups]


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


class Transformers(Peer):
    """The plain way: padded rows, the model's own forward pass, one backward."""

    def rows(self, groups: Sequence[TrainGroup]) -> tuple[torch.Tensor, Any]:
        prompts = [g.prompt for g in groups for _ in g.suffixes]
        responses = [s.token_ids_T for g in groups for s in g.suffixes]
        batch = right_pad(prompts, responses, 0, self.trainer.device)
        logits = self.model(**batch.model_inputs).logits.float()
        chosen = logits[batch.response_rows, batch.response_columns - 1]
        chosen[:, self.trainer.forbidden] = -torch.inf
        targets = batch.input_ids[batch.response_rows, batch.response_columns]
        return chosen.log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1), batch

    def loss(self, groups: Sequence[TrainGroup], total: int) -> tuple[torch.Tensor, int]:
        logp, padded = self.rows(groups)
        weights = np.concatenate([s.weights_T for g in groups for s in g.suffixes])
        advantages = torch.as_tensor(weights, device=logp.device)
        ratio = (logp - logp.detach()).exp()
        return -(ratio * advantages).sum() / total, padded.input_ids.numel()

    def log_probs(self, groups: Sequence[TrainGroup]) -> np.ndarray:
        return self.rows(groups)[0].cpu().numpy()


def build(mode: str, a: argparse.Namespace) -> tuple[Any, Trainer]:
    dtype = torch.bfloat16 if a.device == "cuda" else torch.float32
    if a.model:
        model = models.load(a.model, dtype, a.device)[0]
    else:
        model = tiny(a.hidden, a.layers, a.device, dtype)
    if a.peers and not a.pictures:  # the same weights without the vision tower
        model = text_alone(model)
    kind = "padded" if mode in ("transformers", "padded", "trl") else "shared_prefix"
    settings = TrainerConfig(mode=kind, token_budget=a.budget, checkpointing=a.checkpointing)  # type: ignore[arg-type]
    optimizer = OptimizerConfig(lr=1e-9, max_grad_norm=1e9, weight_decay=0.0)
    # others keep forbidden tokens in the distribution
    forbidden = np.array([] if a.peers else [600, 601], np.int64)
    trainer = Trainer(model, forbidden, 0, settings, optimizer, LossConfig(), a.device)
    workers = {
        "transformers": Transformers,
        "trl": lambda of: Grpo(of, pictures=bool(a.pictures)),
        "tree": lambda of: Tree(of, forking=False),
        "tree, forked": lambda of: Tree(of, forking=True),
    }
    return workers.get(mode, lambda of: of)(trainer), trainer


def text_alone(model: Any) -> Any:
    """The text stack of `model` as a model of its own."""
    from transformers import Qwen3_5ForCausalLM

    alone = Qwen3_5ForCausalLM(model.config.text_config).to(model.device, model.dtype).eval()
    alone.model, alone.lm_head = model.model.language_model, model.lm_head
    return alone


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
    groups = groups_of(a)
    rest = resting_mib()
    worker.update(groups[:1])
    if a.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        worker.update(groups)
        return {"peak": torch.cuda.max_memory_allocated() / 2**20, "rest": 0.0}
    worker.update(groups)
    return {"peak": peak_mib(), "rest": rest}


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
        "pictures": 0,
    }
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--peers", action="store_true", help="rows of TRL and tree-recurrence")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    if a.peers:
        require()
    modes = MODES + (PEERS[:1] if a.pictures else PEERS) * a.peers
    if a.only:
        print(json.dumps(one(a.only, a)))
        return
    shapes = shapes_of(a)
    groups = groups_of(a)
    built = {mode: build(mode, a) for mode in modes}
    times: dict[str, list[float]] = {mode: [] for mode in modes}
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
        if isinstance(worker, Peer):
            with torch.no_grad():
                logp[mode] = worker.log_probs(groups)
        else:
            logp[mode] = np.concatenate([s for g in trainer.score(groups) for s in g])
    useful = sum(p + sum(r) for p, r in shapes)
    rows = []
    for mode in modes:
        found = gradient(built[mode][1])
        cosine = torch.nn.functional.cosine_similarity(reference, found, dim=0)
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
                "above rest": fresh["peak"] - fresh["rest"],
                "max |dlogp|": float(np.abs(logp[mode] - logp["transformers"]).max()),
                "gradient cosine": float(cosine),
                "gradient error": float((found - reference).norm() / reference.norm()),
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
    sys.path.insert(0, str(Path(__file__).parent))
    main()
