"""The paper's own cells as rows of a journal: what tables and figures make of them is known."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from synthetic import MemoryJournal

from eval.report.cost import PARAMETERS, TEACHER
from eval.report.database import ingest
from eval.report.published import AVERAGE, PAPER_SCALES, numbers, published, reference
from zppo_core.config import load

STEPS = 200
TEACHER_KEY = "teacher-27B"


def run_row(scale: str, method: str, key: str, *sets: str, teacher: str = "") -> dict[str, Any]:
    """A run of the paper: its configuration is the preset's."""
    model = teacher or "Qwen/Qwen3.5-27B-FP8"
    config = load(scale, [f"run.method={method}", f"teacher.model={model}", *sets])
    return {
        "run_key": key,
        "created_at": datetime(2026, 6, 1),
        "scale": scale,
        "method": method,
        "seed": 0,
        "config_json": config.to_json(),
        "code_version": "paper",
        "machine": "64 H100",
        "student_model": config.student.model,
        "teacher_model": model,
        "student_params": int(PARAMETERS[scale]),
        "teacher_params": int(TEACHER),
        "base_model_key": f"base-{scale}",
        "teacher_model_key": TEACHER_KEY,
    }


def score_rows(
    run: str, role: str, model: str, cells: Iterable[tuple[str, str, float]]
) -> list[dict[str, Any]]:
    """Scores of a model from (family, benchmark, percent)."""
    return [
        {
            "model_key": model,
            "run_key": run if role == "student" else None,
            "role": role,
            "suite": "paper31",
            "protocol_key": "p",
            "benchmark": benchmark,
            "family": family,
            "n": 100,
            "expected_n": 100,
            "score": percent / 100,
            "unparsed": 0,
        }
        for family, benchmark, percent in cells
    ]


def _cells(scale: str, method: str) -> list[tuple[str, str, float]]:
    """What the paper prints of a method, benchmark by benchmark.

    Of two methods it prints averages alone: every benchmark of theirs has the average.
    """
    everything = {(f, b): v for (s, f, m, b), v in published().items() if (s, m) == (scale, method)}
    names: dict[str, list[str]] = {}
    for r in reference("results"):
        if r["benchmark"] != AVERAGE and r["benchmark"] not in names.setdefault(r["family"], []):
            names[r["family"]].append(r["benchmark"])
    found = []
    for family, benchmarks in names.items():
        for benchmark in benchmarks:
            value = everything.get((family, benchmark), everything.get((family, AVERAGE)))
            if value is not None:
                found.append((family, benchmark, float(value)))
    return found


def _counts(n: int, printed: list[str]) -> tuple[int, ...]:
    """Whole numbers that add up to `n` and have the printed percentages."""
    near = [round(n * float(p) / 100) for p in printed]
    for shifts in itertools.product((0, 1, -1), repeat=len(near)):
        found = tuple(a + b for a, b in zip(near, shifts, strict=True))
        if sum(found) == n and [f"{100 * c / n:.1f}" for c in found] == printed:
            return found
    raise AssertionError(f"no counts of {n} give {printed}")


