"""Others' updates over our groups, each by its own package: rows of `bench_update.py --peers`.

Text alone: neither TRL's tree packing nor tree-recurrence takes pictures. Packages: the extra
`bench`.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

from zppo_core.algorithm.train_groups import TrainGroup
from zppo_core.errors import UserError
from zppo_core.models.nano import build as nano
from zppo_core.models.qwen3_5.gated_delta import gated_delta
from zppo_core.training.updater import Trainer

PICTURES = ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids")


def require() -> None:
    """UserError where a package of the extra `bench` is missing."""
    try:
        import tree_recurrence  # noqa: F401
        import trl  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error.name} is missing; pip install -e '.[bench]'") from None


class Peer(ABC):
    """One step of a peer on the weights and the optimizer of `trainer`, which is ours."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.model = trainer, trainer.model

    def update(self, groups: list[TrainGroup]) -> int:
        """Gradient and step over `groups`; tokens computed."""
        self.trainer.masters.zero_grad()
        total, computed = sum(g.tokens for g in groups), 0
        for batch in self.trainer._batches(groups):
            loss, tokens = self.loss([part for _, part in batch], total)
            loss.backward()
            computed += tokens
        self.trainer.optimizer.step()
        return computed

    @abstractmethod
    def loss(self, groups: Sequence[TrainGroup], total: int) -> tuple[torch.Tensor, int]:
        """The loss of a micro-batch, over `total` tokens of the mini-batch; tokens computed."""

    @abstractmethod
    def log_probs(self, groups: Sequence[TrainGroup]) -> np.ndarray:
        """Log-probabilities of response tokens, in order, flat."""


class Grpo(Peer):
    """TRL's GRPOTrainer: its loss over prompts padded on the left and completions on the right."""

    def __init__(self, trainer: Trainer, pictures: bool) -> None:
        super().__init__(trainer)
        from datasets import Dataset
        from trl import GRPOConfig, GRPOTrainer

        tokenizer = nano.build_tokenizer()
        tokenizer.padding_side = "left"
        arguments = GRPOConfig(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=8,
            loss_type="dapo",  # the mean over all tokens of a mini-batch
            epsilon_high=0.28,
            beta=0.0,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
        )
        self.theirs = GRPOTrainer(
            model=self.model,
            args=arguments,
            processing_class=nano.build_processor(tokenizer) if pictures else tokenizer,
            reward_funcs=lambda completion_ids, **_: [0.0] * len(completion_ids),
            train_dataset=Dataset.from_dict({"prompt": ["x"]}),
        )
        self.model.eval()  # as in the other rows

    def inputs(self, groups: Sequence[TrainGroup], total: int) -> dict[str, Any]:
        """The batch as TRL's loss takes it."""
        ids = [torch.as_tensor(g.prompt.input_ids_P) for g in groups for _ in g.suffixes]
        parts = [s for g in groups for s in g.suffixes]
        made = [torch.as_tensor(s.token_ids_T, dtype=torch.long) for s in parts]

        def padded(rows: list[torch.Tensor], side: str) -> torch.Tensor:
            return pad_sequence(rows, batch_first=True, padding_side=side)

        return {
            "prompt_ids": padded(ids, "left"),
            "prompt_mask": padded([torch.ones_like(r) for r in ids], "left"),
            "completion_ids": padded(made, "right"),
            "completion_mask": padded([torch.ones_like(r) for r in made], "right"),
            "advantages": torch.tensor([float(s.weights_T[0]) for s in parts]),
            "num_items_in_batch": torch.tensor(total),
            **pictures_of(groups, padded),
        }

    def loss(self, groups: Sequence[TrainGroup], total: int) -> tuple[torch.Tensor, int]:
        batch = self.inputs(groups, total)
        computed = batch["prompt_ids"].numel() + batch["completion_ids"].numel()
        return self.theirs._compute_loss(self.model, batch), computed

    def log_probs(self, groups: Sequence[TrainGroup]) -> np.ndarray:
        batch = self.inputs(groups, 1)
        ids, mask = (
            torch.cat([batch[f"prompt_{x}"], batch[f"completion_{x}"]], 1) for x in ("ids", "mask")
        )
        width = batch["completion_ids"].shape[1]
        seen = {name: value for name, value in batch.items() if name in PICTURES}
        found = self.theirs._get_per_token_logps_and_entropies(
            self.model, ids, mask, width, **seen
        )[0]
        return found[batch["completion_mask"].bool()].numpy()


def pictures_of(
    groups: Sequence[TrainGroup], padded: Callable[[list[torch.Tensor], str], torch.Tensor]
) -> dict[str, Any]:
    """What TRL's loss takes of pictures: each row has its own copy of them."""
    rows = [(g.prompt, s) for g in groups for s in g.suffixes]
    if rows[0][0].pixel_values is None:
        return {}
    types = [torch.as_tensor(p.mm_token_type_ids_P) for p, _ in rows]
    none = [torch.zeros(len(s.token_ids_T), dtype=torch.long) for _, s in rows]
    return {
        "pixel_values": torch.cat([p.pixel_values for p, _ in rows]),
        "image_grid_thw": torch.cat([p.image_grid_thw for p, _ in rows]),
        "num_images": [len(p.image_grid_thw) for p, _ in rows],
        "mm_token_type_ids": torch.cat([padded(types, "left"), padded(none, "right")], 1),
    }


