"""A method is data: which prompts are replayed, which are reformulated, and which loss trains.

`rollout_step.py` reads the record; no method has a loop of its own (section 7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reformulation = Literal["bcq", "ncq", "hint", "prefix"]
Loss = Literal["surrogate", "off_distill", "on_distill"]


@dataclass(frozen=True)
class Method:
    """One row of the paper's method table (section 7)."""

    name: str
    replay: bool
    reformulations: tuple[Reformulation, ...]
    loss: Loss
    summary: str
    # drop a hard question's plain group only if its BCQ and NCQ groups are trivial too
    dynamic_sampling: bool = False

    @property
    def uses_teacher(self) -> bool:
        """Whether a teacher takes part in training."""
        return bool(self.reformulations) or self.loss != "surrogate"


_ALL = (
    Method("grpo", False, (), "surrogate", "GRPO with the paper's recipe"),
    Method("grpo_replay", True, (), "surrogate", "GRPO with the prompt replay buffer"),
    Method("zppo", True, ("bcq", "ncq"), "surrogate", "replay, BCQ and NCQ: the paper's method"),
)

METHODS: dict[str, Method] = {m.name: m for m in _ALL}
