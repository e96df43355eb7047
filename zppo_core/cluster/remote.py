"""The trainer of a step whose update runs in ranks.

This side deals out groups and takes metrics. The model here is a copy of the ranks' for checkpoints
and for an engine of this process, made new by `publish`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
import torch
from safetensors.torch import save_file

from zppo_core.algorithm.train_groups import NO_UPDATE, TrainGroup, UpdateMetrics
from zppo_core.cluster.actors import answers
from zppo_core.cluster.cluster import Cluster
from zppo_core.cluster.engines import StagedWeights, plain
from zppo_core.cluster.ranks import Spec
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig
from zppo_core.models import lora
from zppo_core.store.checkpoint import Checkpoint
from zppo_core.training.deepspeed import Sharding
from zppo_core.training.optimizer_state import read_tensors, write_settings
from zppo_core.training.rank_plan import shares
from zppo_core.training.updater import adamw

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class RemoteTrainer:
    """`Trainer`'s methods, done by ranks. UserError in one line if one dies.

    `objective` names the loss, `teacher` the model that it looks at, which every rank loads.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        name: str,
        cluster: Cluster,
        trainer: TrainerConfig,
        optimizer: OptimizerConfig,
        loss: LossConfig,
        teacher: str = "",
        objective: str = "surrogate",
    ) -> None:
        self.model, self.settings, self.trainer, self.cluster = model, optimizer, trainer, cluster
        if trainer.lora_rank:  # as the ranks do: what comes from them are the adapters alone
            lora.add(model, trainer.lora_rank, trainer.lora_alpha)
        w = cluster.workers
        dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
        sharding = Sharding(w.stage, w.offload)
        told = name, dtype, w.device, w.threads, trainer, optimizer, loss, sharding
        self.ranks = cluster.meet()
        self.sent = 0  # bytes of groups since the last update: those that were scored count, too
        self.mode, why = self._ask("build", Spec(*told, teacher, objective))[0]
        self.mode_reason = f"{why}, {w.count} processes, ZeRO-{w.stage}"
        self._stale = True

    def _ask(self, method: str, *arguments: object) -> list[Any]:
        return answers(self.ranks, [r.ask(method, *arguments) for r in self.ranks])

    def _share(self, method: str, groups: Sequence[TrainGroup], *more: object) -> Any:
        """The first rank's answer to a call with each rank's own groups."""
        plans = shares(
            groups,
            len(self.ranks),
            self.trainer.token_budget,
            self.mode,
            self.cluster.workers.offload,
        )
        calls = []
        for rank, share in zip(self.ranks, plans, strict=True):
            bare = share.without_pixels()
            self.sent += bare.nbytes
            calls.append(rank.ask(method, bare, *more))
        return answers(self.ranks, calls)[0]

    def score(self, groups: Sequence[TrainGroup]) -> list[tuple[np.ndarray, ...]]:
        """See `Trainer.score`."""
        scores: list[tuple[np.ndarray, ...]] = self._share("score", groups) if groups else []
        return scores

    def update(self, groups: Sequence[TrainGroup], tokens: int | None = None) -> UpdateMetrics:
        """See `Trainer.update`."""
        if not groups:
            return NO_UPDATE
        self._stale = True
        metrics: UpdateMetrics = self._share("update", groups, tokens)
        sent, self.sent = self.sent, 0
        return replace(metrics, sent_bytes=sent)

    def staged(self) -> StagedWeights:
        """The weights as engines of other processes take them, in the store of each node."""
        refs, sizes = zip(*self._staged(merged=True), strict=True)
        return StagedWeights(refs, sizes[0])

    def _staged(self, merged: bool, first: bool = False) -> list[tuple[Any, int]]:
        """Reference and bytes for each node, or the `first` alone."""
        keep = [
            i == 0 or (not first and r.node != self.ranks[i - 1].node)
            for i, r in enumerate(self.ranks)
        ]
        calls = [r.ask("weights", k, merged) for r, k in zip(self.ranks, keep, strict=True)]
        return [put for answer in answers(self.ranks, calls) for put in answer]

    def publish(self) -> None:
        """Bring the ranks' weights into `model`, if they have moved since."""
        if not self._stale:
            return
        named = dict(self.model.named_parameters())
        ((ref, _),) = self._staged(merged=False, first=True)
        with torch.no_grad():
            for name, value in ray.get(ref).items():
                named[name].copy_(value)
        self._stale = False

    def write_state(self, folder: Path) -> None:
        """See `Trainer.write_state`: a file from each rank, together the same content."""
        here = ray.get_runtime_context().get_node_id()
        near = [node == here for node, _ in self._ask("node")]
        count = len(self.ranks)
        calls = [
            r.ask("save", str(folder) if is_near else "", i, count)
            for i, (r, is_near) in enumerate(zip(self.ranks, near, strict=True))
        ]
        for name, tensors in answers(self.ranks, calls):
            if tensors:
                save_file(tensors, folder / name)
        write_settings(folder, adamw([torch.zeros(1)], self.settings))

    def read_state(self, checkpoint: Checkpoint) -> None:
        """See `Trainer.read_state`: of any number of processes, one included."""
        learning = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        given = ray.put(plain(learning)), ray.put(read_tensors(checkpoint))
        first, *others = self.ranks
        calls = [first.ask("load", *given), *(r.ask("load", {}, {}) for r in others)]
        answers(self.ranks, calls)
        self._stale = True

    def close(self) -> None:
        """Nothing to end: ranks end with their cluster."""