class Tree(Peer):
    """TRL's tree packing through tree-recurrence, and the loss of TRL's AsyncGRPOTrainer.

    Its attention is a flash kernel for GPUs; here each segment looks at its path by torch's own.
    `forking` gives it our delta rule with states, by which it goes on where a path forks, as it
    does with flash-linear-attention on a GPU. Without, it runs every path whole, as it does where
    that library is missing.
    """

    def __init__(self, trainer: Trainer, forking: bool) -> None:
        super().__init__(trainer)
        from tree_recurrence import Policy, install
        from trl.trainer.utils import add_fused_lm_head

        self.forking = forking
        support = install(self.model, policy=Policy(fork_min_saved_tokens=0))
        if not support.shares_prefixes:
            raise UserError(f"tree-recurrence: {support.reason}")
        add_fused_lm_head(self.model, outputs=("log_probs", "entropy"))
        self.model.set_attn_implementation(tree_attention())

    @contextmanager
    def kernels(self) -> Iterator[None]:
        """Within it, its delta rule is ours; others' passes keep theirs."""
        from transformers.models.qwen3_5 import modeling_qwen3_5 as qwen
        from tree_recurrence._hooks import hook_of

        hook = hook_of(qwen, "torch_chunk_gated_delta_rule")
        if hook is None:
            raise RuntimeError("tree-recurrence is not installed")
        before = hook.original
        if self.forking:
            hook.original = bounded_delta
        try:
            yield
        finally:
            hook.original = before

    def row(self, groups: Sequence[TrainGroup]) -> dict[str, torch.Tensor]:
        """All samples as one trie, packed by TRL."""
        from trl.experimental.async_grpo.packing import TreeRow

        row = TreeRow()
        for g in groups:
            for s in g.suffixes:
                ids = np.concatenate([g.prompt.input_ids_P, s.token_ids_T])
                ours = np.arange(len(ids)) >= g.prompt.length
                row.add(
                    {
                        "input_ids": torch.as_tensor(ids),
                        "completion_mask": torch.as_tensor(ours),
                        "old_log_probs": torch.zeros(len(ids)),
                        "advantage": float(s.weights_T[0]),
                        "group_id": g.uid,
                    }
                )
        packed: dict[str, torch.Tensor] = row.pack()
        return packed

    def scores(self, row: dict[str, torch.Tensor]) -> torch.Tensor:
        """Log-probabilities of the row's loss terms: response tokens in order."""
        longest = row["tree_max_seqlens"].tolist()
        with self.kernels():
            out = self.model(
                input_ids=row["input_ids"].unsqueeze(0),
                position_ids=row["position_ids"].unsqueeze(0),
                shift_labels=row["shift_labels"].unsqueeze(0),
                fused_lm_head=True,
                tree_kv_index=row["tree_kv_index"],
                tree_cu_seqlens_q=row["tree_cu_seqlens_q"],
                tree_cu_seqlens_k=row["tree_cu_seqlens_k"],
                tree_max_seqlen_q=longest[0],
                tree_max_seqlen_k=longest[1],
            )
        found: torch.Tensor = out.log_probs.flatten()[row["token_index"]]
        return found

    def loss(self, groups: Sequence[TrainGroup], total: int) -> tuple[torch.Tensor, int]:
        row = self.row(groups)
        logp = self.scores(row)
        ratio, advantages = (logp - logp.detach()).exp(), row["advantages"]
        clipped = ratio.clamp(0.8, 1.28)
        terms = -torch.min(ratio * advantages, clipped * advantages)
        return terms.sum() / total, row["input_ids"].numel()

    def log_probs(self, groups: Sequence[TrainGroup]) -> np.ndarray:
        return self.scores(self.row(groups)).numpy()


def bounded_delta(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    cu_seqlens: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Our delta rule as flash-linear-attention's is called: sequences end to end, with states.

    They run as one batch of padded rows, which is faster on a CPU than one by one.
    """
    if cu_seqlens is None:
        raise ValueError("one batch of whole rows is not for this")
    lengths = cu_seqlens.diff().tolist()

    def rows(x: torch.Tensor) -> torch.Tensor:
        return pad_sequence(x[0].split(lengths), batch_first=True)

    real = rows(torch.ones_like(g[..., 0], dtype=torch.bool))
    if initial_state is None:
        initial_state = q.new_zeros(len(lengths), v.shape[2], k.shape[3], v.shape[3])
    # a padded place has beta = 0 and g = 0: it leaves the state as it is
    out, final = gated_delta(rows(q), rows(k), rows(v), rows(g), rows(beta), initial_state)
    return out[real].unsqueeze(0), final


@cache
def tree_attention() -> str:
    """The name under which transformers finds the attention of `attend`."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    name = "tree_on_cpu"
    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, lambda **_: None)
    return name


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    tree_kv_index: torch.Tensor,
    tree_cu_seqlens_q: torch.Tensor,
    tree_cu_seqlens_k: torch.Tensor,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """TRL's tree attention in plain torch: each segment over its path, causally at its end."""
    bounds_q, bounds_k = tree_cu_seqlens_q.tolist(), tree_cu_seqlens_k.tolist()
    outs = []
    for i in range(len(bounds_q) - 1):
        path = tree_kv_index[bounds_k[i] : bounds_k[i + 1]]
        q = query[:, :, bounds_q[i] : bounds_q[i + 1]]
        length, seen = q.shape[2], len(path)
        mask = None
        if seen > length:
            mask = torch.ones(length, seen, dtype=torch.bool).tril(seen - length)
        outs.append(
            F.scaled_dot_product_attention(
                q,
                key.index_select(2, path),
                value.index_select(2, path),
                attn_mask=mask,
                is_causal=mask is None,
                scale=scaling,
                enable_gqa=True,
            )
        )
    return torch.cat(outs, dim=2).transpose(1, 2), None
