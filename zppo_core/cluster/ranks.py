"""An update rank as an actor: a process of its own, which may build one trainer after another."""

from __future__ import annotations

import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zppo_core import models
from zppo_core.algorithm.train_groups import UpdateMetrics
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig
from zppo_core.models import lora
from zppo_core.processes.startup import hurry
from zppo_core.store.disk import writing
from zppo_core.training.deepspeed import ShardedTrainer, Sharding, join
from zppo_core.training.rank_plan import Share
from zppo_core.training.sharded_state import state_part, take_up, whole_weights

if TYPE_CHECKING:
    import torch

    from zppo_core.models.renderer import Renderer

Tensors = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class Spec:
    """What the step wants trained: a rank builds it from this."""

    model: str
    dtype: str
    device: str
    threads: int
    trainer: TrainerConfig
    optimizer: OptimizerConfig
    loss: LossConfig
    sharding: Sharding
    teacher: str = ""
    objective: str = "surrogate"


class Rank:
    """`ShardedTrainer` behind calls from the step; all ranks of a group get each call."""

    trainer: ShardedTrainer
    renderer: Renderer

    def __init__(self) -> None:
        hurry()
        self.built = False
        import deepspeed  # noqa: F401 - seconds, while the step loads its own models

    def node(self) -> tuple[str, int]:
        """Ray's name of the node, and the process."""
        import ray

        return ray.get_runtime_context().get_node_id(), os.getpid()

    def place(self, alone: bool) -> str:
        """Where the group meets: a file in a folder of mode 0700, or a free port of this node."""
        if alone:
            return str(Path(tempfile.mkdtemp(prefix="zppo-ranks-")) / "meeting")
        import ray

        with socket.socket() as free:
            free.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"

    def meet(self, backend: str, place: str, rank: int, world: int, device: str) -> None:
        """Enter the group of all ranks."""
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world)}
        join(backend, place, rank, world, device)

    def build(self, spec: Spec) -> tuple[str, str]:
        """A new trainer in place of any before it; its mode, and why."""
        import torch

        if self.built:
            self.trainer.engine.destroy()
            del self.trainer
            self.built = False
        torch.set_num_threads(spec.threads)
        dtype = getattr(torch, spec.dtype)
        model, self.renderer = models.load(spec.model, dtype, spec.device)
        teacher = models.load(spec.teacher, dtype, spec.device)[0] if spec.teacher else None
        self.trainer = ShardedTrainer.on(
            spec.sharding,
            model,
            self.renderer.forbidden_ids,
            self.renderer.pad_id,
            spec.trainer,
            spec.optimizer,
            spec.loss,
            spec.device,
            teacher,
            spec.objective,
        )
        self.built = True
        return self.trainer.mode, self.trainer.mode_reason

    def score(self, share: Share) -> list[tuple[np.ndarray, ...]] | None:
        """Log-probabilities of all groups, of the first rank."""
        scores = self.trainer.score_share(share.with_pixels(self.renderer.pixels))
        return scores if self.trainer.rank == 0 else None

    def update(self, share: Share, tokens: int | None) -> UpdateMetrics:
        """One step of all ranks."""
        return self.trainer.update_share(share.with_pixels(self.renderer.pixels), tokens)

    def weights(self, keep: bool, merged: bool) -> list[tuple[Any, int]]:
        """Put the student's parameters, gathered from all ranks, into the node's store.

        Reference and bytes; nothing if not to `keep`. Of adapters they alone, or `merged` into
        their base under its names.
        """
        import ray

        trainer = self.trainer
        trainer.leave_room()
        part = trainer.low_rank and not merged
        student = whole_weights(trainer, keep, set(trainer.learning) if part else None)
        if not keep:
            return []
        if trainer.low_rank and merged:
            student = dict(lora.Merged(student, lora.scaling(trainer.model)))
        return [(ray.put(student), sum(tensor.nbytes for tensor in student.values()))]

    def save(self, folder: str, part: int, parts: int) -> tuple[str, Tensors]:
        """Write this rank's part of the optimizer's state: `optimizer-<part>-of-<parts>`.

        Every name is gathered by all ranks and kept by one, so none holds more than its part. An
        empty `folder` lies on another node: the tensors go back with the file's name.
        """
        from safetensors.torch import save_file

        name = f"optimizer-{part + 1}-of-{parts}.safetensors"
        tensors = state_part(self.trainer, part, parts)
        self.trainer.leave_room()  # what was gathered there: the engine wakes next
        if not folder:
            return name, tensors
        with writing(f"what rank {self.trainer.rank} of the update keeps", folder):
            save_file(tensors, Path(folder) / name)
        return name, {}

    def load(self, student: Tensors, state: Tensors) -> None:
        """Take up weights and optimizer state, which rank 0 alone is given, name by name."""
        take_up(self.trainer, student, state)
        self.trainer.leave_room()
