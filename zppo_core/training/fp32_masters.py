"""Weights of low precision with masters in float32, where steps of 1e-6 are not rounded away.

A bfloat16 weight of 0.02 has neighbours 1e-4 apart: at the paper's learning rate only weights near
zero would move. Gradients of micro-batches are summed in float32 for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch


class Masters:
    """A float32 copy of each low-precision parameter; a parameter that is float32 is its own."""

    def __init__(self, named: Iterable[tuple[str, torch.Tensor]]) -> None:
        self.parameters = dict(named)
        self.tensors = {
            name: p if p.dtype in (torch.float32, torch.float64) else p.detach().float()
            for name, p in self.parameters.items()
        }

    @property
    def copies(self) -> dict[str, torch.Tensor]:
        """The masters that are not the parameters themselves."""
        return {n: t for n, t in self.tensors.items() if t is not self.parameters[n]}

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for tensor in (*self.parameters.values(), *self.tensors.values()):
            tensor.grad = None

    def collect(self) -> None:
        """Add a micro-batch's gradients to the masters'."""
        for name, master in self.copies.items():
            parameter = self.parameters[name]
            if parameter.grad is None:
                continue
            if master.grad is None:
                master.grad = parameter.grad.float()
            else:
                master.grad.add_(parameter.grad)  # widened where it is read
            parameter.grad = None

    def add(self, gradients: Mapping[str, torch.Tensor]) -> None:
        """Add a micro-batch's gradients, by name, to the masters': to the bit as if made here."""
        for name, gradient in gradients.items():
            master = self.tensors[name]
            if master.grad is not None:
                master.grad.add_(gradient)
            elif master is self.parameters[name]:
                master.grad = gradient.clone()
            else:
                master.grad = gradient.to(torch.float32, copy=True)

    def fill(self) -> None:
        """Zeros where a mini-batch gave no gradient, as for the vision tower without pictures.

        AdamW would leave such weights out, decay and momentum too; on many ranks it takes them all.
        """
        for tensor in self.tensors.values():
            if tensor.grad is None:
                tensor.grad = torch.zeros_like(tensor)

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the parameters' values."""
        for name, master in self.copies.items():
            master.copy_(self.parameters[name])

    @torch.no_grad()
    def publish(self) -> None:
        """Round the masters into the parameters."""
        for name, master in self.copies.items():
            self.parameters[name].copy_(master)
