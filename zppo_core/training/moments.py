"""AdamW whose moments are kept in bfloat16, as the paper's are (Table 8): half of their memory.

Each step is computed in float32 from the moments as they are kept, and they are rounded to the
nearest once, where they are put back. A second moment loses 0.1 % a step at most (beta2 = 0.999),
less than half the distance of two bfloat16 numbers: it grows, and never shrinks (decision 0033).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

KEPT = ("exp_avg", "exp_avg_sq")


class LowAdamW(torch.optim.Optimizer):
    """`torch.optim.AdamW` on float32 weights with bfloat16 moments; state under the same names."""

    def __init__(
        self,
        weights: Iterable[torch.Tensor],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        super().__init__(
            weights, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every weight that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._one(weight, group)
        return loss

    def _one(self, weight: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.tensor(0.0)
            state |= {m: torch.zeros_like(weight, dtype=torch.bfloat16) for m in KEPT}
        for name in KEPT:  # a checkpoint, or DeepSpeed, may have put float32 in
            state[name] = state[name].to(torch.bfloat16)
        state["step"] += 1
        steps, (beta1, beta2) = state["step"].item(), group["betas"]
        gradient = weight.grad.float()  # type: ignore[union-attr]
        first = state["exp_avg"].float().lerp_(gradient, 1 - beta1)
        second = state["exp_avg_sq"].float().mul_(beta2)
        second.addcmul_(gradient, gradient, value=1 - beta2)
        state["exp_avg"].copy_(first)
        state["exp_avg_sq"].copy_(second)
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        size = second.sqrt_().div_(math.sqrt(1 - beta2**steps)).add_(group["eps"])
        weight.addcdiv_(first, size, value=-group["lr"] / (1 - beta1**steps))
