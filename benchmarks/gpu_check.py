"""The trainer at the paper's shapes on one GPU: speed, memory, agreement, and its kernels alone.

    PYTHONPATH=. python3 benchmarks/gpu_check.py --out DIR [--minutes 8] [--sections update,head]
    python benchmarks/gpu_check.py --device cpu --shapes tiny --out DIR     # tries the script

Needs PyTorch and transformers alone: random weights, tokenizer and configuration of the shipped
nano student, no network. Sections run in the order of `SECTIONS`; one that fails leaves its error
and the next one runs; one that would begin after --minutes is named as not run. Writes
gpu_check.jsonl (one line), gpu_check.md (the same as tables) and kernels.txt to DIR. Exit status 1
if a check fails.

MFU is 6 x parameters of the text stack x tokens / seconds / 989 TFLOP/s, an H100's dense bfloat16:
`MFU useful` counts each prompt once and each response, `MFU computed` what ran, padding included.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gpu_kernels
import torch
from common import line, markdown
from gpu_models import GRIDS, build, groups_of, picture_tokens
from gpu_tuning import Search
from gpu_update import LENGTHS, Check, Student, free

from zppo_core.models.qwen3_5 import shape as qwen
from zppo_core.models.qwen3_5.gated_delta import choose_kernel

MAX_ERROR = 0.02  # of a kernel's output or gradient, relative, in bfloat16
PICTURES = (1, 4)


# ---- sections


def ceilings(c: Check) -> None:
    c.add("ceilings", gpu_kernels.ceilings(c.device, c.dtype, 256 if c.tiny else 8192))


def delta(c: Check) -> None:
    for tokens, heads, compiled in (
        ((128, 2, False),) if c.tiny else ((2048, 16, False), (16_384, 32, False))
    ):
        c.add(
            "delta",
            gpu_kernels.delta_table(
                c.device, c.dtype, tokens, heads, 16 if c.tiny else 128, compiled
            ),
        )


def delta_compiled(c: Check) -> None:
    """Apart, for a loop over chunks takes the compiler long."""
    if not c.tiny:
        rows = gpu_kernels.delta_table(c.device, c.dtype, 1024, 16, 128, True)
        c.add("delta", rows[:2])


def attention(c: Check) -> None:
    shapes = (
        ((20, 12, 2, 4, 2, 16, True),)
        if c.tiny
        else (
            (300, 500, 4, 16, 4, 256, True),
            (1100, 4000, 8, 16, 4, 256, False),
            (6000, 2000, 8, 16, 4, 256, False),
        )
    )
    for shape in shapes:
        c.add("attention", gpu_kernels.attention_table(c.device, c.dtype, *shape))


def small(c: Check) -> None:
    for shape in ((64, 256, 512),) if c.tiny else ((16_384, 1024, 3584), (16_384, 2560, 9216)):
        c.add("small", gpu_kernels.small_table(c.device, c.dtype, *shape))


def head(c: Check) -> None:
    for shape in (
        ((32, 64, 500, (4, 32)),)
        if c.tiny
        else (
            (8192, 1024, qwen.VOCAB, (33, 512, 2048, 8192)),
            (8192, 2560, qwen.VOCAB, (33, 512, 2048, 8192)),
        )
    ):
        c.add("head", gpu_kernels.head_table(c.device, c.dtype, *shape))


def update(c: Check) -> None:
    """Every mode at every shape and length; the first mode is the reference of the others."""
    for name in c.shapes:
        if c.late:
            c.notes.append(f"update at {name} and on was not run: out of time")
            return
        student = Student(c, name)
        for lengths in c.lengths:
            if c.late:
                c.notes.append(f"update at {name}, P, R = {lengths[:2]} was not run: out of time")
                continue
            c.add("update", student.rows(*lengths))
        del student
        free(c)


def vision(c: Check) -> None:
    """Updates with pictures, through a tower of the true size."""
    for name in c.shapes:
        if c.late:
            c.notes.append(f"pictures at {name} were not run: out of time")
            return
        student = Student(c, name)
        for pictures in PICTURES:
            prompt = pictures * (picture_tokens(GRIDS[name]) + 2) + (10 if c.tiny else 330)
            response, count = (16, 1) if c.tiny else (4000, 1)
            mode = [m for m in c.modes if student.use(m)][-1]
            c.add("pictures", student.rows(prompt, response, count, pictures, [mode]))
        del student
        free(c)


def kernels(c: Check) -> None:
    """The name of every kernel that runs in an update, and its time."""
    from torch.profiler import ProfilerActivity, profile

    student = Student(c, c.shapes[0])
    groups = groups_of(40, 16, 1, 4) if c.tiny else groups_of(1100, 1000, 1)
    for mode in c.modes:
        if not student.use(mode):
            continue
        student.pass_over(groups)
        activity = ProfilerActivity.CUDA if c.cuda else ProfilerActivity.CPU
        with profile(activities=[activity]) as profiled:
            student.pass_over(groups)
        events = profiled.key_averages()
        spent = lambda e: e.device_time_total if c.cuda else e.cpu_time_total  # noqa: E731
        for event in sorted(events, key=spent, reverse=True):
            row = {"mode": mode, "ms": spent(event) / 1000, "calls": event.count}
            c.kernels.append({**row, "kernel": event.key})
    c.add("kernels", [{**k, "kernel": k["kernel"][:90]} for k in c.kernels[:12]])


def decode(c: Check) -> None:
    """New tokens a second of the transformers engine: 64 rows of 256 tokens."""
    from zppo_core.engines.hf import HfEngine
    from zppo_core.models.loading import load_renderer
    from zppo_core.protocols import Sampling
    from zppo_core.types import Prompt

    prompts, members, tokens = (2, 2, 4) if c.tiny else (8, 8, 256)
    for name in c.shapes:
        if name == "2B":
            continue
        if c.late:
            c.notes.append(f"decoding at {name} was not run: out of time")
            return
        model = build(name, c.device, c.dtype)
        vocabulary = model.get_output_embeddings().weight.shape[0]
        engine = HfEngine(model, load_renderer("nano:student", vocabulary, False), "random")
        asked = [Prompt(f"what is {i} plus {i}? " * 40) for i in range(prompts)]
        seeds = list(range(prompts))
        engine.generate(asked, Sampling(n=members, max_tokens=4), seeds)
        before = time.perf_counter()
        completions = engine.generate(asked, Sampling(n=members, max_tokens=tokens), seeds)
        taken = time.perf_counter() - before
        drawn = sum(len(one.token_ids_T) for group in completions for one in group)
        rows = prompts * members
        c.add(
            "decode",
            [{"shape": name, "rows": rows, "new tokens": drawn, "tokens/s": drawn / taken}],
        )
        del engine, model
        free(c)


SECTIONS: dict[str, Callable[[Check], None]] = {
    "ceilings": ceilings,
    "delta": delta,
    "attention": attention,
    "head": head,
    "small": small,
    "update": update,
    "pictures": vision,
    "kernels": kernels,
    "decode": decode,
    "compiled": delta_compiled,
}


def faults(c: Check) -> list[str]:
    """Every check that did not hold, in words."""
    wrong = [
        f"{name}: {row['error']}"
        for name, rows in c.tables.items()
        for row in rows
        if "error" in row
    ]
    wrong += [
        f"{name} at {row['shape']}, P = {row['P']}, R = {row['R']}, {row['mode']} does not hold"
        for name in ("update", "pictures")
        for row in c.tables.get(name, [])
        if "error" not in row and not row["holds"]
    ]
    limit = MAX_ERROR if c.dtype == torch.bfloat16 else 1e-3
    for name, columns in (
        ("delta", ("out", "state", "dq", "dk", "dv", "dg", "dbeta", "dstate")),
        ("attention", ("out", "dq", "dk", "dv", "dk prompt", "dv prompt")),
    ):
        for row in c.tables.get(name, []):
            off = {k: row[k] for k in columns if k in row and not row[k] <= limit}
            wrong += [f"{name}, {row['kernel']}: {k} is off by {v:.3g}" for k, v in off.items()]
    return wrong


def parser() -> argparse.ArgumentParser:
    """What the check is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--shapes", default="0.8B,2B,4B", help="0.8B, 2B, 4B, 9B, or tiny")
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--modes", default="padded,shared_prefix,packed")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="", help="default: bfloat16 on a GPU, float32 on a CPU")
    parser.add_argument("--budget", type=int, default=65_536, help="trainer.token_budget")
    parser.add_argument(
        "--no-checkpointing",
        dest="checkpointing",
        action="store_false",
        help="keep what the backward pass needs, recompute nothing",
    )
    parser.add_argument(
        "--lengths", default="0,1,2", help=f"which of P, R, groups to update: {LENGTHS}"
    )
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument(
        "--trust-flash",
        action="store_true",
        help="let flash-linear-attention run where it refuses its own backward "
        "pass; the table `delta` says whether it is right",
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="compile nothing: norms, gates, rotations and softmax as they are written",
    )
    parser.add_argument(
        "--first-config",
        action="store_true",
        help="take the first configuration of each Triton kernel: no search at all",
    )
    parser.add_argument(
        "--tuned", type=Path, help="tuned.json of an earlier run with the same card and versions"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    a = parser().parse_args(arguments)
    if a.device == "cuda" and not torch.cuda.is_available():
        print("gpu-check: no GPU here; --device cpu --shapes tiny tries the script itself")
        return 2
    c = Check(a)
    if a.plain:
        torch.compiler.set_stance("force_eager")
        c.notes.append("nothing was compiled")
    if a.first_config:
        first_config(c)
    elif c.cuda:
        c.search = Search(a.tuned)
        c.search.install()
    if a.trust_flash:
        trust_flash(c)
    c.notes.append(f"delta kernel: {choose_kernel(torch.device(a.device))[1]}")
    for name in a.sections.split(","):
        if c.late:
            c.notes.append(f"section {name} was not run: out of time")
            continue
        before = time.monotonic()
        try:
            SECTIONS[name](c)
        except Exception as error:
            first = (str(error).strip().splitlines() or [""])[0]
            c.add(name, [{"error": f"{type(error).__name__}: {first[:300]}"}])
        print(f"-- {name}: {time.monotonic() - before:.0f} s", flush=True)
        write(c)
    write(c)
    wrong = faults(c)
    print("\n".join(wrong) or "all checks hold")
    return 1 if wrong else 0


def trust_flash(c: Check) -> None:
    """Lift flash-linear-attention's refusal of Hopper with Triton before 3.7.1."""
    try:
        from fla.ops.common import chunk_o
    except ImportError:
        c.notes.append("flash-linear-attention is not installed")
        return
    c.notes.append(f"its refusal lifted: TRITON_ABOVE_3_7_1 was {chunk_o.TRITON_ABOVE_3_7_1}")
    chunk_o.TRITON_ABOVE_3_7_1 = True


def first_config(c: Check) -> None:
    """Spare Triton the search: kernels run with the first configuration that their authors list."""
    from triton.runtime import autotuner

    plain = autotuner.Autotuner.__init__

    def init(tuner: Any, fn: Any, arg_names: Any, configs: Any, *rest: Any, **named: Any) -> None:
        plain(tuner, fn, arg_names, configs[:1], *rest, **named)

    autotuner.Autotuner.__init__ = init
    c.notes.append("Triton kernels took the first of their configurations")


def write(c: Check) -> None:
    """The results so far: one line of JSON, tables in Markdown, the kernels' names."""
    c.a.out.mkdir(parents=True, exist_ok=True)
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(c.a).items()}
    notes = c.notes + ([c.search.report()] if c.search else [])
    entry = line("gpu_check", settings, []) | {"tables": c.tables, "notes": notes}
    (c.a.out / "gpu_check.jsonl").write_text(json.dumps(entry) + "\n")
    where = f"{entry['machine']}, {entry['date']}, {entry['versions']}, code {entry['code']}"
    blocks = [f"# gpu_check\n\n{where}\n\n" + "\n".join(f"- {note}" for note in notes)]
    blocks += [f"## {name}\n\n{markdown(rows)}" for name, rows in c.tables.items()]
    (c.a.out / "gpu_check.md").write_text("\n\n".join(blocks) + "\n")
    named = [f"{k['mode']}\t{k['ms']:.3f}\t{k['calls']}\t{k['kernel']}" for k in c.kernels]
    (c.a.out / "kernels.txt").write_text("\n".join(["mode\tms\tcalls\tkernel", *named]) + "\n")
    if c.search:
        c.search.write(c.a.out / "tuned.json")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
