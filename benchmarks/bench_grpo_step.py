"""One whole GRPO step against TRL's GRPOTrainer: rollouts, rewards, update.

    python benchmarks/bench_grpo_step.py [--prompts 16 --prompt 256 --group 8 --new 64]

The same random Qwen3.5 (text), prompts, group size, sampling at temperature 1 and number of new
tokens (no end token), one update a step, no KL term, float32. Processes of both alternate; each
does a warm-up step and three more, and the fastest counts. TRL generates by transformers' generate,
as it does without vLLM. Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from common import in_fresh_process, peak_mib, record, resting_mib

from zppo_core.algorithm.train_groups import Suffix, TrainGroup
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig
from zppo_core.engines.hf import HfEngine
from zppo_core.models.nano import build as nano
from zppo_core.models.renderer import Renderer
from zppo_core.protocols import Sampling
from zppo_core.training.updater import Trainer
from zppo_core.types import EncodedPrompt, Prompt

STEPS = 3


def text_model(hidden: int, layers: int) -> Any:
    from bench_update import tiny
    from transformers import Qwen3_5ForCausalLM

    config = tiny(hidden, layers, "cpu", torch.float32).config.text_config
    torch.manual_seed(0)
    return Qwen3_5ForCausalLM(config).eval()


def texts(a: argparse.Namespace, tokenizer: Any) -> list[str]:
    """Prompts of `a.prompt` tokens each."""
    rng = np.random.default_rng(0)
    words = [tokenizer.decode([i]) for i in range(300, 500)]
    made = []
    for _ in range(a.prompts):
        ids = tokenizer("".join(rng.choice(words, 4 * a.prompt)))["input_ids"][: a.prompt]
        made.append(tokenizer.decode(ids))
    return made


def rewards(responses: list[Any]) -> list[float]:
    """Something cheap that differs within a group."""
    return [float(sum(map(int, r)) % 2) for r in responses]


class Phases:
    """Wall time by phase; nested calls count inside their caller's phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def wrap(self, owner: Any, name: str, phase: str) -> None:
        real = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return real(*arguments, **named)
            finally:
                self.seconds[phase] += time.perf_counter() - start

        setattr(owner, name, timed)


def ours(a: argparse.Namespace) -> dict[str, Any]:
    tokenizer = nano.build_tokenizer()
    model = text_model(a.hidden, a.layers)
    renderer = Renderer(tokenizer, None, nano.VOCAB)
    renderer.end_ids = ()  # every response runs to its cap
    memo = {t: np.array(tokenizer(t)["input_ids"]) for t in texts(a, tokenizer)}
    renderer.encode = lambda p: EncodedPrompt(memo[p.text], np.zeros_like(memo[p.text]))  # type: ignore[method-assign]
    engine = HfEngine(model, renderer, "bench")
    settings = TrainerConfig(token_budget=a.budget, checkpointing=False)
    trainer = Trainer(
        model,
        renderer.forbidden_ids,
        0,
        settings,
        OptimizerConfig(lr=1e-6, weight_decay=0.0),
        LossConfig(),
    )
    prompts = [Prompt(t) for t in memo]
    phases, steps = Phases(), []
    phases.wrap(engine, "generate", "generate")
    phases.wrap(trainer, "update", "update")
    rest = resting_mib()
    for step in range(STEPS + 1):
        phases.seconds.clear()
        start = time.perf_counter()
        made = engine.generate(prompts, Sampling(a.new, a.group), range(step, step + len(prompts)))
        groups = []
        for prompt, own in zip(prompts, made, strict=True):
            r = np.array(rewards([c.token_ids_T for c in own]))
            advantages = (r - r.mean()) / (r.std() + 1e-4)
            suffixes = tuple(
                Suffix(c.token_ids_T, np.ones(a.new, bool), np.full(a.new, v, np.float32), c.logp_T)
                for c, v in zip(own, advantages, strict=True)
            )
            groups.append(TrainGroup(prompt.text, "plain", renderer.encode(prompt), suffixes))
        trainer.update(groups)
        steps.append((time.perf_counter() - start, dict(phases.seconds)))
    seconds, parts = min(steps[1:], key=lambda s: s[0])
    return {"seconds": seconds, "phases": parts, "peak": peak_mib(), "rest": rest}


def trl(a: argparse.Namespace) -> dict[str, Any]:
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    tokenizer = nano.build_tokenizer()
    tokenizer.padding_side = "left"
    batch = a.prompts * a.group
    with tempfile.TemporaryDirectory() as folder:
        arguments = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=a.micro,
            max_steps=STEPS + 1,
            gradient_accumulation_steps=batch // a.micro,
            num_generations=a.group,
            max_completion_length=a.new,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            beta=0.0,
            num_iterations=1,
            learning_rate=1e-6,
            weight_decay=0.0,
            use_cpu=True,
            bf16=False,
            report_to=[],
            save_strategy="no",
            logging_steps=1000,
            disable_tqdm=True,
            gradient_checkpointing=False,
            shuffle_dataset=False,
            generation_kwargs={"min_new_tokens": a.new},
        )
        trainer = GRPOTrainer(
            model=text_model(a.hidden, a.layers),
            args=arguments,
            processing_class=tokenizer,
            reward_funcs=lambda completion_ids, **_: rewards(completion_ids),
            train_dataset=Dataset.from_dict({"prompt": texts(a, tokenizer) * (STEPS + 1)}),
        )
        phases, steps = Phases(), []
        phases.wrap(trainer, "_generate", "generate")
        phases.wrap(trainer, "_get_per_token_logps_and_entropies", "forward")
        phases.wrap(trainer.accelerator, "backward", "backward")

        class Clock(TrainerCallback):
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                phases.seconds.clear()
                self.start = time.perf_counter()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                steps.append((time.perf_counter() - self.start, dict(phases.seconds)))

        # the batch is generated before on_step_begin of its step: the step's clock starts there
        trainer.add_callback(Clock())
        rest = resting_mib()
        trainer.train()
    seconds, parts = min(steps[1:], key=lambda s: s[0])
    return {"seconds": seconds, "phases": parts, "peak": peak_mib(), "rest": rest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (
        ("prompts", 16),
        ("prompt", 256),
        ("group", 8),
        ("new", 64),
        ("hidden", 256),
        ("layers", 4),
        ("rounds", 2),
        ("micro", 8),
        ("budget", 1024),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.only:
        print(json.dumps({"ours": ours, "trl": trl}[a.only](a)))
        return
    settings = [f"--{k}={v}" for k, v in vars(a).items() if k != "only"]
    found: dict[str, list[dict[str, Any]]] = {"trl": [], "ours": []}
    for _ in range(a.rounds):
        for name, own in found.items():
            own.append(in_fresh_process(__file__, *settings, "--only", name))
    tokens = a.prompts * a.group * a.new
    best = {name: min(own, key=lambda r: r["seconds"]) for name, own in found.items()}
    rows = []
    for name, result in best.items():
        rows.append(
            {
                "trainer": name,
                "step s": result["seconds"],
                "new tokens/s": tokens / result["seconds"],
                "speed": best["trl"]["seconds"] / result["seconds"],
                "peak MiB": result["peak"],
                "above rest MiB": result["peak"] - result["rest"],
                "where the time goes": ", ".join(
                    f"{k} {v:.1f} s" for k, v in sorted(result["phases"].items())
                ),
            }
        )
    record("bench_grpo_step", vars(a), rows)


if __name__ == "__main__":
    main()
