"""Many small rollout steps in one process: does anything grow? Memory, open files, what is written.

python tools/soak.py --steps 300 --report docs/reliability.md    # goes on where it stopped

Samples stand in results/soak/samples.jsonl, a line a step. Slopes are least squares over the steps
of one process after its first tenth.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
import page_tables  # noqa: E402

BEGIN, END = "<!-- soak: by `make soak` -->", "<!-- end of the soak -->"
SMALL = {
    "run.steps_per_task": 100_000,
    "data.train_questions": 64,
    "rollout.new_prompts": 4,
    "rollout.group_size": 2,
    "rollout.max_tokens": 16,
    "reformulation.ratio": 0.5,
    "replay.ratio": 0.5,
    "optimizer.updates": 2,
    "teacher.prefill": 0,
    "teacher.rollouts": 2,
    "store.checkpoint_every": 10,
    "compute.threads": 1,
}
Sample = dict[str, Any]


def memory_mb() -> float:
    """Resident memory of this process [MiB]."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def written(folder: Path) -> tuple[int, int, int]:
    """Files and bytes below a run's journal and the cache, and of the former those of the cache."""
    counts, size = {"runs": 0, "cache": 0}, 0
    for part in counts:
        for path in (folder / part).rglob("*"):
            if path.is_file() and "checkpoints" not in path.parts:
                counts[part] += 1
                size += path.stat().st_size
    return counts["runs"] + counts["cache"], size, counts["cache"]


def run(folder: Path, steps: int) -> None:
    """Train up to `steps` rollout steps, a sample after each."""
    import torch

    from steps.epoch import epoch
    from steps.prepare_data import prepare_data, settled
    from steps.start import open_run

    torch.set_num_threads(1)
    places = {name: folder / name for name in ("runs", "cache")}
    own_sets = {"store.root": places["runs"], "store.cache": places["cache"]}
    own_sets |= {"store.database": folder / "db.duckdb", "run.rollout_steps": steps}
    text = ";".join(f"{k}={v}" for k, v in {**SMALL, **own_sets}.items())
    setup = open_run("nano", "zppo", "0", text, "1", "run")
    prepare_data(setup)
    process, began = os.getpid(), time.monotonic()

    def sample(step: int, phase: str) -> None:
        if phase != "update":
            return
        files, size, cached = written(folder)
        now: Sample = {"process": process, "step": step, "memory": memory_mb()}
        now |= {"handles": len(os.listdir("/proc/self/fd")), "files": files, "bytes": size}
        now |= {"cached": cached, "threads": len(os.listdir("/proc/self/task"))}
        now["seconds"] = time.monotonic() - began
        with (folder / "samples.jsonl").open("a") as file:
            file.write(json.dumps(now) + "\n")

    epoch(settled(setup), 0, after=sample)


def slope(samples: list[Sample], name: str) -> float:
    """What `name` gains a step, by least squares."""
    xs, ys = [s["step"] for s in samples], [s[name] for s in samples]
    middle, level = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - middle) ** 2 for x in xs)
    return sum((x - middle) * (y - level) for x, y in zip(xs, ys, strict=True)) / spread


def table(samples: list[Sample]) -> str:
    """What there was at the first and the last step of the longest process, and the slopes."""
    of: dict[int, list[Sample]] = {}
    for one in samples:
        of.setdefault(one["process"], []).append(one)
    longest = max(of.values(), key=len)
    late = longest[len(longest) // 10 :]
    rows = ["| | first | last | a step |", "| --- | --- | --- | --- |"]
    for name, words, factor in (
        ("memory", "memory [MiB]", 1),
        ("handles", "open files", 1),
        ("threads", "threads", 1),
        ("files", "files written", 1),
        ("cached", "of them in the cache", 1),
        ("bytes", "kB written", 1e-3),
    ):
        first, last = late[0][name] * factor, late[-1][name] * factor
        rows.append(f"| {words} | {first:.0f} | {last:.0f} | {slope(late, name) * factor:.3f} |")
    steps = {s["step"] for s in samples}
    return (
        f"{len(steps)} rollout steps in {len(of)} process(es); of the longest the steps "
        f"{late[0]['step'] + 1} to {late[-1]['step'] + 1}. Checkpoints, of which two stay, are not "
        "counted.\n\n" + "\n".join(rows) + "\n"
    )


def main() -> int:
    """The command line above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--folder", type=Path, default=Path("results/soak"))
    parser.add_argument("--report", type=Path)
    parser.add_argument("--table", action="store_true", help="of the samples there are; no run")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not options.table:
        run(folder, options.steps)
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    if options.report:
        page_tables.put(options.report, BEGIN, END, table(samples))
    print(table(samples))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
