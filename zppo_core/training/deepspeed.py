"""The update shared out over a process group by DeepSpeed: ZeRO-1, 2 or 3.

Every rank is given its share of the groups; the loss is divided by the tokens of all, so the
gradient is that of one process up to the order of float32 sums. A rank with nothing left runs a
pass whose loss is zero, because every pass has collectives in it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from zppo_core.algorithm.train_groups import TrainGroup, UpdateMetrics
from zppo_core.config import OptimizerConfig
from zppo_core.errors import UserError
from zppo_core.models.qwen3_5.forward import HybridForward
from zppo_core.training.fp32_params import Precise
from zppo_core.training.lm_head import jensen_shannon, log_probs
from zppo_core.training.metrics import PartLoss, PassSums
from zppo_core.training.rank_plan import Round, Share
from zppo_core.training.updater import Trainer, adamw
from zppo_core.types import EncodedPrompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BUCKET = 200_000_000  # entries that are exchanged at once
PERSISTENT = 100_000  # entries: norms, gates and convolutions stay whole on every rank in ZeRO-3
MOMENTS = ("exp_avg", "exp_avg_sq")
PATIENCE = 3600  # seconds until all ranks must have met: hosts load models before
SILENCE = timedelta(minutes=30)  # of a rank in one exchange, after which it is taken for dead


@dataclass(frozen=True)
class Sharding:
    """What the ranks share: 1 optimizer, 2 and gradients, 3 and weights. `offload` to main memory.

    Offload is of the optimizer (float32 weights and moments), the largest part.
    """

    stage: int = 2
    offload: bool = False


def exchanges_beside(stage: int, largest: int, bucket: int) -> bool:
    """Whether gradients may be exchanged while the backward pass goes on, on a GPU.

    In ZeRO-1 and 2 a gradient larger than the bucket is exchanged where it lies and forgotten at
    once: the backward pass would write into its memory before others have read it. A bucket as
    large as an embedding has no room beside 9B (docs/decisions/0062).
    """
    return stage == 3 or largest <= bucket


def join(backend: str, place: str, rank: int, world: int, device: str = "cpu") -> None:
    """Enter the process group of `world` ranks that meets at `place`; see `meeting`.

    DeepSpeed would compile a shared-memory kernel for minutes here, and a killed build hangs every
    later run: it is told that there is none.
    """
    import deepspeed
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if device == "cuda":  # a rank sees the GPU that it was given alone
        torch.cuda.set_device(0)
    dist.init_process_group(
        backend, store=meeting(place, rank, world), rank=rank, world_size=world, timeout=SILENCE
    )
    deepspeed.init_distributed(dist_backend=backend, verbose=False)  # takes that group


def meeting(place: str, rank: int, world: int) -> dist.Store:
    """Where the ranks tell each other their addresses; its content is bytes, never unpickled.

    `place` is a file, for ranks of one node, or rank 0's host:port.
    """
    if place.startswith("/"):
        return dist.FileStore(place, world)
    address, _, port = place.rpartition(":")
    wait = timedelta(seconds=PATIENCE)
    return dist.TCPStore(address, int(port), world, rank == 0, timeout=wait)


class Gathered(nn.Module):
    """A layer, or the head, whose weights ZeRO-3 gathers as a whole around a function of it.

    DeepSpeed gathers what is a module's own, so the weights are registered here once more. (Its
    leaf modules would do, but they send a gradient off after the first of two uses, and a shared
    prefix uses every layer twice.)
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self._inner = [inner]  # in a list: not a submodule
        for name, parameter in inner.named_parameters():
            self.register_parameter(name.replace(".", "__"), parameter)

    def forward(self, function: Any, *arguments: Any) -> Any:
        return function(self._inner[0], *arguments)


class Whole(nn.Module):
    """What DeepSpeed wraps: the model, and the passes over it."""

    def __init__(self, model: PreTrainedModel, trainer: ShardedTrainer) -> None:
        super().__init__()
        self.model = model
        if not isinstance(trainer.forward, HybridForward):
            raise UserError(
                f"{model.config.model_type} is trained in one process; set update_processes=1"
            )
        self.text = trainer.forward.text
        layers = list(self.text.text.layers)
        self.gathered = nn.ModuleList([Gathered(layer) for layer in layers])
        self.head = Gathered(model.get_output_embeddings())
        self._trainer = [trainer]  # in a list, or it would be a part of the module
        gathered_of = {id(layer): g for layer, g in zip(layers, self.gathered, strict=True)}
        self.text.call_layer = lambda f, layer, *rest: gathered_of[id(layer)](f, *rest)

    def forward(
        self,
        groups: Sequence[TrainGroup],
        seen: EncodedPrompt | None = None,
        divisor: float | None = None,
    ) -> tuple[Any, ...]:
        """What `groups` add to a loss over `divisor` tokens; without it their log-probabilities.

        `seen` is a prompt with pictures that another rank has and this one has not.
        """
        trainer = self._trainer[0]
        if seen is not None:
            assert seen.pixel_values is not None
            assert seen.image_grid_thw is not None
            device = trainer.device
            self.text.companion = seen.pixel_values.to(device), seen.image_grid_thw.to(device)
        try:
            if divisor is None:
                return Trainer._log_probs(trainer, groups)
            return tuple(Trainer.part_loss(trainer, groups, divisor))
        finally:
            self.text.companion = None


