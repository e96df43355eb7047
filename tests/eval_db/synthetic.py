"""A database of simulated runs, through the real buffer, wire format and ingestion.

    python tests/eval_db/synthetic.py results/synthetic.duckdb

A student of rising skill meets questions of fixed difficulty; nothing here was trained. The numbers
serve to test queries and to look at figures, and say nothing about any method.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from eval.report.database import ingest
from zppo_core.algorithm.replay_buffer import PromptReplayBuffer
from zppo_core.records.schema import encode
from zppo_core.streams import stream

G = 8
NANO = {"VLM": ("vlm_rows", "vlm_grids"), "LLM": ("llm_same", "llm_new"), "Video": ("video_rows",)}
# how much of each kind of prompt a method's student learns from, and how fast its skill rises
SPEED = {"grpo": 0.8, "grpo_replay": 1.0, "zppo": 1.5, "off_distill_replay": 0.3}
KINDS = {"zppo": ("bcq", "ncq")}


class MemoryJournal:
    """A journal held in a dict, in order of units."""

    def __init__(self, units: dict[str, dict[str, bytes]] | None = None) -> None:
        self.content = units or {}

    def units(self, prefix: str = "") -> list[str]:
        return sorted(u for u in self.content if u.startswith(prefix))

    def read(self, unit: str) -> dict[str, bytes] | None:
        return self.content.get(unit)

    def commit(self, unit: str, tables: dict[str, Sequence[dict[str, Any]]]) -> None:
        self.content[unit] = {f"{t}.parquet": encode(t, rows) for t, rows in tables.items()}


@dataclass(frozen=True)
class Spec:
    """One simulated run."""

    method: str = "zppo"
    seed: int = 0
    scale: str = "nano"
    steps: int = 12
    new_prompts: int = 24
    samples: int = 60
    updates: int = 4
    norm: str = "nonzero"
    teacher: str = "nano:teacher"
    teacher_params: int = 1_200_000
    benchmarks: dict[str, tuple[str, ...]] = field(default_factory=lambda: NANO)
    missing: tuple[str, ...] = ()

    @property
    def run_key(self) -> str:
        extra = "" if (self.updates, self.norm) == (4, "nonzero") else f"-{self.updates}{self.norm}"
        extra += "" if self.teacher == "nano:teacher" else f"-{self.teacher}"
        return f"{self.scale}-{self.method}-s{self.seed}{extra}"

    @property
    def speed(self) -> float:
        bonus = 0.1 * (self.updates == 4) + 0.1 * (self.norm == "nonzero")
        return SPEED.get(self.method, 1.0) + bonus + 1e-7 * self.teacher_params

    def config(self) -> str:
        return json.dumps(
            {
                "run": {"method": self.method, "seed": self.seed, "rollout_steps": self.steps},
                "teacher": {"model": self.teacher},
                "replay": {"threshold": 0.5, "ratio": 0.25, "capacity": 60},
                "reformulation": {"ratio": 0.25},
                "advantage": {"norm": self.norm},
                "optimizer": {"updates": self.updates},
                "evaluation": {"suite": "nano" if self.scale == "nano" else "paper31"},
                "store": {"root": "runs"},
            },
            sort_keys=True,
        )


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def simulate(spec: Spec) -> MemoryJournal:
    """The journal of one run: every table of the schema, in the units a run commits."""
    journal = MemoryJournal()
    created = datetime(2026, 11, 1) + timedelta(minutes=spec.seed)
    journal.commit(
        "start",
        {
            "runs": [
                {
                    "run_key": spec.run_key,
                    "created_at": created,
                    "scale": spec.scale,
                    "method": spec.method,
                    "seed": spec.seed,
                    "config_json": spec.config(),
                    "code_version": "simulated",
                    "machine": "simulated, no machine",
                    "student_model": "nano:student",
                    "teacher_model": spec.teacher,
                    "student_params": 600_000,
                    "teacher_params": spec.teacher_params,
                    "base_model_key": f"base-{spec.scale}",
                    "teacher_model_key": spec.teacher,
                }
            ],
            "phases": [
                {"run_key": spec.run_key, "step": -1, "phase": p, "seconds": s}
                for p, s in (
                    ("prepare_data", 4.0),
                    ("cache_teacher", 20.0),
                    ("epoch", 90.0),
                    ("evaluate/vlm_rows", 5.0),
                    ("evaluate/llm_same", 4.0),
                )
            ],
        },
    )
    buffer = PromptReplayBuffer(60)
    for step in range(spec.steps):
        _step(spec, step, buffer, journal)
    _evaluation(spec, journal)
    return journal


def _rollout(rng: np.random.Generator, p: float, gold: str) -> tuple[str, float, str, str | None]:
    """(text, reward, outcome, answer) of a response that is right with probability p."""
    if rng.random() < p:
        answer: str | None = rf"\text{{{gold}}}" if rng.random() < 0.2 else gold
        reward, outcome = 1.0, "correct"
    elif rng.random() < 0.1:
        return "<think>no idea</think>", 0.0, "no_box", None
    else:
        answer, reward, outcome = str((int(gold) + int(rng.integers(1, 4))) % 10), 0.0, "wrong"
    steps = " ".join(str(d) for d in rng.integers(0, 10, 4))
    return f"<think>{steps}</think> \\boxed{{{answer}}}", reward, outcome, answer


def _group(
    spec: Spec,
    step: int,
    question: str,
    kind: str,
    p: float,
    rng: np.random.Generator,
    candidates: dict[str, Any],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    key = {"run_key": spec.run_key, "step": step}
    uid, gold = f"{step:06d}/{question}/{kind}", str(int(question[1:]) % 10)
    rollouts = []
    for member in range(G):
        text, reward, outcome, answer = _rollout(rng, p, gold)
        n = 8 + int(rng.integers(0, 8))
        rollouts.append(
            {
                **key,
                "uid": uid,
                "member": member,
                "text": text,
                "token_ids": rng.integers(0, 500, n).tolist(),
                "logp": (-rng.random(n)).tolist(),
                "reward": reward,
                "outcome": outcome,
                "answer": answer,
                "finish": "stop",
                "forced": 0,
                "version": step,
            }
        )
    group = {
        **key,
        "uid": uid,
        "question_id": question,
        "kind": kind,
        "family": "VLM",
        "category": ("max", "count", "sum")[int(question[1:]) % 3],
        "prompt_text": f"What is the answer to {question}? <b>think</b> first.",
        "prompt_digest": uid,
        "prompt_tokens": 40,
        "accuracy": float(np.mean([r["reward"] for r in rollouts])),
        "gold": gold,
        **candidates,
    }
    return group, rollouts


def _step(spec: Spec, step: int, buffer: PromptReplayBuffer, journal: MemoryJournal) -> None:
    rng = stream(spec.seed, "synthetic", spec.method, spec.updates, spec.norm, step)
    key = {"run_key": spec.run_key, "step": step}
    skill = -1.5 + 2.0 * spec.speed * step / spec.steps
    new = [f"q{step * spec.new_prompts + i:05d}" for i in range(spec.new_prompts)]
    old = [] if spec.method == "grpo" else buffer.sample(spec.new_prompts // 4, rng, exclude=new)
    difficulty = {q: stream(7, "difficulty", q).normal(0, 2.0) for q in new + old}
    plain = [
        _group(
            spec,
            step,
            q,
            "plain" if q in new else "replay",
            sigmoid(skill - difficulty[q]),
            rng,
            {},
        )
        for q in new + old
    ]
    hard = sorted((g for g, _ in plain if g["accuracy"] < 0.5), key=lambda g: g["accuracy"])
    draws = [
        {
            **key,
            "question_id": g["question_id"],
            "visit": 0,
            "draw": i,
            "purpose": "draw",
            "text": "<think>t</think> \\boxed{1}",
            "tokens": 20,
            "reward": 1.0,
            "outcome": "correct",
            "answer": g["gold"],
            "cached": i > 1,
            "fallback": False,
            "attempts": 1,
        }
        for g in hard
        for i in range(4)
    ]
    augmented = []
    cap = spec.new_prompts // 4
    for g in hard:
        for kind in KINDS.get(spec.method, ()):
            if len(augmented) < cap:
                augmented.append(_reformulated(spec, step, g, kind, skill, difficulty, rng))
    compressed = [
        {
            **key,
            "question_id": g["question_id"],
            "visit": 0,
            "draw": i,
            "purpose": "compress",
            "text": t,
            "tokens": 12,
            "answer": a,
            "source_answer": a,
            "source_characters": 90,
            "cached": False,
            "fallback": bool(rng.random() < 0.1),
            "attempts": 1,
        }
        for g, _ in augmented
        if g["kind"] == "bcq"
        for i, (t, a) in enumerate(
            zip(g["candidate_texts"], [g["positive_answer"], *g["negative_answers"]], strict=True)
        )
    ]
    everything = plain + augmented
    advantages, kinds = [], []
    for g, rollouts in everything:
        rewards = np.array([r["reward"] for r in rollouts])
        if rewards.std() > 0:
            advantages += [
                {**key, "uid": g["uid"], "member": i, "advantage": float(a)}
                for i, a in enumerate((rewards - rewards.mean()) / rewards.std())
            ]
    for kind in dict.fromkeys(g["kind"] for g, _ in everything):
        own = [(g, r) for g, r in everything if g["kind"] == kind]
        uids = {g["uid"] for g, _ in own}
        kinds.append(
            {
                **key,
                "kind": kind,
                "groups": len(own),
                "rollouts": G * len(own),
                "trivial": sum(g["accuracy"] in (0, 1) for g, _ in own),
                "positive_advantage": sum(
                    a["advantage"] > 0 for a in advantages if a["uid"] in uids
                ),
                "accuracy": float(np.mean([g["accuracy"] for g, _ in own])),
                "tokens": sum(len(x["token_ids"]) for _, r in own for x in r),
            }
        )
    events = []
    if spec.method != "grpo":
        for e in buffer.update_all({g["question_id"]: g["accuracy"] for g, _ in plain}, step):
            accuracy = None if np.isnan(e.accuracy) else e.accuracy
            events.append(
                {
                    **key,
                    "question_id": e.question_id,
                    "event": e.kind,
                    "accuracy": accuracy,
                    "entry_accuracy": e.entry_accuracy,
                    "entry_step": e.entry_step,
                    "visits": e.visits,
                    "replayed": e.question_id in old,
                }
            )
    tokens = sum(k["tokens"] for k in kinds)
    journal.commit(f"step-{step:06d}/plain", _tables(plain, key, "plain", 2.0))
    journal.commit(f"step-{step:06d}/augmented", _tables(augmented, key, "augmented", 1.0))
    journal.commit(f"step-{step:06d}/teacher", {"teacher_draws": draws + compressed})
    used = [g["kind"] for g, _ in augmented]
    costs = [
        ("student", "generate", 600_000, tokens, G * len(everything) * 64),
        ("student", "train", 600_000, tokens // 2, G * len(everything) * 64),
        ("teacher", "generate", spec.teacher_params, 10 * len(draws), 64 * len(draws)),
    ]
    journal.commit(
        f"step-{step:06d}/update",
        {
            "steps": [
                {
                    **key,
                    "new_prompts": len(new),
                    "replay_prompts": len(old),
                    "hard": len(hard),
                    "hard_in_buffer": sum(g["kind"] == "replay" for g in hard),
                    "eligible_bcq": len(hard),
                    "eligible_ncq": len(hard),
                    "used_bcq": used.count("bcq"),
                    "used_ncq": used.count("ncq"),
                    "used_hint": 0,
                    "used_prefix": 0,
                    "buffer_size": len(buffer),
                    "mismatch_mean": 1e-6,
                    "mismatch_max": 1e-4,
                    "weight_version": step,
                }
            ],
            "step_kinds": kinds,
            "buffer_events": events,
            "advantages": advantages,
            "updates": [
                {
                    **key,
                    "update_index": i,
                    "loss": float(rng.normal(0, 0.01)),
                    "grad_norm": float(1 + rng.random()),
                    "entropy": 1.2 / (1 + step / 8),
                    "clip_low_share": 0.01,
                    "clip_high_share": 0.02,
                    "dual_clip_share": 0.0,
                    "ratio_mean": 1.0,
                    "tokens": tokens // spec.updates,
                    "groups": len(everything) // spec.updates,
                    "skipped_groups": 1,
                    "computed_tokens": tokens // spec.updates,
                    "seconds": 0.5,
                }
                for i in range(spec.updates)
            ],
            "phases": [
                {
                    **key,
                    "phase": "update",
                    "seconds": 3.0,
                    "model_seconds": 2.9,
                    "student_seconds": 0.0,
                    "teacher_seconds": 0.0,
                    "learner_seconds": 2.9,
                    "sync_seconds": 0.05,
                    "sync_bytes": 2_000_000,
                }
            ],
            "costs": [
                {
                    **key,
                    "role": r,
                    "activity": a,
                    "model_params": n,
                    "tokens": t,
                    "tokens_cap": c,
                    "seconds": 1.0,
                }
                for r, a, n, t, c in costs
            ],
        },
    )


def _reformulated(
    spec: Spec,
    step: int,
    hard: dict[str, Any],
    kind: str,
    skill: float,
    difficulty: dict[str, float],
    rng: np.random.Generator,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    question, gold = hard["question_id"], hard["gold"]
    wrong = str((int(gold) + 1) % 10)
    texts = [f"read {d} and {d + 1}, so \\boxed{{{a}}}" for d, a in ((2, gold), (3, wrong))]
    candidates: dict[str, Any] = {"negative_answers": [wrong], "candidate_texts": texts[1:]}
    if kind == "bcq":
        first = bool(rng.random() < 0.5)
        candidates |= {
            "positive_answer": gold,
            "right_first": first,
            "candidate_texts": texts if first else texts[::-1],
        }
    p = sigmoid(skill - difficulty[question] + (2.5 if kind == "bcq" else 0.8))
    return _group(spec, step, question, kind, p, rng, candidates)


def _tables(groups: Sequence[Any], key: dict, phase: str, seconds: float) -> dict[str, Any]:
    row = {
        **key,
        "phase": phase,
        "seconds": seconds,
        "model_seconds": 0.95 * seconds,
        "student_seconds": 0.9 * seconds,
        "teacher_seconds": 0.3 * seconds,
        "learner_seconds": 0.0,
    }
    return {
        "groups": [g for g, _ in groups],
        "rollouts": [r for _, rs in groups for r in rs],
        "phases": [row],
    }


def _evaluation(spec: Spec, journal: MemoryJournal) -> None:
    suite = "nano" if spec.scale == "nano" else "paper31"
    roles = {
        "base": (f"base-{spec.scale}", None, 0.25),
        "student": (f"student-{spec.run_key}", spec.run_key, 0.25 + 0.2 * spec.speed),
        "teacher": (spec.teacher, None, 0.9),
    }
    for role, (model, run_key, level) in roles.items():
        for family, names in spec.benchmarks.items():
            for name in names:
                key = {
                    "model_key": model,
                    "run_key": run_key,
                    "role": role,
                    "suite": suite,
                    "protocol_key": "p1",
                    "benchmark": name,
                    "family": family,
                }
                if name in spec.missing:
                    score = {
                        "n": 0,
                        "expected_n": spec.samples,
                        "unparsed": 0,
                        "missing_reason": "gated data set",
                    }
                    journal.commit(f"eval/{role}/{name}", {"eval_scores": [key | score]})
                    continue
                rng = stream(0, "evaluation", model, name)
                ease = stream(0, "ease", name).normal(0, 0.05, spec.samples)
                right = rng.random(spec.samples) < level + ease
                samples = [
                    {
                        **key,
                        "sample_id": str(i),
                        "prompt_digest": f"{name}/{i}",
                        "output": "\\boxed{1}",
                        "answer": "1",
                        "extractor": "boxed",
                        "scorer": "exact",
                        "scorer_version": "1",
                        "score": float(x),
                        "outcome": "correct" if x else "wrong",
                        "tokens": 12,
                        "seconds": 0.01,
                    }
                    for i, x in enumerate(right)
                ]
                mean = float(right.mean())
                score = {
                    "n": spec.samples,
                    "expected_n": spec.samples,
                    "score": mean,
                    "stderr": float(np.sqrt(mean * (1 - mean) / spec.samples)),
                    "unparsed": 0,
                }
                journal.commit(
                    f"eval/{role}/{name}",
                    {"eval_samples": samples, "eval_scores": [key | score]},
                )


def paper_benchmarks() -> dict[str, tuple[str, ...]]:
    """The paper's 31 benchmarks by family, from the reference tables."""
    import csv

    found: dict[str, dict[str, None]] = {}
    path = Path(__file__).parents[2] / "eval" / "report" / "reference" / "results.csv"
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["benchmark"] != "Avg":
                found.setdefault(row["family"], {})[row["benchmark"]] = None
    return {family: tuple(names) for family, names in found.items()}


def default_specs() -> list[Spec]:
    """Three methods over two seeds at nano, ablations, and one run at a scale of the paper."""
    specs = [Spec(method=m, seed=s) for m in ("grpo", "grpo_replay", "zppo") for s in range(2)]
    specs += [Spec(updates=1), Spec(norm="all")]
    specs.append(Spec(teacher="nano:student", teacher_params=600_000))
    for method in ("zppo", "grpo_replay"):
        specs.append(
            Spec(
                method=method,
                scale="0.8B",
                steps=6,
                samples=20,
                benchmarks=paper_benchmarks(),
                missing=("HLE",),
            )
        )
    return specs


def build(path: str | Path, specs: Sequence[Spec] | None = None) -> Path:
    """A database at `path` with the runs of `specs` (default: `default_specs`)."""
    for spec in default_specs() if specs is None else specs:
        ingest(simulate(spec), spec.run_key, path)
    return Path(path)


if __name__ == "__main__":
    print(build(sys.argv[1]))
