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
from dataclasses import replace
from pathlib import Path
from typing import Any

import gpu_kernels
import numpy as np
import torch
from bench_update import sampled_gradients
from common import line, markdown, seconds
from gpu_models import GRIDS, build, groups_of, picture_tokens, shape_of, with_pictures
from gpu_parts import watched
from gpu_tuning import Search

from zppo_core.algorithm.train_groups import TrainGroup
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig, load
from zppo_core.errors import UserError
from zppo_core.models import memory
from zppo_core.models.qwen3_5 import shape as qwen
from zppo_core.models.qwen3_5.gated_delta import choose_kernel
from zppo_core.training.forward import choose
from zppo_core.training.updater import Trainer

MAX_GAP = 0.05  # mean |difference of log-probabilities|, nats
MIN_COSINE = 0.98  # of the sampled gradients, taken together
MAX_ERROR = 0.02  # of a kernel's output or gradient, relative, in bfloat16
PEAK = 989e12  # FLOP/s of an H100 in dense bfloat16
# P, R and groups of the timed updates
LENGTHS = ((1100, 4000, 2), (1100, 12_000, 1), (6000, 2000, 2))
PICTURES = (1, 4)
TINY_LENGTHS = ((40, 16, 2),)

Row = dict[str, Any]


class Check:
    """What the sections share: device, dtype, deadline and results."""

    def __init__(self, a: argparse.Namespace) -> None:
        self.a, self.device = a, a.device
        self.cuda = a.device == "cuda"
        name = a.dtype or ("bfloat16" if self.cuda else "float32")
        self.dtype: torch.dtype = getattr(torch, name)
        self.shapes: list[str] = a.shapes.split(",")
        self.tiny = self.shapes == ["tiny"]
        self.modes = a.modes.split(",")
        wanted = [int(i) for i in a.lengths.split(",")]
        self.lengths = TINY_LENGTHS if self.tiny else tuple(LENGTHS[i] for i in wanted)
        self.deadline = time.monotonic() + 60 * a.minutes
        self.tables: dict[str, list[Row]] = {}
        self.notes: list[str] = []
        self.kernels: list[Row] = []
        self.search: Search | None = None

    @property
    def late(self) -> bool:
        return time.monotonic() > self.deadline

    def add(self, table: str, rows: Sequence[Row]) -> None:
        """Keep `rows` and print them at once: what a limit cuts off is known up to there."""
        self.tables.setdefault(table, []).extend(rows)
        for row in rows:
            print(f"{table}: {json.dumps(row, default=str)}", flush=True)


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


# ---- an update


