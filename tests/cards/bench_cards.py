"""What cards cost a run: taking a step in, drawing the card, the file of `zppo show`.

    python tests/cards/bench_cards.py [--steps 8] [--groups 256] [--tokens 1000]

First the recorded nano run of the tests, step by step, then simulated steps of a larger one: groups
of eight responses of so many tokens. Processor time, for both happen in a thread beside the
training. The file of `zppo show` is of 10,000 simulated rollouts.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np

from eval.report.database import ingest_new
from steps.cards.epoch import parts_of
from steps.cards.whole_run import html_of
from zppo_core.config import load
from zppo_core.records.schema import encode
from zppo_core.run.spec import Run
from zppo_core.store.journal import Journal
from zppo_core.store.objects import open_store

JOURNAL = Path(__file__).with_name("journal.tar.xz")
G = 8
Units = dict[str, dict[str, bytes]]


class Memory:
    """A journal in memory that grows."""

    def __init__(self) -> None:
        self.content: Units = {}

    def units(self, prefix: str = "") -> list[str]:
        return sorted(unit for unit in self.content if unit.startswith(prefix))

    def read(self, unit: str) -> Mapping[str, bytes] | None:
        return self.content.get(unit)


@contextmanager
def spent(into: list[float]) -> Iterator[None]:
    """Appends the processor time of what runs inside [s]."""
    began = time.process_time()
    yield
    into.append(time.process_time() - began)


def begun(key: str) -> Units:
    row = {
        "run_key": key,
        "created_at": datetime(2026, 1, 1),
        "scale": "nano",
        "method": "zppo",
        "seed": 0,
        "config_json": load("nano").to_json(),
        "code_version": "",
        "machine": "",
        "student_model": "",
        "student_params": 1,
    }
    return {"run": {"runs.parquet": encode("runs", [row])}}


def one_step(key: str, step: int, groups: int, tokens: int) -> Units:
    """A rollout step's tables: plain groups of eight responses."""
    rng = np.random.default_rng(step)
    words = rng.integers(0, 9999, tokens).astype(str).tolist()
    own = {"run_key": key, "step": step}
    uids = [f"{step}/{i}/plain" for i in range(groups)]
    asked = [
        own
        | {"uid": uid, "question_id": uid, "kind": "plain", "family": "VLM", "gold": "1"}
        | {"prompt_text": "What is it?", "prompt_digest": "", "prompt_tokens": 9, "accuracy": 0.5}
        for uid in uids
    ]
    written = [
        own
        | {"uid": uid, "member": m, "text": " ".join(rng.permutation(words)), "reward": 1.0}
        | {"token_ids": rng.integers(0, 150_000, tokens).tolist(), "answer": "1", "forced": 0}
        | {"logp": rng.normal(size=tokens).tolist(), "outcome": "correct", "finish": "stop"}
        | {"version": step}
        for uid in uids
        for m in range(G)
    ]
    counted = "new_prompts replay_prompts hard eligible_bcq eligible_ncq used_bcq used_ncq"
    counts = dict.fromkeys(f"{counted} used_hint used_prefix buffer_size weight_version".split(), 1)
    kind = {"kind": "plain", "groups": groups, "trivial": 0, "rollouts": groups * G}
    kind |= {"positive_advantage": 1, "accuracy": 0.5, "tokens": groups * G * tokens}
    return {
        f"step-{step:06d}/plain": {
            "groups.parquet": encode("groups", asked),
            "rollouts.parquet": encode("rollouts", written),
        },
        f"step-{step:06d}/update": {
            "steps.parquet": encode("steps", [own | counts]),
            "step_kinds.parquet": encode("step_kinds", [own | kind]),
        },
    }


def recorded(folder: Path) -> str:
    """The recorded run of the tests, taken in as it went."""
    shutil.unpack_archive(JOURNAL, folder / "recorded" / "journal")
    source = Journal(open_store(str(folder)), "recorded/journal")
    everything = {unit: source.read(unit) or {} for unit in source.units()}
    steps = sorted({unit.split("/")[0] for unit in everything if unit.startswith("step-")})
    journal, taken = Memory(), list[float]()
    database = str(folder / "recorded.duckdb")
    for step in steps:
        journal.content |= {u: f for u, f in everything.items() if u == "run" or step in u}
        with spent(taken):
            ingest_new(journal, "recorded", database)
    drawn = list[float]()
    run = Run("recorded", load("nano"), "", str(folder), "", database, len(steps))
    for _ in range(3):
        with spent(drawn):
            parts_of(run)
    return f"nano: {np.median(taken[1:]):.2f} s to take a step in, {np.median(drawn):.2f} s to draw"


def simulated(folder: Path, steps: int, groups: int, tokens: int) -> str:
    """Simulated steps of a larger run."""
    key, database = "large", str(folder / "large.duckdb")
    journal = Memory()
    journal.content = begun(key)
    taken, drawn = list[float](), list[float]()
    run = Run(key, load("nano"), "", str(folder), "", database, steps)
    for step in range(steps):
        journal.content |= one_step(key, step, groups, tokens)
        with spent(taken):
            ingest_new(journal, key, database)
        with spent(drawn):
            parts_of(run)
    began = time.perf_counter()
    _, html = html_of(database, key)
    shown = f"{len(html) / 1e6:.1f} MB in {time.perf_counter() - began:.1f} s"
    return (
        f"{groups * G:,} responses of {tokens:,} tokens a step: {np.median(taken):.2f} s to take a "
        f"step in, {np.median(drawn):.2f} s to draw after {steps} steps; zppo show {shown}"
    )


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--groups", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(recorded(Path(folder)), flush=True)
        print(simulated(Path(folder), options.steps, options.groups, options.tokens), flush=True)


if __name__ == "__main__":
    sys.exit(main())
