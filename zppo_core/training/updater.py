"""One optimizer step on groups with per-token weights, in micro-batches that change nothing.

The loss of a mini-batch is the sum over its sampled tokens divided by their number over *all*
micro-batches (section 4), so the gradient depends neither on micro-batch size nor on grouping.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from zppo_core.algorithm.losses import component, token_mean
from zppo_core.algorithm.train_groups import NO_UPDATE, TrainGroup, UpdateMetrics
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig
from zppo_core.config.methods import find_loss
from zppo_core.errors import UserError
from zppo_core.models import lora
from zppo_core.store.checkpoint import Checkpoint
from zppo_core.training.batching import Batch, micro_batches
from zppo_core.training.forward import choose
from zppo_core.training.fp32_masters import Masters
from zppo_core.training.lm_head import jensen_shannon, log_probs
from zppo_core.training.metrics import PartLoss, PassSums
from zppo_core.training.moments import LowAdamW
from zppo_core.training.optimizer_state import read_optimizer, write_optimizer
from zppo_core.training.pass_runner import LocalRunner, PassRunner
from zppo_core.training.token_batch import TokenBatch, statistics

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Trainer:
    """The student's weights and optimizer in one process; it knows no method.

    `forbidden_ids` are taken out of the distribution, as in sampling. `mode` and `mode_reason` say
    how forward passes run. Weights are changed in place; the optimizer is `optimizer`. `objective`
    names the loss (`config.methods.LOSSES`), `teacher` is the frozen model that it may look at.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        forbidden_ids: np.ndarray,
        pad_id: int,
        trainer: TrainerConfig,
        optimizer: OptimizerConfig,
        loss: LossConfig,
        device: str | torch.device = "cpu",
        teacher: PreTrainedModel | None = None,
        objective: str = "surrogate",
    ) -> None:
        self.model, self.trainer, self.loss = model, trainer, loss
        self.component, self.evidence = component(objective), find_loss(objective).evidence
        self.device = torch.device(device)
        self.max_grad_norm = optimizer.max_grad_norm or math.inf  # 0 is off
        self.forbidden = torch.as_tensor(np.asarray(forbidden_ids), device=self.device)
        self.mode, self.mode_reason, self.forward = choose(
            model, trainer.mode, pad_id, trainer.checkpointing, self.device
        )
        self.teacher = teacher
        if teacher is not None:
            self.teacher_forward = choose(teacher, trainer.mode, pad_id, False, self.device)[2]
        self.low_rank = trainer.lora_rank > 0
        if self.low_rank:
            lora.add(model, trainer.lora_rank, trainer.lora_alpha)
        vision = getattr(model.model, "visual", None)
        if vision is not None and not trainer.train_vision:
            vision.requires_grad_(False)
        # dropout and the like stay off: sampler and trainer are one function
        model.eval()
        self.runner: PassRunner | None = None  # None: this process
        self._prepare(optimizer)

    def _prepare(self, settings: OptimizerConfig) -> None:
        named = ((n, p) for n, p in self.model.named_parameters() if p.requires_grad)
        self.masters = Masters(named)
        self.optimizer = adamw(self.masters.tensors.values(), settings)

    def publish(self) -> None:
        """The model is up to date, being what is trained; the update's memory goes to engines."""
        self.leave_room()

    def close(self) -> None:
        """Nothing to end: it has no processes."""

    def leave_room(self) -> None:
        """Give back what torch keeps of a GPU for passes to come: an engine wakes there next."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def write_state(self, folder: Path) -> None:
        """What `read_state` needs to go on bit for bit, beside the student's weights."""
        # the student that is saved has its adapters merged: they themselves are kept here
        m = self.masters
        write_optimizer(folder, self.optimizer, m.tensors, m.tensors if self.low_rank else m.copies)

    def read_state(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint whose student is in the model already.

        Settings stay those of the configuration: a run may have changed them since.
        """
        groups = self.optimizer.param_groups
        settings = [{k: v for k, v in group.items() if k != "params"} for group in groups]
        self.masters.refresh()
        read_optimizer(checkpoint, self.optimizer, self.masters.tensors)
        for group, saved in zip(groups, settings, strict=True):
            group.update(saved)

    def _log_probs(self, groups: Sequence[TrainGroup]) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Log-probability and entropy of every response token of `groups`, in order, flat."""
        hidden, computed = self.forward(groups)
        targets = np.concatenate([s.token_ids_T for g in groups for s in g.suffixes])
        chosen = torch.as_tensor(targets, dtype=torch.long, device=self.device)
        logp, entropy = self._head(hidden, chosen)
        return logp, entropy, computed

    def _head(
        self, hidden: torch.Tensor, chosen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        head = self.model.get_output_embeddings()
        return log_probs(hidden, head.weight, head.bias, chosen, self.forbidden)

    def _batches(self, groups: Sequence[TrainGroup]) -> list[Batch]:
        shared, packed = self.mode == "shared_prefix", self.mode == "packed"
        return micro_batches(groups, self.trainer.token_budget, shared, packed)

    def score(self, groups: Sequence[TrainGroup]) -> list[tuple[np.ndarray, ...]]:
        """Log-probabilities (T,) of each group's suffixes by the current weights, no gradient."""
        scores: list[list[np.ndarray]] = [[np.empty(0)] * len(g.suffixes) for g in groups]
        batches = self._batches(groups)
        passes = self._passes().scored([[part for _, part in batch] for batch in batches])
        for batch, logp in zip(batches, passes, strict=True):
            start = 0
            for piece, part in batch:
                for k, suffix in zip(piece.members, part.suffixes, strict=True):
                    end = start + len(suffix.token_ids_T)
                    scores[piece.group][k] = logp[start:end].copy()
                    start = end
        return [tuple(f) for f in scores]

    def update(self, groups: Sequence[TrainGroup], tokens: int | None = None) -> UpdateMetrics:
        """One optimizer step on the mini-batch `groups` (section 4).

        `tokens` divides the loss: the mini-batch's sampled tokens, groups with equal rewards
        included, which are left out here because their terms are zero; default: those of `groups`.
        Without groups there is no step. Nor is there with a gradient that is not finite: weights
        and optimizer stay as they are, and the metrics say `skipped`.
        """
        if not groups:
            return NO_UPDATE
        started = time.perf_counter()
        passes = self.accumulate(groups, tokens)
        return passes.stepped(self._step(), time.perf_counter() - started)

    def accumulate(self, groups: Sequence[TrainGroup], tokens: int | None = None) -> UpdateMetrics:
        """The gradient of `update`, summed in the masters, without a step; its norm is left 0."""
        started = time.perf_counter()
        divisor = float(sum(g.tokens for g in groups) if tokens is None else tokens)
        self.masters.zero_grad()
        sums = PassSums()
        batches = [[part for _, part in batch] for batch in self._batches(groups)]
        for part in self._passes().added(batches, divisor):
            sums.add(part)
        metrics = sums.metrics(len(groups), sum(g.tokens for g in groups), int(divisor))
        return metrics.stepped(0.0, time.perf_counter() - started)

    def _passes(self) -> PassRunner:
        return LocalRunner(self) if self.runner is None else self.runner

    @torch.no_grad()
    def part_scores(self, groups: Sequence[TrainGroup]) -> np.ndarray:
        """Log-probabilities of every response token of `groups`, in order, flat."""
        scores: np.ndarray = self._log_probs(groups)[0].cpu().numpy()
        return scores

    def part_loss(self, groups: Sequence[TrainGroup], divisor: float) -> PartLoss:
        """What `groups` add to a mini-batch's loss: the sum of its terms over sampled tokens."""
        seen, computed = None, 0
        if self.teacher is not None:
            with torch.no_grad():
                seen, computed = self.teacher_forward(groups)
        elif self.evidence:
            with torch.no_grad():
                seen, computed = self.forward([g.informed for g in groups])
        hidden, n = self.forward(groups)

        def teacher(mask_T: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            if seen is None:
                raise UserError("distillation needs a teacher with weights; set teacher.model")
            return self._compare(hidden[mask_T], seen[mask_T])

        tokens = TokenBatch(groups, self.device, lambda ids_T: self._head(hidden, ids_T), teacher)
        loss = token_mean(self.component(tokens, self.loss), divisor)
        sums, worst = statistics(tokens, self.loss)
        return PartLoss(loss, (loss.item(), *sums), worst, computed + n)

    def _step(self) -> float:
        """Clip and step; the gradient's norm before clipping. No step if that is not finite."""
        self.masters.fill()
        weights = self.masters.tensors.values()
        norm = torch.nn.utils.clip_grad_norm_(weights, self.max_grad_norm).item()
        if not math.isfinite(norm):
            self.masters.zero_grad()
            return norm
        self.optimizer.step()
        self.masters.publish()
        return norm

    def _compare(
        self, hidden: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        head = self.model.get_output_embeddings().weight
        other = head.detach() if self.evidence else self.seen_head()
        return jensen_shannon(hidden, head, seen, other, self.forbidden)

    def seen_head(self) -> torch.Tensor:
        """The teacher's output embeddings (vocabulary, hidden); UserError without a teacher."""
        if self.teacher is None:
            raise UserError("distillation needs a teacher with weights; set teacher.model")
        weight: torch.Tensor = self.teacher.get_output_embeddings().weight
        return weight


def adamw(weights: Iterable[torch.Tensor], settings: OptimizerConfig) -> torch.optim.Optimizer:
    """The paper's optimizer over `weights` (Table 8); its moments as `settings.moments` says."""
    s = settings
    if s.moments == "bfloat16":
        return LowAdamW(weights, s.lr, s.betas, s.eps, s.weight_decay)
    return torch.optim.AdamW(
        weights, lr=s.lr, betas=s.betas, eps=s.eps, weight_decay=s.weight_decay, foreach=True
    )
