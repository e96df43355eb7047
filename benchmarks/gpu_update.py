"""An update of one shape on one GPU: what the sections of `gpu_check.py` time and compare."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gpu_kernels
import numpy as np
import torch
from bench_update import sampled_gradients
from common import seconds
from gpu_models import GRIDS, build, groups_of, picture_tokens, shape_of, with_pictures
from gpu_parts import watched
from gpu_tuning import Search

from zppo_core.algorithm.train_groups import TrainGroup
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig, load
from zppo_core.errors import UserError
from zppo_core.models import memory
from zppo_core.training.forward import choose
from zppo_core.training.updater import Trainer

MAX_GAP = 0.05  # mean |difference of log-probabilities|, nats
MIN_COSINE = 0.98  # of the sampled gradients, taken together
PEAK = 989e12  # FLOP/s of an H100 in dense bfloat16
# P, R and groups of the timed updates
LENGTHS = ((1100, 4000, 2), (1100, 12_000, 1), (6000, 2000, 2))
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
