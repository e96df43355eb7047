"""The float32 weights of a bfloat16 model, beside the weights that DeepSpeed shares out.

DeepSpeed casts what it manages to one type, and a decay's logarithm that is rounded to bfloat16
moves further than a thousand steps would move it. These weights are few: every rank has them whole,
sums their gradients over ranks and takes the same step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from zppo_core.config import OptimizerConfig
from zppo_core.training.updater import adamw

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Precise:
    """Takes `model`'s float32 weights out of its parameters, if it has others; else has none.

    Layers find them where they were, as plain tensors: DeepSpeed does not see them.
    """

    def __init__(self, model: PreTrainedModel, settings: OptimizerConfig) -> None:
        named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        mixed = any(p.dtype != torch.float32 for p in named.values())
        self.tensors: dict[str, torch.Tensor] = {}
        for name, parameter in named.items():
            if mixed and parameter.dtype == torch.float32:
                self.tensors[name] = _hide(model, name)
        self.optimizer = adamw(self.tensors.values(), settings) if self.tensors else None
        self.max_grad_norm = settings.max_grad_norm
        self.norm = 0.0

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for tensor in self.tensors.values():
            tensor.grad = None

    def reduce(self) -> None:
        """Gradients become their mean over ranks, as DeepSpeed's do; `norm` is theirs."""
        if not self.tensors:
            return
        tensors = self.tensors.values()
        gradients = [torch.zeros_like(t) if t.grad is None else t.grad for t in tensors]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        self.norm = float(flat.norm())
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.grad = part.view_as(tensor)

    def together(self, norm: float) -> float:
        """The norm of all gradients, `norm` being that of DeepSpeed's: negative if not finite."""
        return math.hypot(norm, self.norm) if norm >= 0 else math.inf

    def clip_with(self, zero: Any) -> None:
        """Have DeepSpeed's optimizer clip by the norm of all gradients, not of its own alone."""
        clip: Callable[..., None] = zero.unscale_and_clip_grads
        if self.tensors:
            zero.unscale_and_clip_grads = lambda part, norm: clip(
                part, torch.tensor(self.together(float(norm)))
            )

    def skip_with(self, zero: Any) -> None:
        """Have DeepSpeed's optimizer take no step if any gradient is not finite, ours included.

        Of itself it looks for that in float16 and in its own bfloat16 mode alone.
        """
        zero.check_grad_overflow = True  # of ZeRO-1 and 2; ZeRO-3 always looks at its norm
        name = "scaled_global_norm" if hasattr(zero, "scaled_global_norm") else "_get_norm_groups"
        norms: Callable[..., Any] = getattr(zero, name)

        def with_ours(*arguments: Any, **named: Any) -> Any:
            result = norms(*arguments, **named)
            if math.isfinite(self.norm):
                return result
            invalid = torch.tensor(math.nan)
            return invalid if torch.is_tensor(result) else [invalid for _ in result]

        setattr(zero, name, with_ours)

    def step(self, norm: float) -> None:
        """Clip as DeepSpeed clipped the others, for `norm` of all gradients, and step."""
        if self.optimizer is None:
            return
        scale = max(1.0, (norm + 1e-6) / self.max_grad_norm) if self.max_grad_norm else 1.0
        for tensor in self.tensors.values():
            if tensor.grad is not None:
                tensor.grad /= scale
        self.optimizer.step()

    def moments(self, name: str, kinds: tuple[str, ...]) -> list[torch.Tensor]:
        """The optimizer's state of one weight; zeros before the first step."""
        tensor = self.tensors[name]
        state = {} if self.optimizer is None else self.optimizer.state.get(tensor, {})
        return [state.get(kind, torch.zeros_like(tensor)) for kind in kinds]

    @torch.no_grad()
    def put(
        self, name: str, weight: torch.Tensor, moments: dict[str, torch.Tensor], steps: int
    ) -> None:
        """Take up what a checkpoint has of one weight."""
        tensor = self.tensors[name]
        tensor.copy_(weight.to(tensor.device))
        if self.optimizer is not None:
            on = {kind: value.to(tensor.device).clone() for kind, value in moments.items()}
            self.optimizer.state[tensor] = {"step": torch.tensor(float(steps)), **on}


def _hide(model: PreTrainedModel, name: str) -> torch.Tensor:
    """Turn a parameter into a plain tensor of the same name that still learns."""
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    parameter = module.get_parameter(leaf)
    del module._parameters[leaf]
    tensor = parameter.detach().clone().requires_grad_()
    setattr(module, leaf, tensor)
    return tensor