class ShardedTrainer(Trainer):
    """`Trainer` on every rank of a process group; all ranks make the same calls.

    A rank is given its `Share` of a mini-batch, not the groups of all: `score_share` and
    `update_share` stand for `score` and `update`. Metrics are of the whole and the same everywhere.
    """

    sharding = Sharding()

    @classmethod
    def on(cls, sharding: Sharding, *arguments: Any, **named: Any) -> ShardedTrainer:
        """A trainer that shards by `sharding`; the rest as for `Trainer`."""
        kind = type(cls.__name__, (cls,), {"sharding": sharding})
        sharded: ShardedTrainer = kind(*arguments, **named)
        return sharded

    def _prepare(self, settings: OptimizerConfig) -> None:
        import deepspeed

        self.world, self.rank = dist.get_world_size(), dist.get_rank()
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            dist.broadcast(tensor.data, 0)
        self.precise = Precise(self.model, settings)
        whole = Whole(self.model, self)
        self.named = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.engine, *_ = deepspeed.initialize(
            model=whole,
            optimizer=adamw(self.named.values(), settings),
            config=self._settings(settings),
        )
        self.precise.clip_with(self.engine.optimizer)
        self.precise.skip_with(self.engine.optimizer)
        self._make_states(getattr(torch, settings.moments))

    def _make_states(self, dtype: torch.dtype) -> None:
        """DeepSpeed makes the optimizer's state at the first step; we may have one to put in."""
        zero = self.engine.optimizer
        for flat in self._flat():
            moments = {m: torch.zeros_like(flat, dtype=dtype) for m in MOMENTS}
            zero.optimizer.state[flat] = {"step": torch.tensor(0.0), **moments}
        if self.sharding.stage < 3:
            zero._lazy_init_hp_params_optimizer_state()

    def _flat(self) -> list[torch.Tensor]:
        """This rank's part of the float32 weights, as DeepSpeed keeps them."""
        zero = self.engine.optimizer
        third = self.sharding.stage == 3
        flat: list[torch.Tensor] = (
            zero.fp32_partitioned_groups_flat if third else zero.single_partition_of_fp32_groups
        )
        return flat

    def _settings(self, settings: OptimizerConfig) -> dict[str, Any]:
        sizes = [p.numel() for p in self.named.values()]
        bucket = min(BUCKET, sum(sizes))  # allocated as a whole
        beside = exchanges_beside(self.sharding.stage, max(sizes), bucket)
        zero: dict[str, Any] = {
            "stage": self.sharding.stage,
            "overlap_comm": self.device.type == "cuda" and beside,
            "stage3_param_persistence_threshold": PERSISTENT,
            "stage3_model_persistence_threshold": 2**62,
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
        }
        if self.sharding.offload:
            zero["offload_optimizer"] = {"device": "cpu", "pin_memory": self.device.type == "cuda"}
        # not in its bf16 mode: types are as they were loaded, and micro-batches add up in float32
        return {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": settings.max_grad_norm,
            "steps_per_print": 2**31,
            "zero_optimization": zero,
            "zero_force_ds_cpu_optimizer": False,
            "zero_allow_untested_optimizer": True,
            "communication_data_type": "fp32",
        }

    def _head(
        self, hidden: torch.Tensor, chosen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # the tensor is handed through, for ZeRO-3 finds by it where the backward pass begins
        def through(
            head: torch.nn.Linear, hidden_: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            return log_probs(hidden_, head.weight, head.bias, chosen, self.forbidden)

        scored: tuple[torch.Tensor, torch.Tensor] = self.engine.module.head(through, hidden)
        return scored

    def _compare(
        self, hidden: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        other = self.seen_head()

        def through(
            head: torch.nn.Linear, hidden_: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            return jensen_shannon(hidden_, head.weight, seen, other, self.forbidden)

        compared: tuple[torch.Tensor, torch.Tensor] = self.engine.module.head(through, hidden)
        return compared

    @torch.no_grad()
    def score_share(self, share: Share) -> list[tuple[np.ndarray, ...]]:
        """`Trainer.score` of all groups; the ranks' shares are put together on all of them."""
        starts = np.cumsum([0, *(n for row in share.lengths for n in row)])
        first = np.cumsum([0, *(len(row) for row in share.lengths)])
        flat = torch.zeros(int(starts[-1]), dtype=torch.float32, device=self.device)
        for turn in share.turns:
            if turn.idle and self.sharding.stage < 3:
                continue
            logp = self.engine.module(turn.parts, turn.seen)[0]
            if turn.idle:
                continue
            at = 0
            for piece, part in turn.batch:
                for k, suffix in zip(piece.members, part.suffixes, strict=True):
                    n, start = len(suffix.token_ids_T), int(starts[first[piece.group] + k])
                    flat[start : start + n] = logp[at : at + n].float()
                    at += n
        dist.all_reduce(flat)
        values = flat.cpu().numpy()
        return [
            tuple(
                values[starts[j] : starts[j + 1]].copy()
                for j in range(int(first[i]), int(first[i + 1]))
            )
            for i in range(len(share.lengths))
        ]

    def update_share(self, share: Share, tokens: int | None = None) -> UpdateMetrics:
        """`Trainer.update` on all groups; one optimizer step of all ranks together."""
        started = time.perf_counter()
        divisor = float(share.tokens if tokens is None else tokens)
        sums = PassSums()

        def loss_of(turn: Round) -> torch.Tensor:
            part = PartLoss(*self.engine(turn.parts, turn.seen, divisor))
            if not turn.idle:
                sums.add(part)
            return part.loss

        norm = self._step_over(share.turns, loss_of)
        metrics = self._summed(sums).metrics(len(share.lengths), share.tokens, int(divisor))
        return metrics.stepped(norm, time.perf_counter() - started)

    def _summed(self, sums: PassSums) -> PassSums:
        """The sums of all ranks together."""
        parts = torch.tensor([*sums.values_S, sums.computed, sums.passes], dtype=torch.float64)
        *values, computed, passes = self._over_ranks(parts, dist.ReduceOp.SUM).tolist()
        worst = self._over_ranks(torch.tensor([sums.worst], dtype=torch.float64))
        return PassSums(np.array(values), float(worst[0]), int(computed), int(passes))

    def _step_over(
        self, rounds: Sequence[Round], loss_of: Callable[[Round], torch.Tensor]
    ) -> float:
        """One step on the sum of all ranks' losses; the gradient's norm.

        No rank steps if the norm of all gradients is not finite.
        """
        self._zero_grad()
        for i, turn in enumerate(rounds):
            self.engine.set_gradient_accumulation_boundary(i == len(rounds) - 1)
            loss = loss_of(turn) * self.world  # DeepSpeed takes the mean over ranks, we the sum
            self.engine.backward(loss * 0.0 if turn.idle else loss)
        self.precise.reduce()
        self.engine.step()
        norm = self.precise.together(float(self.engine.get_global_grad_norm() or 0.0))
        if math.isfinite(norm):
            self.precise.step(norm)
        return norm

    def _zero_grad(self) -> None:
        """Forget all gradients: DeepSpeed would take those of the step before where none is new."""
        self.precise.zero_grad()
        if self.sharding.offload:
            for flat in self._flat():
                if flat.grad is not None:
                    flat.grad.zero_()
            if (
                self.sharding.stage < 3
            ):  # of a step that was skipped it keeps the sums, and adds to them
                sums = self.engine.optimizer.averaged_gradients
                sums.update(dict.fromkeys(sums))
        if self.sharding.stage == 3:
            self.engine.optimizer.grad_partitions_flat_buffer.zero_()

    def _over_ranks(self, values: torch.Tensor, how: Any = dist.ReduceOp.MAX) -> torch.Tensor:
        on = values.to(self.device)
        dist.all_reduce(on, how)
        return on.cpu()

    @property
    def learning(self) -> dict[str, torch.Tensor]:
        """Every weight that learns, in one order on all ranks; DeepSpeed's may be in parts."""
        return {**self.named, **self.precise.tensors}

    @property
    def steps(self) -> int:
        """Optimizer steps taken."""
        return int(next(iter(self._counters())).item())

    def counted(self, steps: int) -> None:
        """Go on after so many optimizer steps, with the weights that were just put in."""
        for counter in self._counters():
            counter.fill_(steps)
        whole = getattr(self.engine.optimizer, "persistent_parameters", None)
        if whole:  # of these every rank keeps a copy, too
            whole[0].partition(whole)
            whole[0].all_gather(whole)

    def _counters(self) -> list[torch.Tensor]:
        inner = getattr(self.engine.optimizer, "optimizer", self.engine.optimizer)
        return [state["step"] for state in inner.state.values() if "step" in state]