def _audited(run: str, scale: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Groups of one rollout each, whose answers match as Tables 16 and 17 say."""
    key = {"run_key": run, "step": 0}
    for kind in ("bcq", "ncq"):
        for row in (r for r in reference(f"{kind}_audit") if r["scale"] == scale):
            n, subset = int(row["n"]), row.get("subset", "all")
            pos, neg, other = _counts(n, [row[c] for c in ("match_pos", "match_neg", "other")])
            answers = ["right"] * pos + ["wrong"] * neg + ["other"] * other
            share = {"correct": 100.0, "wrong": 0.0}.get(subset, float(row[f"{kind}_acc"]))
            right = round(n * share / 100)
            for i, answer in enumerate(answers):
                uid = f"{kind}/{subset}/{i}"
                reward = float(i < right)
                yield (
                    {
                        **key,
                        "uid": uid,
                        "question_id": uid,
                        "kind": kind,
                        "family": "VLM",
                        "prompt_text": "?",
                        "prompt_digest": uid,
                        "prompt_tokens": 1,
                        "accuracy": reward,
                        "gold": "right",
                        "negative_answers": ["wrong"],
                        "positive_answer": "right" if kind == "bcq" else None,
                    },
                    [
                        {
                            **key,
                            "uid": uid,
                            "member": 0,
                            "text": answer,
                            "token_ids": [1],
                            "logp": [0.0],
                            "reward": reward,
                            "outcome": "correct" if reward else "wrong",
                            "answer": answer,
                            "finish": "stop",
                            "forced": 0,
                            "version": 0,
                        }
                    ],
                )


def _costs(run: str, scale: str, method: str) -> dict[str, list[dict[str, Any]]]:
    """Hours as stages and FLOPs as capped tokens, such as give the printed cells."""
    key = {"run_key": run, "step": -1}
    for row in reference("cost"):
        if (row["scale"], row["method"]) != (scale, method):
            continue
        hours, flops = float(row["hours"]), float(row["flops"])
        stages = {
            "prepare_data": 5000.0,
            "cache_teacher": 3600.0,
            "epoch/0": 3600 * (hours - 2),
            "epoch/20": 3600.0,
            "evaluate/MVista": 7200.0,
        }
        phases = [{**key, "phase": p, "seconds": s} for p, s in stages.items()]
        # phases end with their step, stages with their task: the shorter of the two
        phases.append({"run_key": run, "step": 0, "phase": "plain", "seconds": 60.0})
        half, params = flops / 2, int(PARAMETERS[scale])
        costs = [
            {
                **key,
                "role": "student",
                "activity": "generate",
                "model_params": params,
                "tokens": 1,
                "tokens_cap": round(half / 2 / params),
                "seconds": 0.0,
            },
            {
                **key,
                "role": "teacher",
                "activity": "generate",
                "model_params": int(TEACHER),
                "tokens": 1,
                "tokens_cap": round(half / 2 / TEACHER),
                "seconds": 0.0,
            },
        ]
        return {"phases": phases, "costs": costs}
    return {}


def paper_database(path: Path) -> Path:
    """A database with a run for every method and scale of the paper's tables."""
    pairs = dict.fromkeys((s, m) for s, _, m, _ in published() if s in PAPER_SCALES and m != "base")
    for scale, method in pairs:
        run = f"{scale}-{method}"
        journal = MemoryJournal()
        journal.commit("start", {"runs": [run_row(scale, method, run)]})
        scores = score_rows(run, "student", f"student-{run}", _cells(scale, method))
        if method == "zppo":
            scores += score_rows(run, "base", f"base-{scale}", _cells(scale, "base"))
            scores += score_rows(run, "teacher", TEACHER_KEY, _cells("27B", "teacher"))
            audited = list(_audited(run, scale))
            journal.commit(
                "audit",
                {
                    "groups": [g for g, _ in audited],
                    "rollouts": [r for _, rs in audited for r in rs],
                },
            )
            journal.commit("buffer", _buffer(run, scale, method))
        elif method == "grpo_replay":
            journal.commit("buffer", _buffer(run, scale, method))
        # base and teacher come with each scale's first run that is taken in
        journal.commit("eval", {"eval_scores": scores})
        if costs := _costs(run, scale, method):
            journal.commit("costs", costs)
        ingest(journal, run, path)
    return path


def _buffer(run: str, scale: str, method: str) -> dict[str, list[dict[str, Any]]]:
    """Stays in the buffer and its fill, such as give the numbers of Figs. 4, 20, 21, 23 and 24."""
    printed: dict[tuple[str, str], float] = {}
    for figure in (4, 20, 21, 23, 24):
        for r in numbers(figure, scale):
            if r["method"] == method:
                printed[r["quantity"], r["entry_accuracy_percent"]] = float(r["value"])

    def get(quantity: str, at: str = "all") -> float | None:
        return printed.get((quantity, at))

    graduates = {b: int(get("graduated", b) or 0) for b in ("0", "12.5")}
    total = get("graduated")
    if total is None and (share := get("share_of_all_graduates", "0")):
        total = round(100 * graduates["0"] / share)
    stays: list[tuple[float, str, int]] = []  # accuracy at admission [percent], fate, visits
    for at, n in graduates.items():
        admitted = get("admitted", at)
        if admitted is None and (share := get("graduated_over_admitted", at)):
            admitted = round(100 * n / share)
        stays += [(float(at), "graduate", 1)] * n
        stays += [(float(at), "evict", 2)] * (int(admitted or n) - n)
    stays += [(25.0, "graduate", 1)] * (int(total or 0) - sum(graduates.values()))
    evicted = int(get("evicted") or 0) - sum(fate == "evict" for _, fate, _ in stays)
    stays += [(25.0, "evict", 1)] * evicted
    if share := get("graduated_share_at_6_or_more_resample_attempts"):
        often = {"graduate": round(share), "evict": 100 - round(share)}
        for i, (at, fate, _) in enumerate(stays):
            if at == 25.0 and often[fate]:
                often[fate] -= 1
                stays[i] = (at, fate, 7)
    key = {"run_key": run}
    events = []
    for i, (at, fate, visits) in enumerate(stays):
        entry = i % 100
        about = {
            **key,
            "question_id": f"q{i}",
            "accuracy": at / 100,
            "entry_accuracy": at / 100,
            "entry_step": entry,
        }
        events.append({**about, "step": entry, "event": "admit", "visits": 0, "replayed": False})
        events.append(
            {
                **about,
                "step": entry + 100,
                "event": fate,
                "visits": visits,
                "replayed": fate == "graduate",
            }
        )
    full = get("rollout_step_when_buffer_full") or STEPS + 1
    steps = [
        {
            **key,
            "step": step,
            "new_prompts": 384,
            "replay_prompts": 96,
            "hard": 100,
            "eligible_bcq": 0,
            "eligible_ncq": 0,
            "used_bcq": 0,
            "used_ncq": 0,
            "used_hint": 0,
            "used_prefix": 0,
            "buffer_size": min(10_000, round(10_000 * (step + 1) / full)),
            "weight_version": step,
        }
        for step in range(STEPS)
    ]
    return {"buffer_events": events, "steps": steps}