class Student:
    """A model of one shape with its trainer, whose way of running passes is changed in place."""

    def __init__(self, c: Check, name: str) -> None:
        self.c, self.name, self.shape = c, name, shape_of(name)
        self.estimate, self.steps = None, True
        if name != "tiny":
            full, again = memory.Passes(c.a.budget, c.a.budget), c.a.checkpointing
            whole = torch.cuda.get_device_properties(0).total_memory / memory.GIB if c.cuda else 1e9
            # float32 moments beside masters and gradients: what does not fit takes no step
            self.steps = needed_gib(name, full, 0, again) <= whole
            self.estimate = needed_gib(name, replace(full, steps=self.steps), 0, again)
        again = c.a.checkpointing
        settings = TrainerConfig(mode="padded", token_budget=c.a.budget, checkpointing=again)
        self.trainer = Trainer(
            build(name, c.device, c.dtype),
            np.array([5, 6]),
            0,
            settings,
            OptimizerConfig(lr=1e-9, max_grad_norm=1e9, weight_decay=0.0),
            LossConfig(),
            c.device,
        )

    def use(self, mode: str) -> bool:
        """Run passes by `mode` from here on; False, with a note, where it cannot run."""
        t = self.trainer
        try:
            again = self.c.a.checkpointing
            t.mode, t.mode_reason, t.forward = choose(t.model, mode, 0, again, t.device)
        except UserError as error:
            note = f"{mode} cannot run here: {error}"
            if note not in self.c.notes:
                self.c.notes.append(note)
            return False
        return True

    def pass_over(self, groups: Sequence[TrainGroup]) -> Any:
        """Forward, backward, and a step where the optimizer fits."""
        work = self.trainer.update if self.steps else self.trainer.accumulate
        return work(groups)

    def rows(
        self, prompt: int, response: int, count: int, pictures: int = 0, modes: Sequence[str] = ()
    ) -> list[Row]:
        """One row a mode at these lengths."""
        groups = self.groups(prompt, response, count, 4 if self.c.tiny else 8, pictures)
        seen = pictures * picture_tokens(GRIDS[self.name])
        reference: dict[str, Any] = {}
        result = []
        for mode in modes or self.c.modes:
            if not self.use(mode):
                continue
            row = {
                "shape": self.name,
                "P": prompt,
                "R": response,
                "pictures": pictures,
                "mode": mode,
                "step": "whole" if self.steps else "no optimizer",
            }
            result.append(gpu_kernels.guarded(row, lambda: self.measure(groups, reference, seen)))
        for row in result:
            row["holds"] = holds(row)
        return result

    def estimate_of(self, tokens: int, pictures: int, count: int) -> float | None:
        """What `count` passes of so many (picture) tokens need [GiB], without CUDA itself."""
        if self.estimate is None:
            return None
        passes = memory.Passes(tokens, pictures, count, self.steps)
        return needed_gib(self.name, passes, 0, self.c.a.checkpointing) - memory.CONTEXT

    def groups(self, *lengths: int) -> list[TrainGroup]:
        """Groups of these prompt and response tokens, number, members and pictures."""
        *text, pictures = lengths
        groups = groups_of(*text)
        if not pictures:
            return groups
        return [with_pictures(g, pictures, GRIDS[self.name]) for g in groups]

    def measure(self, groups: list[TrainGroup], reference: dict[str, Any], seen: int) -> Row:
        """One row; `seen` are the picture tokens of a prompt."""
        c = self.c
        # kernels are chosen and compiled: Triton compiles anew for lengths of another kind
        self.pass_over(groups)
        free(c)
        metrics: list[Any] = []
        if c.cuda:
            torch.cuda.reset_peak_memory_stats()
        taken = seconds(lambda: metrics.append(self.pass_over(groups)), c.device)
        # before anything copies a gradient
        peak = torch.cuda.max_memory_allocated() / memory.GIB if c.cuda else None
        gradients = sampled_gradients(self.trainer)
        with watched(c.device) as parts:
            self.pass_over(groups)
        useful = sum(g.prompt.length + sum(len(s.token_ids_T) for s in g.suffixes) for g in groups)
        flops = 6 * self.shape.text_params / PEAK / taken
        row = {
            "kernel": self.trainer.mode_reason,
            "s": taken,
            "useful tokens/s": useful / taken,
            "MFU useful": flops * useful,
            "MFU computed": flops * metrics[0].computed_tokens,
            "micro-batches": metrics[0].micro_batches,
            "peak GiB": peak,
            "estimate GiB": self.estimate,
            "estimate of these tokens GiB": self.estimate_of(
                metrics[0].computed_tokens // metrics[0].micro_batches,
                seen * len(groups) // metrics[0].micro_batches,
                metrics[0].micro_batches,
            ),
            **({"busy s": self.busy(groups)} if c.cuda else {}),
            **{f"{part} s": round(s, 4) for part, s in parts.seconds().items()},
        }
        logp = np.concatenate([s for g in self.trainer.score(groups) for s in g])
        if not reference:
            reference |= {"logp": logp, "gradients": gradients}
            return row
        cosines = {n: cosine(g, reference["gradients"][n]) for n, g in gradients.items()}
        least = min(cosines, key=lambda n: cosines[n])
        whole = [
            torch.cat([t.flatten().float() for t in some.values()])
            for some in (gradients, reference["gradients"])
        ]
        return row | {
            "mean |dlogp|": float(np.abs(logp - reference["logp"]).mean()),
            "cosine": cosine(*whole),
            "least cosine": cosines[least],
            "of": least.removeprefix("model."),
        }

    def busy(self, groups: list[TrainGroup]) -> float:
        """Seconds that kernels run in a pass: what is missing to its wall time waits for a CPU."""
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            self.pass_over(groups)
        return sum(float(e.self_device_time_total) for e in profiled.key_averages()) / 1e6


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.flatten().double(), b.flatten().double()
    return float(torch.nn.functional.cosine_similarity(a, b, 0))


def holds(row: Row) -> bool:
    """Whether a row's checks hold: no error, agreement with the first mode, memory as estimated."""
    if "error" in row:
        return False
    peak, estimate = row["peak GiB"], row["estimate GiB"]
    agree = row.get("mean |dlogp|", 0.0) <= MAX_GAP and row.get("cosine", 1.0) >= MIN_COSINE
    return agree and (peak is None or estimate is None or peak <= estimate)


def needed_gib(
    name: str, passes: memory.Passes, rank: int = 0, checkpointing: bool = True
) -> float:
    """What `zppo_core.models.memory` says that a GPU holds in such an update [GiB]."""
    sets = [
        "compute.update_processes=1",
        f"trainer.lora_rank={rank}",
        f"trainer.checkpointing={str(checkpointing).lower()}",
    ]
    config = load(name, sets)
    student = memory.shapes()[config.student.model]
    return sum(need.gib for need in memory.update_needs(config, student, passes))


def free(c: Check) -> None:
    if c.cuda:
        torch.cuda.empty_cache()


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
